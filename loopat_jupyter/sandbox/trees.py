"""Processes and all that they started, of whatever number: looked at in threads, and without a descriptor for each.

A process is known by its id and the time of its start, so that one which takes the id of another later is let alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.sandbox.process import HostProcess, pid_namespace, stat_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

TREE_GRACE_S = 2.0
"""Time between the request to end and the kill, for a command without a terminal."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.1

_ROUNDS = 1000
"""How often to look for what was started while the rest was being stopped; far more than ever needed."""


class Known(NamedTuple):
    """A process of the host.

    Attributes:
        pid: Its id on the host.
        since: When it started, in clock ticks since boot.
    """

    pid: int
    since: int

    @classmethod
    def of(cls, pid: int) -> Known:
        """A process that runs; one that has ended is never `alive`."""
        return cls(pid, _since(pid))

    @property
    def alive(self) -> bool:
        """Whether it still runs; one small read."""
        return bool(self.since) and _since(self.pid) == self.since

    def signal(self, signum: int) -> None:
        """Send a signal to it alone; nothing happens when it has ended, or belongs to another user inside (sudo)."""
        if self.alive:
            _send(self.pid, signum)


def _since(pid: int) -> int:
    """When a living process started (proc_pid_stat(5), field 22); 0 for one that is gone, or only to be reaped."""
    fields = stat_fields(pid)
    try:
        return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (ValueError, IndexError):
        return 0


def _send(pid: int, signum: int) -> None:
    # A program of another user inside (sudo) may be out of reach; the end of the sandbox reaches it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signum)


def descendants(*pids: int) -> list[int]:
    """Ids of all descendants of some processes, parents before children.

    Args:
        pids: The processes.
    """
    found: dict[int, None] = {}
    generation: Iterable[int] = pids
    while generation:
        generation = {child: None for pid in generation for child in _children(pid) if child not in found}
        found.update(generation)
    return list(found)


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii")
                yield from map(int, text.split())


async def signal_tree(process: HostProcess, signum: int) -> None:
    """Send a signal to a process and to every descendant, in whatever session or group, parents first.

    So a shell does not take the end of one command for the time to go on with the next. Before a kill all of them are
    stopped, so that none starts another while the rest is being killed.

    Args:
        process: The process; nothing happens when it has ended.
        signum: The signal.
    """
    if process.alive:
        await asyncio.to_thread(_signal_all, [Known.of(process.pid)], signum)


def _signal_all(roots: Sequence[Known], signum: int) -> list[Known]:
    living = [root.pid for root in roots if root.alive]
    family = _stopped(living) if signum == signal.SIGKILL else [*living, *descendants(*living)]
    meant = [Known.of(pid) for pid in family]
    for pid in family:
        _send(pid, signum)
    return meant


def _stopped(roots: Sequence[int]) -> list[int]:
    """Some processes and all their descendants, none of which goes on to start another."""
    stopped: dict[int, None] = {}
    new = list(roots)
    for _ in range(_ROUNDS):
        if not new:
            break
        for pid in new:
            _send(pid, signal.SIGSTOP)
        stopped.update(dict.fromkeys(new))
        new = [pid for pid in descendants(*roots) if pid not in stopped]
    return list(stopped)


async def end_tree(process: HostProcess, *, grace_s: float = TREE_GRACE_S) -> None:
    """End a process and all its descendants: TERM, then KILL; returns when they are gone. Gives the process back.

    The descendants are looked for before the first signal: one that ignores it is out of sight once its parent has
    ended.

    Args:
        process: The process; closed afterwards.
        grace_s: Time between the two signals.
    """
    try:
        family = await asyncio.to_thread(_family, process.pid) if process.alive else []
        await asyncio.to_thread(_signal_all, family[:1], signal.SIGTERM)
        if not await ended(family, grace_s):
            # Also what was started since.
            await ended(await asyncio.to_thread(_signal_all, family, signal.SIGKILL), grace_s)
    finally:
        process.close()


def _family(pid: int) -> list[Known]:
    """A process and those of its descendants that are of the same sandbox."""
    namespace = pid_namespace(pid)
    known = map(Known.of, descendants(pid))
    return [Known.of(pid), *(each for each in known if namespace and pid_namespace(each.pid) == namespace)]


async def ended(processes: Iterable[Known], timeout_s: float) -> bool:
    """Whether all of some processes end in time. Nothing tells of so many: they are looked at now and then.

    Args:
        processes: The processes.
        timeout_s: How long to wait.
    """
    until_s, pause_s = time.monotonic() + timeout_s, _FIRST_PAUSE_S
    left = list(processes)
    while left := await asyncio.to_thread(_living, left):
        if time.monotonic() >= until_s:
            return False
        await asyncio.sleep(min(pause_s, max(0.0, until_s - time.monotonic())))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    return True


def _living(processes: list[Known]) -> list[Known]:
    return [process for process in processes if process.alive]
