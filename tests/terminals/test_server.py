"""The terminal manager arrives in a server that is started as people start it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.jupyter_process import jupyter_server

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord

pytestmark = [pytest.mark.podman, pytest.mark.lonely]


async def test_a_plain_server_opens_terminals_in_loops(
    manager: LoopManager, running: LoopRecord, sandbox_image: str, tmp_path: Path
):
    environ = {"LOOPAT_HOME": str(manager.workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}
    workdir = manager.workspace.workdir(running.id)
    async with jupyter_server(tmp_path, manager.workspace.home, environ) as server:
        stock = await server.api("POST", "api/terminals", {"cwd": str(workdir)})
        ours = await server.api("POST", f"loopat/api/loops/{running.id}/terminals", {})
        assert (stock.status, ours.status) == (200, 201)
        for answer in (stock, ours):
            async with server.terminal(answer.body["name"]) as terminal:
                terminal.type("hostname; echo do''ne\r")
                assert f"loop-{running.id[:8]}\r\n" in await terminal.until("done\r\n")
