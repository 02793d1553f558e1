"""Processes of this host; those inside a sandbox are in test_execution."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.helpers import INSIDE
from loopat_jupyter.sandbox.process import (
    ENDINGS,
    HostProcess,
    Stem,
    encode_environment,
    exec_roots,
    find_started,
    hold,
    innermost_pid,
    is_init,
    parent_pid,
    pid_namespace,
)
from loopat_jupyter.sandbox.trees import descendants

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TREE = (
    "import subprocess, sys; subprocess.Popen(['sleep', '600'], start_new_session=True); print(1, flush=True); input()"
)


@pytest.fixture
def tree() -> Iterator[subprocess.Popen[str]]:
    """A process with a child in a session of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", TREE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        assert process.stdout.readline() == "1\n"
        # Known before the test: of a parent that has ended nobody is a child any more.
        children = [psutil.Process(pid) for pid in descendants(process.pid)]
        yield process
        for child in children:
            # Where its id is that of something else by now, it says that it is gone.
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.kill()


def held(pid: int) -> HostProcess:
    process = hold(pid, pid_namespace(pid))
    assert process is not None
    return process


async def test_the_end_of_a_process_is_told_at_once_to_all_who_wait(tree: subprocess.Popen[str]):
    process = held(tree.pid)
    waiters = [asyncio.create_task(process.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert process.alive
    os.kill(tree.pid, signal.SIGKILL)
    await asyncio.wait_for(asyncio.gather(*waiters), 10)
    assert not process.alive
    process.close()
    await process.wait()


async def test_what_is_still_in_the_group_of_its_parent_is_signalled_alone():
    # Here, the group is that of the tests; in a sandbox, that of its main process.
    with subprocess.Popen(["sleep", "600"]) as child:
        process = held(child.pid)
        process.signal_group(signal.SIGTERM)
        await process.wait()
        process.close()
    assert child.returncode == -signal.SIGTERM


async def test_signals_to_a_process_that_ended_do_nothing(tree: subprocess.Popen[str]):
    process = held(tree.pid)
    for pid in descendants(tree.pid):
        os.kill(pid, signal.SIGKILL)
    tree.kill()
    await process.wait()
    tree.wait()
    for send in (process.signal, process.signal_group):
        send(signal.SIGTERM)
    process.close()
    process.close()
    process.signal(signal.SIGTERM)
    assert not process.alive


def test_a_process_that_is_gone_is_not_found():
    with subprocess.Popen(["true"]) as process:
        pid = process.pid
    assert hold(pid, "pid:[1]") is None
    assert pid_namespace(pid) is None
    assert innermost_pid(pid) is None
    assert parent_pid(pid) == 0
    assert descendants(pid) == []
    assert exec_roots(pid) == []
    assert not is_init(pid)


def test_an_ordinary_process_is_no_init_of_a_container():
    assert not is_init(os.getpid())
    assert innermost_pid(os.getpid()) == os.getpid()
    assert parent_pid(os.getpid()) == os.getppid()


def test_variables_survive_newlines_and_blanks():
    assert encode_environment({"A": "one\ntwo", "B": " x ", "C": ""}) == b"A=one\ntwo\0B= x \0C=\0"


def test_the_files_of_a_start_are_private_and_go_together(tmp_path: Path):
    stem = Stem.new(tmp_path, "k")
    stem.prepare(ExecSpec(argv=("x",), env={"TOKEN": "canary"}, detach=True, size=(24, 80)), {})
    other = Stem.new(tmp_path, "k")
    other.prepare(ExecSpec(argv=("x",), env={"TOKEN": "canary"}), {})
    (tmp_path / f"{stem.name}-1").touch()
    assert stem.file("env").stat().st_mode & 0o777 == 0o600
    assert stem.file("size").read_text() == "24 80\n"
    assert stem.log_tail() == ""
    stem.file("log").write_text("x" * 100_000 + "last words")
    assert stem.log_tail().endswith("last words")
    assert len(stem.log_tail()) == 64 * 1024
    stem.remove()
    assert [path.name for path in tmp_path.iterdir()] == [f"{other.name}.env"]
    assert stem.log_tail() == ""


def test_files_of_a_start_are_removed_without_a_look_at_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stem = Stem.new(tmp_path, "x")
    for ending in ENDINGS:
        (tmp_path / f"{stem.name}{ending}").touch()
    monkeypatch.setattr(os, "scandir", None)
    stem.remove()
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_every_file_that_the_programs_inside_name_is_known():
    programs = [path.read_text() for path in INSIDE.iterdir() if path.is_file()]
    named = {name for text in programs for name in re.findall(r"STEM([.-]\w+)", text)}
    assert named
    assert named <= set(ENDINGS)


def test_only_a_terminal_is_told_something_before_its_prompt(tmp_path: Path):
    notice = "one line\x85another"
    stem = Stem.new(tmp_path, "t")
    stem.prepare(ExecSpec(argv=("x",), tty=True, notice=notice), {})
    assert stem.file("notice").read_text() == "one line\nanother\n"
    stem.remove()
    stem.prepare(ExecSpec(argv=("x",), notice=notice, env={"A": "b"}), {})
    assert [path.suffix for path in tmp_path.iterdir()] == [".env"]


async def test_nothing_is_waited_for_in_a_sandbox_that_has_ended(tmp_path: Path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    waiting = find_started(Stem.new(tmp_path, "k"), ended.pid, timeout_s=3600)
    assert await asyncio.wait_for(waiting, 30) is None


async def test_a_planted_pid_file_that_is_no_number_is_not_believed(tmp_path: Path):
    stem = Stem.new(tmp_path, "k")
    for planted in ("", "-1x", "9" * 100):
        stem.file("pid").write_text(planted)
        assert await find_started(stem, os.getpid(), timeout_s=0.05) is None
    stem.file("pid").unlink()
    stem.file("pid").symlink_to("/proc/self/stat")
    assert await find_started(stem, os.getpid(), timeout_s=0.05) is None
