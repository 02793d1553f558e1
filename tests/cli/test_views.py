from __future__ import annotations

import datetime as dt
import io
from pathlib import Path

import msgspec
from rich.console import Console, RenderableType

from loopat_jupyter.cli.views import (
    created_sheet,
    health_sheet,
    kernelspecs_table,
    leftovers_table,
    loop_sheet,
    loops_table,
    no_loops,
)
from loopat_jupyter.models import Check, Health, InUse, Kernelspec, Loop, LoopConfig, Progress
from loopat_jupyter.sandbox.leftovers import Leftover
from loopat_jupyter.values import Resources, Share

NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
LOOP = Loop(
    id="0123abcd-0000-4000-8000-000000000000",
    title="Sales [red]in[/] May",
    slug="sales-in-may",
    created_at=NOW,
    created_by="ada",
    archived=False,
    state="running",
    restart_needed=False,
    build_failed=False,
    repo_missing=False,
    vault_missing=False,
    progress=None,
    warnings=(),
    in_use=InUse(kernels=1),
    workdir=Path("/w/loops/0123abcd/workdir"),
    folder="sales-in-may-0123abcd",
    repo=None,
    ref=None,
    branch=None,
    commit=None,
    contexts=(),
    profiles=(),
    vault="default",
    image=None,
    config=LoopConfig(),
    isolation="nested",
    share=Share(),
    metadata={},
    last_activity=NOW - dt.timedelta(minutes=5),
)


def rendered(renderable: RenderableType, *, width: int = 110) -> list[str]:
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    console.print(renderable, crop=False)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_an_archived_loop_says_so() -> None:
    archived = msgspec.structs.replace(LOOP, archived=True, state="stopped")
    assert "stopped, archived" in rendered(loops_table([archived], NOW))[1]
    assert any("stopped, archived" in line for line in rendered(loop_sheet(archived, (), NOW)))


def test_a_build_that_failed_is_told_in_place_of_not_started() -> None:
    failed = msgspec.structs.replace(LOOP, state="absent", build_failed=True)
    assert "✗ build failed" in rendered(loops_table([failed], NOW))[1]


def test_each_loop_has_a_line_that_no_warning_widens() -> None:
    other = msgspec.structs.replace(
        LOOP,
        title="Other",
        state="preparing",
        progress=Progress(label="system packages", step=2, steps=7),
        warnings=("no disk " * 100,),
        restart_needed=True,
    )
    assert rendered(loops_table([LOOP, other], NOW)) == [
        "ID        TITLE                 STATE                                                   LAST USED",
        "0123abcd  Sales [red]in[/] May  ● running                                               5 min ago",
        "0123abcd  Other                 ◐ preparing: system packages (2 of 7), recreate needed  5 min ago",
    ]


def test_no_loops_says_what_one_is_and_how_to_make_it() -> None:
    text = "\n".join(rendered(no_loops()))
    assert "its own folder and its own container" in text
    assert "jupyter loopat create" in text


def test_a_loop_is_shown_whole() -> None:
    loop = msgspec.structs.replace(
        LOOP,
        metadata={"team": "Ä"},
        warnings=("the disk is nearly full",),
        config=LoopConfig(
            network="none",
            isolation="strict",
            shared_tmp=True,
            all_loops=True,
            env={"GREETING": "hello", "A": "b"},
            resources=Resources(cpus=1.5, memory_bytes=4_000_000_000, devices=()),
        ),
        image="python:3.13",
        share=Share(mode="port", port=8000),
    )
    created = f"{NOW.astimezone():%Y-%m-%d %H:%M}"
    assert rendered(loop_sheet(loop, [("loop-sales-in-may-0123ab-python3", "Python 3"), ("k2", "")], NOW)) == [
        "Sales [red]in[/] May",
        "  id              0123abcd-0000-4000-8000-000000000000",
        "  short name      sales-in-may",
        "  state           ● running",
        "  files           /w/loops/0123abcd/workdir",
        f"  created         {created} by ada",
        "  last used       5 min ago",
        "  profiles        none",
        "  vault           default",
        "  image           python:3.13",
        "  network         none",
        "  isolation       strict",
        "  limits          cpus 1.5, memory 3.7 GiB, device none",
        "  variables       A, GREETING",
        "  shares /tmp     yes",
        "  sees all loops  yes, read-only",
        "  shared          port 8000; `jupyter loopat share 0123abcd` says where",
        '  metadata        {"team": "Ä"}',
        "  kernels         loop-sales-in-may-0123ab-python3  Python 3",
        "                  k2",
        "! the disk is nearly full",
    ]


