"""Finding a session by its leader; ending one inside a sandbox is driven in tests/terminals."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.sandbox.process import Stem
from loopat_jupyter.sandbox.session import end_session, session_inside
from loopat_jupyter.sandbox.state import StateFiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SESSION = "sleep 600 & nohup sleep 600 </dev/null >/dev/null 2>&1 & setsid -f sleep 5 >/dev/null; echo ready; wait"


@pytest.fixture
def leader() -> Iterator[subprocess.Popen[str]]:
    """A shell with a plain child, one that ignores hang-ups and one in a session of its own."""
    with subprocess.Popen(["bash", "-c", SESSION], stdout=subprocess.PIPE, text=True, start_new_session=True) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "ready\n"
        yield shell
        for member in session_inside(os.getpid(), shell.pid):
            member.process.signal(signal.SIGKILL)


def seen(leader: int) -> list[tuple[bool, bool]]:
    members = session_inside(os.getpid(), leader)
    return sorted((member.leads, member.ignores_hangup) for member in members)


def test_members_are_found_with_what_they_heed(leader: subprocess.Popen[str]):
    # Until its shell has become what it runs, a child may count twice, and have the session that it is about to leave.
    while seen(leader.pid) != [(False, False), (False, True), (True, False)]:
        time.sleep(0.01)


def test_members_are_found_without_their_leader(leader: subprocess.Popen[str]):
    leader.kill()
    leader.wait()
    while [leads for leads, _ in seen(leader.pid)] != [False, False]:
        time.sleep(0.01)


def test_no_sandbox_has_no_session():
    assert session_inside(2**22 + 1, 1) == []


async def test_a_start_that_never_happened_is_called_off_without_a_trace(tmp_path: Path):
    stem = Stem(tmp_path, "t1")
    stem.file("env").write_bytes(b"TOKEN=canary\0")
    await end_session(stem, StateFiles(tmp_path / "host"))
    assert list(tmp_path.iterdir()) == []


async def test_a_terminal_of_a_stopped_sandbox_leaves_no_file(tmp_path: Path):
    stem = Stem(tmp_path, "t1")
    stem.file("pid").write_text("7\n")
    await end_session(stem, StateFiles(tmp_path / "host"))
    assert list(tmp_path.iterdir()) == []
