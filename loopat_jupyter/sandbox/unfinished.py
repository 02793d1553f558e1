"""Containers of builds whose podman was killed. They have no label, and `podman ps` shows them only if asked to.

Podman notes the arguments of a build on each of its containers. So each build of ours has one that is its own, and is
under way for as long as there is a process with it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from loopat_jupyter.deadlines import in_thread
from loopat_jupyter.sandbox.process import commands

if TYPE_CHECKING:
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
    listed = await engine.run("ps", "--all", "--external", "--format=json", doing="list containers of builds")
    entries = [entry for entry in msgspec.json.decode(listed.stdout or b"[]") if entry.get("State") == _IN_STORAGE]
    if not entries:
        return []
    answer = await engine.run("info", "--format={{.Store.GraphRoot}}", doing="look for its storage")
    storage = Path(answer.stdout.decode().strip())
    # Only now: a container that was listed before is missed by none of the processes.
    under_way = await in_thread(commands)
    found = []
    for entry in entries:
        mark = _mark(storage, entry["Id"])
        if mark and not any(mark in command for command in under_way):
            found.append(Unfinished(entry["Id"], entry["Names"][0]))
    return found


async def remove_unfinished(engine: Engine) -> None:
    """Remove them.

    Args:
        engine: Runs podman.

    Raises:
        EngineError: Podman refused.
    """
    for container in await find_unfinished(engine):
        await remove_one(engine, container.id)


async def remove_one(engine: Engine, container_id: str) -> None:
    """Remove one of them.

    Args:
        engine: Runs podman.
        container_id: Its id.

    Raises:
        EngineError: Podman refused.
    """
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
