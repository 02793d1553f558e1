"""Repos that can be picked by name."""

from __future__ import annotations

from jupyter_server.auth.decorator import authorized
from tornado import web

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
