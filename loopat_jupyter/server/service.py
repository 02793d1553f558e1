"""`LoopService`: the loops of one server: its manager, and what runs in the background."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from typing import TYPE_CHECKING, Any, TypeVar

from loopat_jupyter.deadlines import call_off
from loopat_jupyter.errors import ConfigurationError, LoopatError
from loopat_jupyter.outgoing import Answering
from loopat_jupyter.workspace.serving import Serving, is_served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from loopat_jupyter.kernels.spares import Spares
    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.server.follower import Follower

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

RETRY_S = 30.0
"""Pause after the idle watch failed, before it tries again."""

KEEP_S = 1.0
"""Pause between two looks whether what is shared is really there."""

SERVE_S = 1.0
"""Pause between two looks whether other servers can see that this one serves the workspace."""

ORPHANS_S = 5.0
"""Pause between two looks for commands whose callers were killed."""

FOLLOW_S = 1.0
"""Pause between two looks at what other processes did."""


class LoopService:
    """The loops of one server.

    Args:
        make_manager: Makes the manager from files and environment.
        follower: Notices what other processes do.
        log: Where people look: the server's log.

    Attributes:
        secret: Known to this server alone, and only while it runs.
    """

    def __init__(self, make_manager: Callable[[], LoopManager], follower: Follower, log: logging.Logger = _log) -> None:
        self._make_manager = make_manager
        self._follower = follower
        self._log = log
        self._made: LoopManager | None = None
        self._told: set[str] = set()
        self._serving = Serving()
        self.secret = os.urandom(32)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def manager(self) -> LoopManager:
        """The verbs, by the settings of now. A broken configuration is looked at again each time: fixing it is enough.

        Raises:
            ConfigurationError: The configuration is broken; says which file and key.
        """
        if self._made is None:
            try:
                self._made = self._make_manager()
            except ConfigurationError:
                raise
            except LoopatError as error:
                raise self._broken(error.message) from error
            except OSError as error:
                raise self._broken(str(error)) from error
        else:
            self._made.refresh()
        return self._made

    @functools.cached_property
    def spares(self) -> Spares:
        """Kernels that wait to be used.

        Raises:
            ConfigurationError: The configuration is broken.
        """
        from loopat_jupyter.kernels.spares import Spares  # noqa: PLC0415 - only a server with kernels in loops pays

        return Spares(self.manager, self.spawn)

    def _broken(self, problem: str) -> ConfigurationError:
        error = ConfigurationError(f"Loops cannot be used because of the configuration: {problem}")
        self.tell_once(error.message)
        return error

    def tell_once(self, message: str) -> None:
        """Log a warning that would otherwise come again and again."""
        if message not in self._told:
            self._told.add(message)
            self._log.warning("%s", message)

    def start(self) -> None:
        """Begin the background work. Returns at once; nothing here keeps the server from starting."""
        answering = Answering(self.spawn)
        self.spawn(self._check_machine())
        self.spawn(self._adopt())
        # Each turn asks for the manager, which may be there only once somebody has fixed the configuration.
        self.spawn(self._again(self._serve, SERVE_S))
        self.spawn(self._again(lambda: self.manager.upkeep.watch_idle(), RETRY_S))  # noqa: PLW0108
        self.spawn(self._again(lambda: self.manager.upkeep.end_orphans(), ORPHANS_S))  # noqa: PLW0108
        self.spawn(self._again(lambda: self._follower.look(self.manager.workspace), FOLLOW_S))
        self.spawn(self._again(lambda: answering.look(self.manager), FOLLOW_S))
        self.spawn(self._again(lambda: self.manager.upkeep.keep_shared(), KEEP_S))  # noqa: PLW0108

    def repeat(self, look: Callable[[], Awaitable[object]], pause_s: float) -> None:
        """Do something again and again, until the server stops.

        Args:
            look: What to do.
            pause_s: Pause in between.
        """
        self.spawn(self._again(look, pause_s))

    def spawn(self, work: Coroutine[Any, Any, _Result], *, loop_id: str | None = None) -> asyncio.Task[_Result]:
        """Run something that outlives the request that asked for it, until the server stops.

        Args:
            work: What to do.
            loop_id: The loop that it is for: `cancel` finds it by this.
        """
        task = asyncio.create_task(work, name=loop_id)
        self._tasks.add(task)
        task.add_done_callback(self._settled)
        return task

    async def cancel(self, loop_id: str) -> None:
        """Call off what this server is doing for a loop, and return when that has ended.

        Args:
            loop_id: The loop.
        """
        await call_off(task for task in self._tasks if task.get_name() == loop_id)

    def _settled(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Whoever waits for it is told as well; of the rest nobody else would hear.
            level, trace = (logging.INFO, None) if isinstance(error, LoopatError) else (logging.ERROR, error)
            self._log.log(level, "Background work ended: %s", error, exc_info=trace)

    async def stop(self) -> None:
        """End the background work and, where the configuration says so, this workspace's sandboxes."""
        await call_off(self._tasks)
        self._serving.let_go()
        if self._made is None:
            return
        if self._made.config.on_shutdown == "stop":
            try:
                await self._stop_sandboxes(self._made)
            except (LoopatError, OSError) as error:
                self._log.warning("The sandboxes were not stopped: %s", error)
        await self._made.engine.close()

    async def _stop_sandboxes(self, manager: LoopManager) -> None:
        """Stop those of the workspace; while others serve it, too, none in which something runs."""
        served = functools.partial(is_served, manager.workspace)
        if served():
            self._log.info("Another server of this workspace runs, so loops in which something runs are not stopped")
        await manager.upkeep.stop_all(sparing=served)
        if not served():
            await manager.edge.close()

    async def _serve(self) -> None:
        self._serving.hold(self.manager.workspace)

    async def _check_machine(self) -> None:
        try:
            health = await self.manager.health(noted=True)
        except ConfigurationError:
            return
        except LoopatError as error:
            self.tell_once(error.message)
            return
        for check in health.checks:
            if not check.ok:
                self.tell_once(f"{check.name}: {check.detail}. To fix it: {check.fix}")

    async def _adopt(self) -> None:
        try:
            await self.manager.upkeep.adopt()
        except ConfigurationError:
            return
        except (LoopatError, OSError) as error:
            self.tell_once(str(error))

    async def _again(self, look: Callable[[], Awaitable[object]], pause_s: float) -> None:
        """Do something for ever. What fails, for whatever reason, is told once, and tried again after the pause."""

        async def turn() -> None:
            await look()

        while True:
            # The manager itself may be what is missing, so it is asked for inside.
            (error,) = await asyncio.gather(turn(), return_exceptions=True)
            if isinstance(error, (LoopatError, OSError)):
                self.tell_once(str(error))
            elif error is not None and (unforeseen := f"Background work failed: {error!r}") not in self._told:
                self._told.add(unforeseen)
                self._log.error("%s", unforeseen, exc_info=error)
            await asyncio.sleep(pause_s)
