"""Containers of builds whose podman was killed. They have no label, and `podman ps` shows them only if asked to.

Podman notes the arguments of a build on each of its containers. So each build of ours has one that is its own, and is
under way for as long as there is a process with it. One in another pid namespace on the same storage is not seen.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from loopat_jupyter.deadlines import in_thread
from loopat_jupyter.sandbox.facts import understood
from loopat_jupyter.sandbox.process import all_pids, commands, is_init

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopat_jupyter.sandbox.podman import Engine

BUILD_ARGUMENT = "LOOPAT_BUILD"
"""Name of the argument."""

_IN_STORAGE = "storage"
"""The state of a container that podman itself did not make: a builder did."""


class Unfinished(NamedTuple):
    """A container of a build that ended without removing it.

    Attributes:
        id: Its id.
        name: Its name.
    """

    id: str
    name: str


class _Listed(msgspec.Struct, frozen=True, rename="pascal"):
    """A container as podman lists it."""

    id: str
    names: tuple[str, ...] | None = None
    state: str = ""


class _Stored(msgspec.Struct, frozen=True):
    """A container as the storage lists it."""

    id: str
    layer: str = ""


class _Note(msgspec.Struct, frozen=True):
    """What podman notes on the container of a build."""

    arguments: dict[str, Any] | None = msgspec.field(default=None, name="Args")


def new_mark() -> str:
    """An argument of `podman build` by which what it leaves behind is known as ours."""
    return f"--build-arg={BUILD_ARGUMENT}={os.urandom(8).hex()}"


async def find_unfinished(engine: Engine) -> list[Unfinished]:
    """Containers of builds of ours that nobody goes on with.

    Args:
        engine: Runs podman.

    Raises:
        EngineError: Podman could not say.
    """
    built = await _built(engine)
    return await in_thread(_given_up, await storage_folder(engine), built) if built else []


async def _built(engine: Engine) -> list[_Listed]:
    """The containers of all builds."""
    listed = await engine.run("ps", "--all", "--external", "--format=json", doing="list containers of builds")
    with understood("ps"):
        containers = msgspec.json.decode(listed.stdout or b"[]", type=list[_Listed])
    return [container for container in containers if container.state == _IN_STORAGE]


def _given_up(storage: Path, built: Iterable[_Listed]) -> list[Unfinished]:
    # Read after the containers were listed: the process of none that was listed is missed.
    under_way = commands()
    found = []
    for container in built:
        mark = _mark(storage, container.id)
        if mark and not any(mark in command for command in under_way):
            found.append(Unfinished(container.id, (container.names or (container.id[:12],))[0]))
    return found


async def remove_unfinished(engine: Engine) -> None:
    """Remove them.

    Args:
        engine: Runs podman.

    Raises:
        EngineError: Podman refused.
    """
    if built := await _built(engine):
        storage = await storage_folder(engine)
        for container in await in_thread(_given_up, storage, built):
            await _remove(engine, storage, container.id)


async def remove_one(engine: Engine, container_id: str) -> None:
    """Remove one of them, and end its step, which goes on without podman.

    Args:
        engine: Runs podman.
        container_id: Its id.

    Raises:
        EngineError: Podman refused.
    """
    await _remove(engine, await storage_folder(engine), container_id)


async def _remove(engine: Engine, storage: Path, container_id: str) -> None:
    await in_thread(_end_step, storage, container_id)
    await engine.run("rm", "--force", "--ignore", container_id, doing="remove what a build left behind")


def _mark(storage: Path, container_id: str) -> bytes:
    """The mark of the build that a container belongs to; empty for anybody else's."""
    # The folder is called after the driver; other containers' notes may be closed to this user.
    for file in storage.glob(f"*-containers/{container_id}/userdata/buildah.json"):
        try:
            note = msgspec.json.decode(file.read_bytes(), type=_Note)
        except (OSError, msgspec.DecodeError):
            continue
        return str((note.arguments or {}).get(BUILD_ARGUMENT, "")).encode()
    return b""


async def storage_folder(engine: Engine) -> Path:
    """The folder in which podman keeps everything.

    Args:
        engine: Runs podman.

    Raises:
        EngineError: Podman could not say.
    """
    answer = await engine.run("info", "--format={{.Store.GraphRoot}}", doing="look for its storage")
    return Path(answer.stdout.decode().strip())


def _end_step(storage: Path, container_id: str) -> None:
    """Kill all processes of a container of a build."""
    layer = _layer(storage, container_id)
    for pid in all_pids() if layer else ():
        # The init of a step's pid namespace takes all of its processes along.
        if is_init(pid) and layer in _root_mount(pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _layer(storage: Path, container_id: str) -> bytes:
    """The layer that a container writes to; empty where the storage does not say."""
    for file in storage.glob("*-containers/*containers.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            for stored in msgspec.json.decode(file.read_bytes(), type=list[_Stored]):
                if stored.id == container_id:
                    return stored.layer.encode()
    return b""


def _root_mount(pid: int) -> bytes:
    """What a process has at `/`, as in proc_pid_mountinfo(5): its source names the layer."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/mountinfo").read_bytes().splitlines():
            if line.split(b" ")[4] == b"/":
                return line
    return b""
