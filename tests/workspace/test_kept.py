from __future__ import annotations

import multiprocessing
import os
import signal
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.workspace.kept import Found, Kept, folder

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace

LOOP = "0f6c8a52-7d0e-4f3a-9c3e-1b2a3c4d5e6f"


@pytest.fixture
def started(workspace: Workspace) -> Workspace:
    """A workspace with one loop that was started."""
    workspace.loop(LOOP).mkdir(parents=True)
    workspace.host(LOOP).mkdir(parents=True)
    (workspace.host(LOOP) / "sandbox.json").touch()
    return workspace


def names(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in folder(workspace, LOOP).iterdir())


def test_what_is_kept_is_claimed_once(started: Workspace, monkeypatch: pytest.MonkeyPatch):
    # What names processes is worth nothing after a crash of the machine, so it waits for no disk.
    monkeypatch.delattr(os, "fsync")
    first, second = Kept("k"), Kept("k")
    assert first.keep(started, LOOP, "a", b"1")
    assert first.keep(started, LOOP, "a", b"2")
    assert list(second.claim(started)) == []
    assert not second.keep(started, LOOP, "a", b"3")
    first.let_go("a")
    assert list(second.claim(started)) == [Found(LOOP, "a", b"2")]
    assert ("a" in first, "a" in second) == (False, True)
    assert list(first.claim(started)) == []
    second.forget("a")
    assert names(started) == []


def test_kinds_do_not_see_each_other(started: Workspace):
    kernels = Kept("k")
    kernels.keep(started, LOOP, "a", b"1")
    kernels.let_go("a")
    assert list(Kept("t").claim(started)) == []


def test_what_was_forgotten_is_not_found(started: Workspace):
    kept = Kept("k")
    kept.keep(started, LOOP, "a", b"1")
    kept.forget("a")
    kept.forget("a")
    assert list(Kept("k").claim(started)) == []


def test_a_killed_owner_owns_nothing(started: Workspace):
    def own(connection):
        Kept("k").keep(started, LOOP, "a", b"1")
        connection.send(None)
        signal.pause()

    ours, theirs = multiprocessing.Pipe()
    owner = multiprocessing.get_context("fork").Process(target=own, args=(theirs,))
    owner.start()
    ours.recv()
    assert list(Kept("k").claim(started)) == []
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    assert list(Kept("k").claim(started)) == [Found(LOOP, "a", b"1")]
