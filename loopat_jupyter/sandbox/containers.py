"""`Containers`: which containers there are and which of them run, as podman says and as their processes do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from loopat_jupyter.sandbox.facts import list_containers, look
from loopat_jupyter.sandbox.forgotten import corrected, end_init, find_init
from loopat_jupyter.sandbox.plan import STOP_GRACE_S, container_name
from loopat_jupyter.sandbox.state import StateFiles

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from loopat_jupyter.models import ContainerFacts
    from loopat_jupyter.sandbox.making import Maker
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.paths import Workspace


class Containers:
    """The containers of the loops of one workspace.

    Args:
        workspace: Whose.
        engine: Runs podman.
        maker: Changes them.
    """

    def __init__(self, workspace: Workspace, engine: Engine, maker: Maker) -> None:
        self._workspace = workspace
        self._engine = engine
        self._maker = maker

    async def look(self, loop_id: str, reference: str = "") -> tuple[ContainerFacts | None, str | None]:
        """One container, and the id of the image that it should run; one podman call.

        Args:
            loop_id: The loop.
            reference: Of the image; nothing else is told of it without one.

        Returns:
            Facts and id; None for what is not there.

        Raises:
            EngineError: Podman could not say.
        """
        name = container_name(self._workspace.name, loop_id)
        facts, image_id = await look(self._engine, name, reference or name)
        found = await self.corrected({loop_id: facts} if facts is not None else {}, [loop_id])
        return found.get(loop_id), image_id

    async def all(self) -> dict[str, ContainerFacts]:
        """All of them, by loop id; one podman call.

        Raises:
            EngineError: Podman could not say.
        """
        listed = await list_containers(self._engine, self._workspace.name)
        return await self.corrected(listed, {*listed, *self._workspace.started_loops()})

    async def corrected(
        self, listed: Mapping[str, ContainerFacts], loop_ids: Iterable[str]
    ) -> dict[str, ContainerFacts]:
        """Containers as they are, by loop id: some may run without podman's knowledge.

        Args:
            listed: What podman says.
            loop_ids: The loops to look at.
        """
        return await asyncio.to_thread(corrected, self._workspace, listed, loop_ids)

    async def stop(self, loop_id: str) -> None:
        """Stop one; nothing happens when it does not run. Only under the lock of its loop.

        Args:
            loop_id: The loop.

        Raises:
            EngineError: Podman refused, or it could not be ended.
            EngineTimeoutError: Podman took too long.
        """
        await self._end(loop_id, self._maker.stop, grace_s=STOP_GRACE_S)

    async def remove(self, loop_id: str, *, replaced: bool = False) -> None:
        """Remove one with its processes; nothing happens when there is none. Only under the lock of its loop.

        Args:
            loop_id: The loop.
            replaced: It gives way to a new one.

        Raises:
            EngineError: Podman refused, or it could not be ended.
            EngineTimeoutError: Podman took too long.
        """
        await self._end(loop_id, self._maker.remove, replaced=replaced)

    async def _end(
        self, loop_id: str, how: Callable[[str], Awaitable[None]], *, grace_s: float = 0.0, replaced: bool = False
    ) -> None:
        init = await asyncio.to_thread(find_init, self._workspace, loop_id)
        with StateFiles(self._workspace.host(loop_id)).ending(replaced=replaced):
            await how(container_name(self._workspace.name, loop_id))
            # Of one that it does not know to run, podman says the same and ends nothing.
            await end_init(init, loop_id, grace_s=grace_s)
