"""What a loop offers: kernels and terminals."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from loopat_jupyter.errors import ConflictError
from loopat_jupyter.server.answers import Kernelspecs
from loopat_jupyter.server.base import LoopatHandler, permitted
from loopat_jupyter.server.requests import OpenTerminal, check_path

TERMINALS_RESOURCE = "terminals"
"""What the stock terminals are to an authorizer: who may open none of those may open none here."""


class KernelspecsHandler(LoopatHandler):
    """`/loops/{loop_id}/kernelspecs`."""

    @web.authenticated
    @authorized
    async def get(self, loop_id: str) -> None:
        """The kernels of the loop, as far as they are known without starting it: reading changes nothing."""
        record = self.manager.store.read(loop_id)
        stamp = self.manager.sandboxes.state_files(loop_id).running()
        self.answer(Kernelspecs(kernelspecs=await self.manager.kernels.known(record, stamp)))


class TerminalsHandler(LoopatHandler):
    """`/loops/{loop_id}/terminals`."""

    @web.authenticated
    @permitted("execute")
    @permitted("write", TERMINALS_RESOURCE)
    async def post(self, loop_id: str) -> None:
        """Open a terminal in the loop."""
        request = self.body(OpenTerminal)
        check_path("cwd", request.cwd)
        record = self.manager.store.read(loop_id)
        terminals: Any = self.settings.get("terminal_manager")
        if not hasattr(terminals, "create_in_loop"):
            raise ConflictError(
                "This server has no terminals in loops. Leave `ServerApp.terminals_enabled` on and "
                "`TerminalsExtensionApp.terminal_manager_class` at `loopat_jupyter.terminals.LoopTerminalManager`."
            )
        self.answer(await terminals.create_in_loop(record, cwd=request.cwd), 201)
