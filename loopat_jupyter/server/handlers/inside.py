"""What a loop offers: kernels and terminals; what it takes, and how its image was built."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from loopat_jupyter.errors import ConflictError, NotFoundError
from loopat_jupyter.models import Usage
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
        self.answer(await terminals.create_in_loop(record, cwd=request.cwd, agent=request.agent), 201)


class UsageHandler(LoopatHandler):
    """`/loops/{loop_id}/usage`."""

    @web.authenticated
    @authorized
    async def get(self, loop_id: str) -> None:
        """What the loop's processes take of the machine."""
        record = self.manager.store.read(loop_id)
        found = await asyncio.to_thread(self.manager.sandboxes.usage, record.id)
        self.answer(found or Usage(cpu_s=0, memory_bytes=0, processes=0))


class BuildLogHandler(LoopatHandler):
    """`/loops/{loop_id}/build-log`."""

    @web.authenticated
    @authorized
    async def get(self, loop_id: str) -> None:
        """The output of the last build of the loop's image; of a long one, its beginning and its end."""
        log = self.manager.toolchains.build_log(self.manager.store.read(loop_id))
        try:
            text = await asyncio.to_thread(log.read_bytes)
        except FileNotFoundError:
            raise NotFoundError(
                "The loop's image was not built here since the machine was started, and no pull of it failed."
            ) from None
        self.finish(text, set_content_type="text/plain; charset=UTF-8")
