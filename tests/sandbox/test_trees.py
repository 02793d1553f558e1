"""Trees of processes of this host; those inside a sandbox are in test_execution."""

from __future__ import annotations

import asyncio
import resource
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from loopat_jupyter.sandbox import trees
from loopat_jupyter.sandbox.process import hold, pid_namespace
from loopat_jupyter.sandbox.trees import Known, descendants, end_tree, ended, signal_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 150
TREE = f"""
for each in $(seq {MANY // 2}); do sleep 600 & done
setsid bash -c "trap '' TERM; for each in $(seq -s ' ' {MANY // 2}); do sleep 600 & done; while :; do wait; done" &
while :; do wait; done
"""


@pytest.fixture
def tree() -> Iterator[psutil.Process]:
    """A process with many descendants, one of which heeds no request to end; and few open files for who looks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with subprocess.Popen(["bash", "-c", TREE], start_new_session=True) as root:
        process = psutil.Process(root.pid)
        while len(process.children(recursive=True)) < MANY + 1:
            pass
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(MANY, soft), hard))
        yield process
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for pid in [root.pid, *descendants(root.pid)]:
            Known.of(pid).signal(signal.SIGKILL)


async def test_all_of_many_end_and_nobody_waits_for_the_looking(tree: psutil.Process, monkeypatch: pytest.MonkeyPatch):
    threads = set()

    def noted(*pids: int) -> list[int]:
        threads.add(threading.current_thread())
        return descendants(*pids)

    monkeypatch.setattr(trees, "descendants", noted)
    family = [Known.of(pid) for pid in [tree.pid, *descendants(tree.pid)]]
    assert all(member.alive for member in family)
    process = hold(tree.pid, pid_namespace(tree.pid))
    await end_tree(process, grace_s=0.3)
    assert await ended(family, 0)
    assert threads
    assert threading.main_thread() not in threads


async def test_a_signal_reaches_children_in_other_sessions(tree: psutil.Process):
    family = [Known.of(pid) for pid in [tree.pid, *descendants(tree.pid)]]
    process = hold(tree.pid, pid_namespace(tree.pid))
    await signal_tree(process, signal.SIGKILL)
    await asyncio.wait_for(process.wait(), 30)
    assert await ended(family, 30)
    await signal_tree(process, signal.SIGKILL)
    process.close()


def test_who_has_ended_or_has_the_id_of_another_is_let_alone():
    with subprocess.Popen(["sleep", "600"]) as process:
        now = Known.of(process.pid)
        earlier = now._replace(since=now.since - 1)
        assert (now.alive, earlier.alive) == (True, False)
        earlier.signal(signal.SIGKILL)
        assert now.alive
        now.signal(signal.SIGKILL)
    assert not now.alive
    assert not Known.of(process.pid).alive
    now.signal(signal.SIGKILL)
