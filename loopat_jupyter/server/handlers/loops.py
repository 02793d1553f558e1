"""Loops: list, create, show, change, delete."""

from __future__ import annotations

import asyncio

from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import url_path_join
from tornado import web

from loopat_jupyter.models import Status
from loopat_jupyter.server.base import LoopatHandler
from loopat_jupyter.server.requests import ChangeLoop, CreateLoop, DeleteQuery, ListQuery


class LoopsHandler(LoopatHandler):
    """`/loops`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """One page of loops."""
        query = self.query(ListQuery)
        self.answer(await self.manager.page(limit=query.limit, after=query.after, archived=query.archived))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Make a loop; a client that goes away does not want it. Its sandbox comes with its first use."""
        making = self.ends_with_client = self.service.spawn(self.manager.make(self.body(CreateLoop).wanted()))
        record = await self.outcome(
            making, "The loop was not made, because it was cancelled or the server is stopping."
        )
        self.set_header("Location", url_path_join(self.request.path, record.id))
        self.answer(await asyncio.to_thread(self.manager.describe, record, Status(state="absent")), 201)


class LoopHandler(LoopatHandler):
    """`/loops/{loop_id}`."""

    @web.authenticated
    @authorized
    async def get(self, loop_id: str) -> None:
        """One loop."""
        self.answer(await self.manager.get(loop_id))

    @web.authenticated
    @authorized
    async def patch(self, loop_id: str) -> None:
        """Change a loop. The state is read first: where that takes podman and there is none, nothing is changed."""
        request = self.body(ChangeLoop)
        await self.manager.get(loop_id)
        changing = self.service.spawn(self.manager.update(loop_id, request.changes()))
        await self.outcome(changing, "The change was called off, because the server is stopping. Try again later.")
        self.answer(await self.manager.get(loop_id))

    @web.authenticated
    @authorized
    async def delete(self, loop_id: str) -> None:
        """Delete a loop with its files."""
        query = self.query(DeleteQuery)
        deleting = self.service.spawn(self.manager.delete(loop_id, force=query.force, end=query.end))
        await asyncio.wait((deleting,))
        # One that is called off late goes to its end all the same.
        if not deleting.cancelled() or self.manager.workspace.record(loop_id).exists():
            await self.outcome(deleting, "The loop was not deleted, because the server is stopping. Try again later.")
        self.set_status(204)
        self.finish()