def test_a_new_loop_comes_with_what_to_do_next() -> None:
    assert rendered(created_sheet(LOOP)) == [
        "Made loop Sales [red]in[/] May  0123abcd-0000-4000-8000-000000000000",
        "Its files are in /w/loops/0123abcd/workdir",
        "",
        "# a terminal in it",
        "jupyter loopat shell 0123abcd",
        "# one command",
        "jupyter loopat exec 0123abcd python3 --version",
        "# its kernels, for nbconvert and papermill",
        "jupyter loopat kernelspecs 0123abcd",
    ]
    assert "Its files are in /w/loops/0123abcd/workdir" in rendered(created_sheet(LOOP), width=30)


def test_checks_are_told_by_mark_and_word_and_the_mending_command_is_not_wrapped() -> None:
    fix = "sudo " + "x" * 100
    checks = (
        Check(name="podman", ok=True, detail="version 4.3.1"),
        Check(name="ids", ok=False, detail="none", fix=fix),
        Check(name="cgroups", ok=False, detail="version 1", fix="reboot", required=False),
    )
    assert rendered(health_sheet(Health(ok=False, checks=checks)), width=90) == [
        "          CHECK    RESULT",
        "✓ ok      podman   version 4.3.1",
        "✗ fails   ids      none",
        "! advice  cgroups  version 1",
        "",
        "✗ fails ids: fix it with",
        f"  {fix}",
        "",
        "! advice cgroups: fix it with",
        "  reboot",
        "",
        "This machine cannot run loops yet. Fix what is marked ✗, then run this again.",
    ]
    assert rendered(health_sheet(Health(ok=True, checks=checks[:1])))[-1] == "This machine can run loops."
    assert rendered(health_sheet(Health(ok=True, checks=checks[:1]), brief=True)) == ["This machine can run loops."]
    assert rendered(health_sheet(Health(ok=True, checks=checks[::2]), brief=True))[1:5] == [
        "! advice  cgroups  version 1",
        "",
        "! advice cgroups: fix it with",
        "  reboot",
    ]
    assert "would make it better" in rendered(health_sheet(Health(ok=True, checks=checks[::2])))[-1]


def test_kernels_are_listed_by_the_name_to_use() -> None:
    spec = Kernelspec(name="ir", display_name="R", language="R", argv=("R",))
    assert rendered(kernelspecs_table([("loop-a-0123ab-ir", spec)])) == [
        "--kernel          INSIDE  LANGUAGE  SHOWN AS",
        "loop-a-0123ab-ir  ir      R         R",
    ]


def test_nothing_is_cut_in_a_narrow_terminal() -> None:
    name = "loop-a-rather-long-title-0123abcd-python3"
    spec = Kernelspec(name="ir", display_name="R", language="R", argv=("R",))
    shown = rendered(kernelspecs_table([(name, spec)]), width=40)
    assert name in "".join(line.partition("  ")[0] for line in shown)


def test_leftovers_are_listed_with_what_they_free() -> None:
    found = (
        Leftover(kind="container", name="loopat-w-1", reason="its loop is gone", key="1"),
        Leftover(kind="image", name="old", reason="made from an older template", key="2", size_bytes=1_288_490_189),
    )
    assert rendered(leftovers_table(found)) == [
        "WHAT       NAME        WHY                             SIZE",
        "container  loopat-w-1  its loop is gone",
        "image      old         made from an older template  1.2 GiB",
    ]
