"""What loops show to others."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from loopat_jupyter.server.base import LoopatHandler
from loopat_jupyter.server.requests import ShareLoop
from loopat_jupyter.shares import change_share, look_at_share


class ShareHandler(LoopatHandler):
    """`/loops/{loop_id}/share`."""

    @web.authenticated
    @authorized
    async def get(self, loop_id: str) -> None:
        """What the loop shows, where, and what listens in it."""
        self.answer(await look_at_share(self.manager, self.manager.store.read(loop_id)))

    @web.authenticated
    @authorized
    async def put(self, loop_id: str) -> None:
        """Share it, in another way, or not any more."""
        record, wanted = self.manager.store.read(loop_id), self.body(ShareLoop).wanted()
        self.answer(await self.finished(change_share(self.manager, record, wanted), loop_id=loop_id))
