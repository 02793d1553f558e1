"""`Upkeep`: what keeps the loops of a workspace in order, with nobody asking for one loop in particular."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING

from loopat_jupyter.errors import NotFoundError, UnreadableRecordError
from loopat_jupyter.models import LoopEvent
from loopat_jupyter.sandbox.activity import IdleWatch, pause_s
from loopat_jupyter.sandbox.leftovers import Leftover
from loopat_jupyter.sandbox.owners import end_orphans, orphans
from loopat_jupyter.sandbox.process import exec_roots
from loopat_jupyter.sandbox.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loopat_jupyter.household import Household

_log = logging.getLogger(__name__)


class Upkeep:
    """Order among the loops of one workspace.

    Args:
        household: The workspace.
    """

    def __init__(self, household: Household) -> None:
        self._household = household

    async def gc(self, *, remove: bool) -> tuple[Leftover, ...]:
        """What this workspace left behind, and nothing needs any more; with `remove` it is gone afterwards.

        Raises:
            EngineError: Podman refused.
        """
        household = self._household
        orphaned = tuple(self._orphans())
        if remove:
            await self.end_orphans()
        of_sharing = await household.edge.sweep(remove=remove)
        sweeper = Sweeper(household.workspace, household.engine, household.sandboxes, household.images)
        network_needed = bool(household.edge.shared.ids())
        return (*orphaned, *of_sharing, *await sweeper.sweep(remove=remove, network_needed=network_needed))

    async def watch_idle(self) -> None:
        """Stop sandboxes that nobody uses, by the settings of now, until cancelled; in every long-lived process."""
        while True:
            await self.idle_watch().look()
            await asyncio.sleep(pause_s(self._household.config.idle_timeout_s))

    def idle_watch(self) -> IdleWatch:
        """What stops sandboxes that nobody uses when it looks."""
        household = self._household
        return IdleWatch(
            household.sandboxes, household.workspace.started_loops, household.config.idle_timeout_s, self._stopped
        )

    def _stopped(self, loop_id: str) -> None:
        event = LoopEvent(action="state", loop_id=loop_id, state="stopped", message="stopped when idle")
        self._household.on_event(event)

    async def stop_idle(self, idle_timeout_s: float) -> tuple[list[str], list[str]]:
        """Stop, once, the sandboxes that nobody uses: for where no long-lived process watches.

        One that was in use at the last look counts as idle from now on.

        Args:
            idle_timeout_s: How long a sandbox may idle; more than 0.

        Returns:
            Ids of the loops that were stopped, and of those that could not be.

        Raises:
            EngineError: Podman could not say what runs.
        """
        household, failed = self._household, list[str]()
        await self.adopt()
        started = household.workspace.started_loops
        watch = IdleWatch(household.sandboxes, started, idle_timeout_s, self._stopped, failed.append)
        stopped = await watch.look()
        for loop_id in stopped:
            await household.edge.follow(loop_id)
        return stopped, failed

    async def end_orphans(self) -> None:
        """End the commands and kernels whose callers were killed: nobody else will."""
        household = self._household
        for loop_id in household.workspace.started_loops():
            stamp = household.sandboxes.state_files(loop_id).running()
            if stamp is not None:
                for name in await end_orphans(household.workspace.run(loop_id), stamp.pid):
                    _log.info("Ended %s of loop %s, whose caller was killed", name, loop_id)

    def _orphans(self) -> Iterator[Leftover]:
        workspace = self._household.workspace
        for loop_id in workspace.started_loops():
            for name in orphans(workspace.run(loop_id)):
                reason = "who started it was killed"
                yield Leftover(kind="process", name=f"{name} in loop {loop_id}", reason=reason, key=loop_id)

    async def adopt(self) -> None:
        """Note sandboxes that run without a note, as after the runtime directory was wiped; tidy kernelspecs."""
        household = self._household
        household.kernels.prune()
        if not household.store.any():
            return
        for loop_id, facts in (await household.sandboxes.containers()).items():
            try:
                record = household.store.read(loop_id)
            except (NotFoundError, UnreadableRecordError):
                continue
            household.sandboxes.adopt(record, facts)

    async def keep_shared(self) -> None:
        """Fix what shows shared loops to others, if it died.

        Raises:
            LoopatError: It cannot be fixed.
        """
        await self._household.edge.keep()

    async def stop_all(self, *, sparing: Callable[[], bool] = lambda: False) -> None:
        """Stop every sandbox of this workspace, in parallel, and no other's.

        Args:
            sparing: Asked right before each is stopped: whether it goes on if a kernel, terminal or command runs in it.
        """
        sandboxes = self._household.sandboxes
        running = {loop_id: facts.pid for loop_id, facts in (await sandboxes.containers()).items() if facts.running}

        def due(loop_id: str) -> bool:
            if not sparing():
                return True
            # It may have been made anew since podman was asked.
            stamp = sandboxes.state_files(loop_id).running()
            return not exec_roots(running[loop_id] if stamp is None else stamp.pid)

        stops = (sandboxes.stop_if(loop_id, functools.partial(due, loop_id)) for loop_id in running)
        results = await asyncio.gather(*stops, return_exceptions=True)
        for loop_id, result in zip(running, results, strict=True):
            if isinstance(result, BaseException):
                _log.warning("The sandbox of loop %s was not stopped: %s", loop_id, result)
