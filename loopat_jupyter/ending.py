"""The end of processes that were started here, and of what they started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

_LOOK_S = 0.005


async def exited(process: asyncio.subprocess.Process, timeout_s: float, *, group: bool = False) -> bool:
    """Return when a process has ended, or when the time is over.

    The `wait` of asyncio does not notice an end as long as there is output that nobody reads.

    Args:
        process: The process.
        timeout_s: How long to wait at most.
        group: Whether to wait for its process group as well, which it leads.

    Returns:
        Whether it has ended.
    """
    until_s = time.monotonic() + timeout_s
    while not (ended := process.returncode is not None and not (group and _group_lives(process.pid))):
        if time.monotonic() >= until_s:
            break
        await asyncio.sleep(_LOOK_S)
    return ended


async def end(process: asyncio.subprocess.Process, grace_s: float) -> None:
    """End a process that still runs: politely, then for sure. The group that it leads goes with it, helpers included.

    Its pipes are closed in any case: output that nobody read would keep them open.

    Args:
        process: The process.
        grace_s: Time between the two.
    """
    if process.returncode is None:
        leads = _leads(process.pid)
        for signum in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if leads:
                    os.killpg(process.pid, signum)
                else:
                    process.send_signal(signum)
            if await exited(process, grace_s, group=leads):
                break
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()


def _leads(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def _group_lives(pid: int) -> bool:
    """Whether something is left of a group; what belongs to somebody else by now cannot be ended from here."""
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
