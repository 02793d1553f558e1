"""The end of a terminal inside a sandbox: what it started ends with it, as when a terminal window is closed.

A session is known by the process id of its leader as seen inside, so it is found also when the leader has ended and
left others behind (`NSsid` in proc_pid_status(5)).
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.sandbox.process import all_pids, find_process, pid_namespace
from loopat_jupyter.sandbox.trees import Known, ended

if TYPE_CHECKING:
    from loopat_jupyter.sandbox.process import Stem
    from loopat_jupyter.sandbox.state import StateFiles

GRACE_S = 1.0
"""Time between the hang-up and the kill."""

_ROUNDS = 3
"""How often to look again for what was started while the rest was being ended."""


class Member(NamedTuple):
    """A process of a session.

    Attributes:
        process: The process.
        leads: It is the session's leader: the shell, usually.
        ignores_hangup: It was told to outlive its terminal, as `nohup` does.
    """

    process: Known
    leads: bool
    ignores_hangup: bool


async def end_session(stem: Stem, state: StateFiles, *, grace_s: float = GRACE_S) -> None:
    """End what runs in a terminal, then remove the terminal's files. A start that is under way is called off.

    Everything in the session hears SIGHUP; what is still there after a while is killed, except what was told to
    outlive its terminal (`nohup`). Daemons with a session of their own (`setsid`) are not touched.

    Args:
        stem: The terminal's files.
        state: The loop's notes: which sandbox runs.
        grace_s: Time between hang-up and kill.
    """
    stem.call_off()
    stamp = state.running()
    if stamp is not None:
        await end_members(stem, stamp.pid, grace_s=grace_s)
    stem.remove()


async def end_members(stem: Stem, init_pid: int, *, grace_s: float = GRACE_S) -> None:
    """End what runs in the session that a launcher leads or led, and who holds its terminal.

    Nothing happens if it never came to a session.

    Args:
        stem: The launcher's files.
        init_pid: The sandbox's init process on the host.
        grace_s: Time between hang-up and kill.
    """
    leader_inside, holder_inside = stem.leader_inside(), stem.pid_inside()
    if leader_inside is None:
        return
    await _end_session(init_pid, leader_inside, grace_s)
    if holder_inside not in (None, leader_inside):
        # It ends by itself when its program has; whoever stopped it must not keep it.
        found = await asyncio.to_thread(find_process, init_pid, holder_inside)
        if found is not None:
            holder = Known.of(found.pid)
            found.close()
            if not await ended([holder], grace_s):
                holder.signal(signal.SIGKILL)
                await ended([holder], grace_s)


async def _end_session(init_pid: int, leader_inside: int, grace_s: float) -> None:
    first = await _signal_all(init_pid, leader_inside, (signal.SIGHUP, signal.SIGCONT), spare=False)
    await _wait_for(first, grace_s)
    for _ in range(_ROUNDS):
        rest = await _signal_all(init_pid, leader_inside, (signal.SIGKILL,), spare=True)
        await _wait_for(rest, grace_s)
        if not rest:
            return


async def _signal_all(init_pid: int, leader_inside: int, signals: tuple[int, ...], *, spare: bool) -> list[Member]:
    """Signal the members of a session that are there, and hand them over; `spare` leaves out who ignores hang-ups."""

    def signal_them() -> list[Member]:
        members = session_inside(init_pid, leader_inside)
        meant = [member for member in members if member.leads or not (spare and member.ignores_hangup)]
        for member in meant:
            # A program of another user inside (sudo) hears of the end from the kernel, through its terminal.
            for signum in signals:
                member.process.signal(signum)
        return meant

    return await asyncio.to_thread(signal_them)


async def _wait_for(members: list[Member], timeout_s: float) -> None:
    """Wait until the leader and all who heed a hang-up have ended, at most for a while."""
    await ended((member.process for member in members if member.leads or not member.ignores_hangup), timeout_s)


def session_inside(init_pid: int, leader_inside: int) -> list[Member]:
    """The living processes of one session of a sandbox, its leader first.

    Args:
        init_pid: The sandbox's init process on the host.
        leader_inside: The leader's process id as seen inside.
    """
    namespace = pid_namespace(init_pid)
    if namespace is None:
        return []
    members = []
    for pid in all_pids():
        status = _status(pid)
        if _last(status, b"NSsid:") != leader_inside or pid_namespace(pid) != namespace:
            continue
        leads = _last(status, b"NSpid:") == leader_inside
        members.append(Member(Known.of(pid), leads, _ignores(status, signal.SIGHUP)))
    return sorted(members, key=lambda member: not member.leads)


def _status(pid: int) -> dict[bytes, list[bytes]]:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return {}
    fields = [line.split() for line in lines]
    return {field[0]: field[1:] for field in fields if field}


def _last(status: dict[bytes, list[bytes]], field: bytes) -> int | None:
    numbers = status.get(field)
    return int(numbers[-1]) if numbers else None


def _ignores(status: dict[bytes, list[bytes]], signum: int) -> bool:
    mask = int(status.get(b"SigIgn:", [b"0"])[0], 16)
    return bool(mask >> (signum - 1) & 1)
