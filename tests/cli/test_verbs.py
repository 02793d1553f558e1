"""Verbs on a podman that says: there is nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.cli.deleting import measure
from loopat_jupyter.cli.inside import asked_or_present_folder, exec_verb
from loopat_jupyter.cli.making import parse_metadata
from loopat_jupyter.errors import BadInputError, EngineError
from loopat_jupyter.models import LoopConfig
from loopat_jupyter.sandbox.plan import sandbox_workdir
from loopat_jupyter.values import Resources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from loopat_jupyter.models import Loop
    from tests.cli.conftest import FakeCommandLine
    from tests.conftest import Nest


def test_a_loop_is_made_without_podman(fake: FakeCommandLine) -> None:
    answer = fake(
        "create",
        "Sales in May",
        "--network",
        "none",
        "--isolation",
        "strict",
        "--shared-tmp",
        "--metadata",
        "team=a=b",
        "--json",
    )
    assert (answer.code, answer.err, fake.engine.calls) == (0, "", [])
    loop = msgspec.json.decode(answer.out)
    record = fake.manager.store.read(loop["id"])
    assert (record.title, record.created_by) == ("Sales in May", "ada")
    assert record.config == LoopConfig(network="none", isolation="strict", shared_tmp=True)
    assert record.metadata == {"team": "a=b"}
    assert loop["workdir"] == str(fake.manager.workspace.workdir(record.id))


def test_a_loop_is_put_away_and_taken_out_again(fake: FakeCommandLine) -> None:
    record = fake.manager.create(title="Sales in May")
    assert "is archived" in fake("archive", "sales-in-may").out
    assert fake.manager.store.read(record.id).archived
    assert fake("unarchive", "sales-in-may").code == 0
    assert not fake.manager.store.read(record.id).archived


def test_a_loop_is_changed_option_by_option_and_goes_back_to_the_workspace(fake: FakeCommandLine) -> None:
    fake("create", "Sales in May", "--image", "a", "--shared-tmp", "--memory", "4GB", "--device", "a.org/b=c")
    fake("vault", "create", "v")
    [record] = fake.manager.store.readable()
    answer = fake(
        "set", "sales-in-may", "--network", "none", "--cpus", "1.5", "--title", "Sales in June", "--vault", "v"
    )
    # What this machine lacks for it may be told beside it.
    assert answer[:2] == (
        0,
        f"Changed Sales in June ({record.id[:8]}). The new settings count from the next start on.\n",
    )
    changed = fake.manager.store.read(record.id)
    assert (changed.title, changed.slug, changed.vault, changed.image) == ("Sales in June", "sales-in-may", "v", "a")
    assert changed.config == LoopConfig(
        network="none",
        shared_tmp=True,
        resources=Resources(cpus=1.5, memory_bytes=4_000_000_000, devices=("a.org/b=c",)),
    )
    options = [word for name in ("image", "shared-tmp", "memory", "device") for word in ("--unset", name)]
    shown = msgspec.json.decode(fake("set", "sales-in-may", *options, "--json").out)
    assert (shown["id"], shown["image"], shown["restart_needed"]) == (record.id, None, False)
    assert fake.manager.store.read(record.id).config == LoopConfig(network="none", resources=Resources(cpus=1.5))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Say what to change"),
        (["--title", " "], "title: must not be empty"),
        (["--pids", "1"], "--pids: must be a whole number of at least 16"),
        (["--unset", "title"], "'title' is not one of 'image', 'network'"),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(fake: FakeCommandLine, options: list[str], said: str) -> None:
    record = fake.manager.create(title="Sales in May")
    answer = fake("set", "sales-in-may", *options)
    assert (answer.code, answer.out, said in answer.err) == (2, "", True)
    assert fake.manager.store.read(record.id) == record


def test_an_archived_loop_is_shown(fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    record = fake.manager.create(title="Sales in May")
    fake("archive", "sales-in-may")
    answer = fake("show", record.id)
    assert (answer.code, answer.err) == (0, "")
    assert "archived" in answer.out
    assert msgspec.json.decode(fake("show", "--json", record.id).out)["archived"] is True
    # However podman sees it: nothing is asked of what runs there.
    loop = asyncio.run(fake.manager.get(record.id))

    async def get(_: str) -> Loop:
        return msgspec.structs.replace(loop, state="running")

    monkeypatch.setattr(fake.manager, "get", get)
    answer = fake("show", record.id)
    assert (answer.code, answer.err) == (0, "")


def test_a_new_loop_is_told_with_its_folder_and_what_comes_next(fake: FakeCommandLine) -> None:
    answer = fake("create", "Sales in May")
    [record] = fake.manager.store.readable()
    assert record.id in answer.out
    assert str(fake.manager.workspace.workdir(record.id)) in answer.out
    assert f"\njupyter loopat shell {record.id[:8]}\n" in answer.out
    assert answer.err == ""
    again = fake("create", "Sales in May")
    [other] = [found for found in fake.manager.store.readable() if found.id != record.id]
    assert again.err == f"{record.id[:8]} is called Sales in May, too: name this one by its id, {other.id[:8]}.\n"


def test_what_a_new_loop_lacks_is_told_at_once(fake: FakeCommandLine) -> None:
    answer = fake("create", "Fix", "--repo", "https://127.0.0.1:9/no.git")
    [record] = fake.manager.store.readable()
    assert (answer.code, answer.err.splitlines()[-1]) == (0, f"! {record.warnings[0]}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", " "], "title: must not be empty"),
        (["create", "a", "--image", "-v"], "image: '-v' is not an image reference"),
        (["create", "a", "--metadata", "novalue"], "metadata: 'novalue' is not of the form NAME=VALUE"),
        (["create", "a", "--ref", "v1"], "ref: means nothing without a repo"),
        (["create", "a", "--cpus", "0"], "--cpus: must be a number of at least 0.01"),
        (["create", "a", "--memory", "1kB"], "--memory: must be at least 6 MiB"),
        (["create", "a", "--memory", "4G"], "'4G' is not a size such as 4GiB"),
        (["create", "a", "--device", "/dev/fuse"], "--device: must be text of the form ^"),
        (["create", "a", "--network", "host"], "'host' is not one of 'bridge', 'none'"),
        (["create"], "Missing argument 'TITLE'"),
        (["create", "Sales", "in", "May"], "Put the title in quotes: 'Sales in May'"),
        (["vault", "set", "TOKEN", "abc"], "A value does not belong on a command line"),
        (["vault", "set", "TOKEN=abc"], "A value does not belong on a command line"),
        (["vault", "set", "1X"], "This is no name of a variable"),
        (["repo", "add", "xx", "foo"], "address: 'foo' is no address such as https://host/path"),
        (["exec", "--timeout", "x", "y", "z"], "'x' is not a valid number."),
        (["list", "--limit", "0"], "0 is not in the range"),
        (["list", "--limit", "x"], "'x' is not a valid whole number."),
        (["stop"], "Name loops to stop, or give --all or --idle."),
        (["stop", "--all", "x"], "Name loops to stop, or give --all or --idle."),
        (["stop", "--all", "--idle"], "Name loops to stop, or give --all or --idle."),
        (["stop", "x", "--idle", "60"], "Name loops to stop, or give --all or --idle."),
        (["stop", "--idle", "0"], "0.0 is not in the range"),
        (["stop", "--idle", "x"], "'x' is not a valid number."),
        (["exec", "x"], "Missing argument 'COMMAND...'"),
        (["exec", "--nosuch", "x", "y"], "No such option"),
        (["exec", "-n", "-i", "x", "y"], "--no-stdin goes with neither --interactive nor --tty."),
    ],
)
def test_bad_input_is_named_and_nothing_is_made(fake: FakeCommandLine, arguments: list[str], said: str) -> None:
    answer = fake(*arguments)
    # All other codes of `exec` are those of the command.
    assert (answer.code, answer.out) == (125 if arguments[0] == "exec" else 2, "")
    assert said in answer.err
    assert list(fake.manager.store.readable()) == []


def test_to_stop_idle_loops_needs_a_time(fake: FakeCommandLine) -> None:
    fake.manager.config = msgspec.structs.replace(fake.manager.config, idle_timeout_s=0)
    refused = fake("stop", "--idle")
    assert refused.code == 2
    assert "idle_timeout_s is 0, so say how long: --idle SECONDS." in refused.err
    assert fake("stop", "--idle", "60").out == "No loop has been idle for that long.\n"
    assert fake.engine.calls == []


def test_a_loop_that_was_made_and_not_started_is_shown_all_the_same(
    fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise EngineError("Podman failed to create the sandbox.")

    monkeypatch.setattr(fake.manager, "start", refused)
    answer = fake("create", "Sales in May", "--start", "--json")
    (record,) = fake.manager.store.readable()
    assert answer.code == 1
    assert json.loads(answer.out)["id"] == record.id
    assert "is made, and is not started." in answer.err


@pytest.mark.parametrize("verb", ["show", "set", "start", "stop", "recreate", "shell", "kernelspecs", "rm"])
def test_an_unknown_loop_is_told_with_a_suggestion(fake: FakeCommandLine, verb: str) -> None:
    fake.manager.create(title="Sales in May")
    answer = fake(verb, "sales-in-mai")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == (
        "There is no loop 'sales-in-mai'. `jupyter loopat list` shows the loops. Did you mean 'sales-in-may'?\n"
    )
    assert fake.engine.calls == []


def test_who_changes_settings_while_another_one_does_takes_nothing_back(
    fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("create", "Sales in May")
    (record,) = fake.manager.store.readable()
    locked = fake.manager.sandboxes.lock

    @contextlib.asynccontextmanager
    async def outrun(loop_id: str) -> AsyncIterator[None]:
        fake.manager.store.write(msgspec.structs.replace(record, config=LoopConfig(network="none")))
        async with locked(loop_id):
            yield

    monkeypatch.setattr(fake.manager.sandboxes, "lock", outrun)
    assert fake("set", "sales-in-may", "--pids", "100").code == 0
    both = LoopConfig(network="none", resources=Resources(pids=100))
    assert fake.manager.store.read(record.id).config == both


def test_an_ambiguous_loop_is_bad_input(fake: FakeCommandLine) -> None:
    for _ in range(2):
        fake.manager.create(title="Twin")
    answer = fake("show", "twin")
    assert answer.code == 2
    assert "loop: 'twin' could be any of" in answer.err


def test_an_empty_list_says_how_to_begin(fake: FakeCommandLine) -> None:
    answer = fake("list")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("No loops yet.")
    assert msgspec.json.decode(fake("list", "--json").out) == {"loops": [], "unreadable": []}


def test_loops_are_listed_last_used_first_and_archived_ones_on_request(fake: FakeCommandLine) -> None:
    store = fake.manager.store
    made = {title: fake.manager.create(title=title) for title in ("Old", "New", "Archived")}
    store.write(msgspec.structs.replace(made["Archived"], archived=True))
    for age_s, title in enumerate(("New", "Archived", "Old")):
        path = fake.manager.workspace.record(made[title].id)
        os.utime(path, (1_700_000_000 - age_s, 1_700_000_000 - age_s))

    def titles(*options: str) -> list[str]:
        return [loop["title"] for loop in msgspec.json.decode(fake("list", "--json", *options).out)["loops"]]

    assert titles() == ["New", "Old"]
    assert titles("--all") == ["New", "Archived", "Old"]
    assert titles("--all", "--limit", "2") == ["New", "Archived"]
    assert [line.split()[1] for line in fake("list").out.splitlines()] == ["TITLE", "New", "Old"]


def test_warnings_are_told_beside_the_list(fake: FakeCommandLine) -> None:
    record = fake.manager.create(title="Sales in May")
    fake.manager.store.write(msgspec.structs.replace(record, warnings=("no\x1b[31m disk",)))
    answer = fake("list")
    assert max(map(len, answer.out.splitlines())) < 80
    assert answer.err == f"! {record.id[:8]}: no�[31m disk\n"


def test_a_damaged_record_is_named_and_the_others_are_listed(fake: FakeCommandLine) -> None:
    whole, damaged = fake.manager.create(title="Whole"), fake.manager.create(title="Damaged")
    fake.manager.workspace.record(damaged.id).write_bytes(b"{")
    answer = fake("list")
    assert (answer.code, whole.id[:8] in answer.out, damaged.id in answer.err) == (0, True, True)
    found = msgspec.json.decode(fake("list", "--json").out)
    assert [loop["id"] for loop in found["loops"]] == [whole.id]
    assert [entry["id"] for entry in found["unreadable"]] == [damaged.id]


def test_deleting_asks_and_takes_the_files_along(fake: FakeCommandLine) -> None:
    record = fake.manager.create(title="Sales in May")
    asked = fake("rm", "sales-in-may")
    assert (asked.code, "Add --yes" in asked.err) == (2, True)
    slip = fake("rm", "sales-in-may", "sales-in-mai", "--yes")
    assert (slip.code, slip.out) == (1, "")
    assert fake.manager.store.read(record.id) == record
    answer = fake("rm", "sales-in-may", record.id, "--yes")
    assert answer == (0, f"Deleted loop Sales in May ({record.id[:8]}).\n", "")
    assert not fake.manager.workspace.loop(record.id).exists()


def test_the_root_folder_of_a_running_jupyter_server_is_deleted_by_force_alone(
    fake: FakeCommandLine, tmp_path: Path
) -> None:
    record, other = fake.manager.create(title="Served"), fake.manager.create(title="Other")
    note = tmp_path / "jupyter-data" / "runtime" / "jpserver-1.json"
    note.parent.mkdir(parents=True)
    running = {"pid": os.getpid(), "port": 8888, "url": "http://localhost:8888/"}
    root = {"root_dir": str(fake.manager.workspace.workdir(record.id) / "folder")}
    note.write_bytes(msgspec.json.encode(running | root))
    refused = fake("rm", "served", "--yes")
    assert (refused.code, "`jupyter server stop 8888`, or force it (`--force`)" in refused.err) == (1, True)
    assert fake.manager.store.read(record.id) == record
    assert fake("rm", "other", "--yes").code == 0
    assert not fake.manager.workspace.loop(other.id).exists()
    assert fake("rm", "served", "--yes", "--force").code == 0
    assert not fake.manager.workspace.loop(record.id).exists()


def test_a_loop_with_a_damaged_record_can_be_deleted_by_its_id(fake: FakeCommandLine) -> None:
    record = fake.manager.create(title="Damaged")
    fake.manager.workspace.record(record.id).write_bytes(b"{")
    assert fake("rm", record.id, "--yes").code == 0
    assert not fake.manager.workspace.loop(record.id).exists()


def test_nothing_left_over_is_told(fake: FakeCommandLine) -> None:
    assert fake("gc") == (0, "Nothing is left over.\n", "")
    assert msgspec.json.decode(fake("gc", "--json").out) == {"removed": False, "leftovers": []}


def test_a_shell_needs_a_terminal(fake: FakeCommandLine) -> None:
    fake.manager.create(title="Sales in May")
    answer = fake("shell", "sales-in-may")
    assert answer.code == 2
    assert "jupyter loopat exec LOOP COMMAND" in answer.err


@pytest.mark.parametrize(
    ("typed", "timeout_s", "command"),
    [
        ("x ls -la --timeout 3", None, "ls -la --timeout 3"),
        ("--timeout 3 x ls -la", 3, "ls -la"),
        ("x --timeout 3 ls -la", 3, "ls -la"),
        ("x --timeout=3 -- ls -la -- -h", 3, "ls -la -- -h"),
        ("-- x ls --help", None, "ls --help"),
        ("x -- -odd --", None, "-odd --"),
    ],
)
def test_all_behind_the_first_word_of_a_command_is_its_own(typed: str, timeout_s: float | None, command: str) -> None:
    values = exec_verb.make_context("exec", typed.split()).params
    assert (values["loop"], values["timeout_s"], values["command"]) == ("x", timeout_s, tuple(command.split()))


def test_a_loop_of_exec_may_begin_with_a_dash() -> None:
    values = exec_verb.make_context("exec", ["--timeout", "3", "--", "-odd", "ls", "-la"]).params
    assert (values["loop"], values["timeout_s"], values["command"]) == ("-odd", 3, ("ls", "-la"))


def test_exec_has_two_codes_of_its_own(fake: FakeCommandLine) -> None:
    assert fake("exec", "none", "--", "true").code == 125
    fake.manager.create(title="Sales in May")
    answer = fake("exec", "sales-in-may", "--env", "1=x", "--", "true")
    assert (answer.code, "is not the name of a variable" in answer.err, fake.engine.calls) == (125, True, [])


def test_a_command_runs_where_its_caller_is(
    fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record, other = fake.manager.create(title="A"), fake.manager.create(title="B")
    inside = sandbox_workdir(record.id)
    below = fake.manager.workspace.workdir(record.id) / "notes"
    below.mkdir()
    (below.parent / "data").mkdir()
    monkeypatch.chdir(below)
    assert asked_or_present_folder(fake.manager, record, None) == f"{inside}/notes"
    assert asked_or_present_folder(fake.manager, other, None) == sandbox_workdir(other.id)
    assert asked_or_present_folder(fake.manager, record, "data") == f"{inside}/data"
    assert asked_or_present_folder(fake.manager, record, "/etc") == "/etc"
    with pytest.raises(BadInputError):
        asked_or_present_folder(fake.manager, record, "nowhere")
    monkeypatch.chdir(tmp_path)
    assert asked_or_present_folder(fake.manager, record, None) == inside


def test_metadata_is_split_at_the_first_sign() -> None:
    assert parse_metadata(["a=1", "b=", "a=2=3"]) == {"a": "2=3", "b": ""}
    with pytest.raises(BadInputError):
        parse_metadata(["=x"])


def test_a_folder_is_measured_without_following_links(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    outside.mkdir()
    (outside / "large").write_bytes(b"x" * 9999)
    (folder / "below" / "a").write_bytes(b"x" * 10)
    (folder / "link").symlink_to(outside)
    (folder / "b").write_bytes(b"x" * 5)
    files, size_bytes = measure(folder)
    assert (files, size_bytes) == (2, 15)


def test_however_deep_it_is(tmp_path: Path, nest: Nest) -> None:
    nest(tmp_path, "d", 3000)
    files, _ = measure(tmp_path)
    assert files > 1900
