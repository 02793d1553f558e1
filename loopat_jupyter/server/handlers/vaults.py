"""Vaults: names go out, values only come in."""

from __future__ import annotations

import asyncio

from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import url_path_join
from tornado import web

from loopat_jupyter.server.answers import Vaults
from loopat_jupyter.server.base import LoopatHandler
from loopat_jupyter.server.requests import CreateVault, RemoveVaultQuery, SetVariable
from loopat_jupyter.workspace.variables import as_bytes


class VaultsHandler(LoopatHandler):
    """`/vaults`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """All vaults of the member, names only."""
        # A keyring may have to be asked.
        self.answer(Vaults(vaults=await asyncio.to_thread(self.manager.vaults.listed)))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Make an empty vault."""
        made = await asyncio.to_thread(self.manager.vaults.create, self.body(CreateVault).name)
        self.set_header("Location", url_path_join(self.request.path, made.name))
        self.answer(made, 201)


class VaultHandler(LoopatHandler):
    """`/vaults/{vault}`."""

    @web.authenticated
    @authorized
    async def delete(self, vault: str) -> None:
        """Remove a vault with all that lies in it."""
        await self.manager.vaults.remove(vault, force=self.query(RemoveVaultQuery).force)
        self.set_status(204)
        self.finish()


class VariableHandler(LoopatHandler):
    """`/vaults/{vault}/variables/{variable}`."""

    @web.authenticated
    @authorized
    async def put(self, vault: str, variable: str) -> None:
        """Set a variable."""
        value = as_bytes(self.body(SetVariable).value)
        await asyncio.to_thread(self.manager.vaults.set, vault, variable, value)
        self.set_status(204)
        self.finish()

    @web.authenticated
    @authorized
    async def delete(self, vault: str, variable: str) -> None:
        """Remove a variable."""
        await asyncio.to_thread(self.manager.vaults.unset, vault, variable)
        self.set_status(204)
        self.finish()
