from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.errors import StorageFullError
from loopat_jupyter.models import ContainerFacts, Progress
from loopat_jupyter.sandbox import state
from loopat_jupyter.sandbox.state import Stamp, StateFiles, Use, start_ticks

if TYPE_CHECKING:
    from pathlib import Path

FACTS = ContainerFacts(
    id="c", name="box", loop_id="loop", config_hash="h", image_id="i", running=True, pid=os.getpid(), alive=True
)


@pytest.fixture
def files(tmp_path: Path) -> StateFiles:
    return StateFiles(tmp_path / "host")


@pytest.fixture
def every_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No container is at hand here: let any living process pass for one's init."""
    monkeypatch.setattr(state, "is_init", lambda pid: start_ticks(pid) > 0)


def test_a_stamp_is_believed_while_its_process_lives(files: StateFiles, every_process_counts: None):
    stamp = Stamp.of("loop", FACTS, "image")
    files.stamp(stamp)
    assert files.running() == stamp
    files.forget()
    assert files.running() is None


@pytest.mark.parametrize("replaced", [False, True])
def test_who_is_killed_while_a_sandbox_is_ended_leaves_it_as_it_was(
    files: StateFiles, every_process_counts: None, replaced: bool
):
    stamp = Stamp.of("loop", FACTS, "image")
    files.stamp(stamp)
    if not (child := os.fork()):
        with files.ending(replaced=replaced):
            os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    # Not even its id is anybody else's yet.
    assert files.running() is None
    os.waitpid(child, 0)
    assert files.running() == stamp
    # So it is noted anew.
    assert not files.stamped()
    assert not files.stopped_on_purpose()
    assert not files.replaced_on_purpose()
    with files.ending(replaced=replaced):
        assert files.running() is None
    assert (files.stopped_on_purpose(), files.replaced_on_purpose()) == (not replaced, replaced)


def test_a_sandbox_can_be_ended_without_room_for_a_note(
    files: StateFiles, every_process_counts: None, monkeypatch: pytest.MonkeyPatch
):
    files.stamp(Stamp.of("loop", FACTS, "image"))

    def refuse(*_: object, **__: object) -> None:
        raise StorageFullError("No space.")

    monkeypatch.setattr(state, "write_atomic", refuse)
    with files.ending():
        pass
    assert files.stopped_on_purpose()


def test_what_names_processes_waits_for_no_disk(files: StateFiles, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "fsync")
    stamp = Stamp.of("loop", FACTS, "image")
    files.stamp(stamp)
    files.seen(stamp, in_use=True)
    with files.working() as on_progress:
        on_progress(Progress(label="starting"))


def test_a_stamp_of_a_reused_process_id_is_not_believed(files: StateFiles, every_process_counts: None):
    files.stamp(msgspec.structs.replace(Stamp.of("loop", FACTS, "image"), start_ticks=1))
    assert files.running() is None


def test_a_stamp_of_an_ordinary_process_is_not_believed(files: StateFiles):
    files.stamp(Stamp.of("loop", FACTS, "image"))
    assert files.running() is None


@pytest.mark.parametrize("data", [b"", b"{", b'{"pid": "x"}', b"\xff"])
def test_a_damaged_stamp_counts_as_none(files: StateFiles, tmp_path: Path, data: bytes):
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "sandbox.json").write_bytes(data)
    (tmp_path / "host" / "progress.json").write_bytes(data)
    (tmp_path / "host" / "sandbox.pid").write_bytes(data)
    assert files.running() is None
    assert files.progress() is None
    assert files.read_pidfile() is None


def test_progress_is_seen_while_the_work_goes_on(files: StateFiles):
    with files.working() as tell:
        assert files.progress() is None
        tell(Progress(label="building", step=2, steps=5))
        assert files.progress() == Progress(label="building", step=2, steps=5)
    assert files.progress() is None


def test_progress_of_a_dead_process_is_not_believed(files: StateFiles, tmp_path: Path):
    (tmp_path / "host").mkdir()
    with subprocess.Popen(["true"]) as process:
        pid = process.pid
    working = {"pid": pid, "start_ticks": 5, "progress": {"label": "x"}}
    (tmp_path / "host" / "progress.json").write_bytes(msgspec.json.encode(working))
    assert files.progress() is None


def test_start_ticks_tell_processes_apart():
    assert start_ticks(os.getpid()) == start_ticks(os.getpid()) > 0
    assert start_ticks(2**22 + 1) == 0


def test_how_a_sandbox_was_seen_never_touches_its_stamp(files: StateFiles, every_process_counts: None):
    old = msgspec.structs.replace(Stamp.of("loop", FACTS, "image"), start_ticks=1, pid=1)
    new = Stamp.of("loop", FACTS, "image")
    assert files.last_use(new).used_at_s == new.used_at_s
    files.stamp(new)
    # Somebody who looked at the sandbox before it was replaced writes late.
    files.seen(old, in_use=True)
    assert files.running() == new
    assert files.last_use(new) == Use(pid=new.pid, start_ticks=new.start_ticks, used_at_s=new.used_at_s, in_use=False)
    seen = files.seen(new, in_use=True)
    assert files.last_use(new) == seen
    assert seen.used_at_s >= new.used_at_s


def test_who_ends_first_leaves_the_progress_of_the_other(files: StateFiles):
    with files.working() as one:
        one(Progress(label="one"))
        with files.working() as other:
            other(Progress(label="other"))
            one(Progress(label="one again"))
        assert files.progress() == Progress(label="one again")
    assert files.progress() is None


def test_a_file_where_the_folder_should_be_counts_as_nothing(tmp_path: Path):
    (tmp_path / "build-x.log").touch()
    files = StateFiles(tmp_path / "build-x.log" / "host")
    assert (files.running(), files.progress()) == (None, None)
