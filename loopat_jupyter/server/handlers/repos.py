"""Repos that can be picked by name, and those that loops could not be given."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

from loopat_jupyter.fetching import fetch_repo
from loopat_jupyter.server.answers import Repos
from loopat_jupyter.server.base import LoopatHandler
from loopat_jupyter.server.requests import RegisterRepo


class ReposHandler(LoopatHandler):
    """`/repos`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Every registered repo."""
        self.answer(Repos(repos=self.manager.cargo.checkout.repos()))


class RepoHandler(LoopatHandler):
    """`/repos/{name}`."""

    @web.authenticated
    @authorized
    async def put(self, name: str) -> None:
        """Register a repo, or give a name another address."""
        registry = self.manager.cargo.checkout.registry
        self.answer(await registry.add(name, self.body(RegisterRepo).url))

    @web.authenticated
    @authorized
    async def delete(self, name: str) -> None:
        """Forget a repo. Loops stay as they are."""
        await self.manager.cargo.checkout.registry.remove(name)
        self.set_status(204)
        self.finish()


class FetchHandler(LoopatHandler):
    """`/loops/{loop_id}/fetch`."""

    @web.authenticated
    @authorized
    async def post(self, loop_id: str) -> None:
        """Fetch the repo that could not be reached when the loop was made."""
        record = self.manager.store.read(loop_id)
        await self.finished(fetch_repo(self.manager, record), loop_id=loop_id)
        self.answer(await self.manager.get(loop_id))
