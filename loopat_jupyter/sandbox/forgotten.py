"""Sandboxes that live on without podman's knowledge.

Podman takes an empty runtime directory for a reboot: it counts nothing as running any more, though every process goes
on. One command that did not see `/run/user` is enough, or the end of a person's last login. Such a container ends what
runs in it when it is started, and goes on when it is stopped or removed. So that something does not run is believed
once its processes say so too: the init process that the loop's note names, or where notes were wiped as well, the one
below the container's monitor (conmon).
"""

from __future__ import annotations

import functools
import os
import signal
from pathlib import PurePath
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.errors import EngineError
from loopat_jupyter.models import ContainerFacts
from loopat_jupyter.sandbox.plan import container_name
from loopat_jupyter.sandbox.process import all_pids, command_line, is_init, pid_namespace
from loopat_jupyter.sandbox.state import StateFiles
from loopat_jupyter.sandbox.trees import Known, descendants, ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from loopat_jupyter.sandbox.state import Stamp
    from loopat_jupyter.workspace.paths import Workspace

_KILLED_WITHIN_S = 10.0


def monitored_inits() -> dict[str, int]:
    """The init processes of this user's containers whose monitor lives, by the container's name; one pass over all."""
    found: dict[str, int] = {}
    here = pid_namespace(os.getpid())
    for pid in all_pids():
        name = _monitors(command_line(pid))
        # What runs inside a sandbox can call itself anything, and is in another namespace.
        if name and pid_namespace(pid) == here and _is_ours(pid):
            child = next(iter(descendants(pid)), 0)
            if is_init(child):
                found[name] = child
    return found


def _monitors(command: bytes) -> str:
    """The name of the container that a process monitors, by its command line; empty where it is no monitor."""
    program, *arguments = command.split(b"\0")
    if PurePath(os.fsdecode(program)).name != "conmon" or b"-n" not in arguments[:-1]:
        return ""
    return os.fsdecode(arguments[arguments.index(b"-n") + 1])


def _is_ours(pid: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}").st_uid == os.getuid()  # noqa: PTH116
    except OSError:
        return False


def find_init(workspace: Workspace, loop_id: str) -> Known | None:
    """The living init process of a sandbox, whatever podman says; None where it does not run.

    Args:
        workspace: Whose.
        loop_id: The loop.
    """
    stamp, pid = _living(workspace, loop_id, monitored_inits)
    if stamp is not None:
        return Known(stamp.pid, stamp.start_ticks)
    return None if pid is None else Known.of(pid)


def corrected(
    workspace: Workspace, listed: Mapping[str, ContainerFacts], loop_ids: Iterable[str]
) -> dict[str, ContainerFacts]:
    """Containers as they are, by loop id; one pass over the processes at most.

    Args:
        workspace: Whose.
        listed: What podman says.
        loop_ids: The loops whose containers to look at, whether or not podman says that they have one.
    """
    found, monitored = dict(listed), functools.cache(monitored_inits)
    for loop_id in loop_ids:
        facts = listed.get(loop_id)
        # One that was paused runs no less, and podman knows it.
        if facts is not None and (facts.alive or facts.paused):
            continue
        stamp, pid = _living(workspace, loop_id, monitored)
        if stamp is not None:
            found[loop_id] = stamp.facts if facts is None else _running(facts, stamp.pid)
        elif pid is not None:
            found[loop_id] = _running(facts or _unknown(container_name(workspace.name, loop_id), loop_id), pid)
    return found


def _living(
    workspace: Workspace, loop_id: str, monitored: Callable[[], Mapping[str, int]]
) -> tuple[Stamp | None, int | None]:
    """What a loop's note says of a sandbox that lives; where there are no notes at all, the init below its monitor.

    Args:
        workspace: Whose.
        loop_id: The loop.
        monitored: As `monitored_inits`.
    """
    files = StateFiles(workspace.host(loop_id))
    stamp = files.running()
    if stamp is not None or files.noted():
        return stamp, None
    return None, monitored().get(container_name(workspace.name, loop_id))


def _running(facts: ContainerFacts, pid: int) -> ContainerFacts:
    return msgspec.structs.replace(facts, running=True, pid=pid, alive=True)


def _unknown(name: str, loop_id: str) -> ContainerFacts:
    """A container of which podman has lost everything."""
    return ContainerFacts(
        id="", name=name, loop_id=loop_id, config_hash="", image_id="", running=False, pid=0, alive=False
    )


async def end_init(init: Known | None, loop_id: str, *, grace_s: float) -> None:
    """End a sandbox that podman has not ended, as it does not know that it runs. Nothing happens when it has ended.

    Args:
        init: Its init process, with which all others end.
        loop_id: The loop.
        grace_s: Time between the request to end and the kill; 0 to kill at once.

    Raises:
        EngineError: It lives on.
    """
    if init is None or not init.alive:
        return
    if grace_s:
        init.signal(signal.SIGTERM)
    if not await ended([init], grace_s):
        init.signal(signal.SIGKILL)
        if not await ended([init], _KILLED_WITHIN_S):
            raise EngineError(
                f"The sandbox of loop {loop_id} cannot be ended: process {init.pid} still runs, unknown to "
                f"podman. End it (`kill -KILL {init.pid}`), then try again."
            )
