"""A loop's sandbox: start, stop, recreate."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from loopat_jupyter.models import Progress, State, Status
from loopat_jupyter.server.base import LoopatHandler
from loopat_jupyter.server.requests import ChangeStateQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from loopat_jupyter.models import LoopRecord

AT_ONCE_S = 0.5
"""How long `wait=false` waits all the same: a start with a ready image takes less, and then there is no 202."""


class StateHandler(LoopatHandler):
    """Base of the three: the change goes on when its client goes away."""

    async def reach(
        self, loop_id: str, change: Callable[[LoopRecord], Coroutine[Any, Any, object]], meanwhile: Status
    ) -> None:
        """Change the state and answer: 200 when it is reached, 202 when it is not and nobody wants to wait.

        Args:
            loop_id: The loop.
            change: Makes the change.
            meanwhile: What a 202 shows, unless somebody has told of a step.
        """
        wait = self.query(ChangeStateQuery).wait
        record = self.manager.store.read(loop_id)
        task = self.service.spawn(change(record), loop_id=loop_id)
        await asyncio.wait((task,), timeout=None if wait else AT_ONCE_S)
        if not task.done():
            progress = self.manager.sandboxes.state_files(record.id).progress() or meanwhile.progress
            status = Status(state=meanwhile.state, progress=progress)
            self.answer(await asyncio.to_thread(self.manager.describe, record, status), 202)
            return
        running = await self.outcome(task, "This was cancelled. Try again when the sandbox is needed.")
        self.answer(await self.manager.get(record.id, started=running is not None))


def _doing(state: State, label: str) -> Status:
    return Status(state=state, progress=Progress(label=label))


class StartHandler(StateHandler):
    """`/loops/{loop_id}/start`."""

    @web.authenticated
    @authorized
    async def post(self, loop_id: str) -> None:
        """Make the sandbox run."""
        await self.reach(loop_id, self.manager.start, _doing("preparing", "starting the sandbox"))


class StopHandler(StateHandler):
    """`/loops/{loop_id}/stop`."""

    @web.authenticated
    @authorized
    async def post(self, loop_id: str) -> None:
        """Stop the sandbox; its files stay."""
        await self.reach(loop_id, self.manager.stop, _doing("running", "stopping the sandbox"))


class RecreateHandler(StateHandler):
    """`/loops/{loop_id}/recreate`."""

    @web.authenticated
    @authorized
    async def post(self, loop_id: str) -> None:
        """Make a new sandbox; what runs in the old one ends, its files stay."""
        recreate = functools.partial(self.manager.start, fresh=True)
        await self.reach(loop_id, recreate, _doing("preparing", "starting the sandbox"))


class CancelHandler(LoopatHandler):
    """`/loops/{loop_id}/cancel`."""

    @web.authenticated
    @authorized
    async def post(self, loop_id: str) -> None:
        """Call off a start, whoever asked for it, and the build that it waits for."""
        record = self.manager.store.read(loop_id)
        await asyncio.gather(self.service.cancel(record.id), self.manager.underway.call_off(record.id))
        self.answer(await self.manager.get(record.id))
