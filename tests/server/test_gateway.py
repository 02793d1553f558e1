"""A server whose kernels run at a gateway, with loops beside them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.jupyter_process import TOKEN, Server, jupyter_server
from tests.small_kernels import SMALL_KERNEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace


@pytest.fixture
async def gateway(tmp_path: Path, workspace: Workspace) -> AsyncIterator[Server]:
    """The server that runs the kernels."""
    folder = tmp_path / "gateway"
    kernel = folder / "jupyter-data" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = [sys.executable, str(SMALL_KERNEL), "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Far", "language": "none"}))
    (folder / "root").mkdir()
    async with jupyter_server(folder, folder / "root", {"LOOPAT_HOME": str(workspace.home)}) as server:
        yield server


@pytest.mark.parametrize("told_by", ["option", "environment"])
async def test_kernels_start_at_the_gateway_and_files_of_loops_are_refused(
    gateway: Server, tmp_path: Path, workspace: Workspace, told_by: str
) -> None:
    (tmp_path / "root").mkdir()
    environ, options = {"LOOPAT_HOME": str(workspace.home)}, [f"--GatewayClient.auth_token={TOKEN}"]
    if told_by == "option":
        options.append(f"--gateway-url={gateway.url}")
    else:
        environ["JUPYTER_GATEWAY_URL"] = gateway.url
    async with jupyter_server(tmp_path / "near", tmp_path / "root", environ, *options) as server:
        model = {"path": "n.ipynb", "name": "n", "type": "notebook", "kernel": {"name": "python3"}}
        session = await server.api("POST", "api/sessions", model)
        assert session.status == 201, server.log.read_text()
        kernel_id = session.body["kernel"]["id"]
        assert [kernel["id"] for kernel in (await gateway.api("GET", "api/kernels")).body] == [kernel_id]
        async with server.kernel(kernel_id) as kernel:
            assert (await kernel.run("print(6 * 7)")).text == "42\n"
        assert (await server.api("POST", f"api/kernels/{kernel_id}/restart", {})).status == 200
        made = await server.api("POST", "loopat/api/loops", {"title": "A loop"})
        refused = await server.api("GET", f"loopat/api/contents/{made.body['folder']}")
        assert (refused.status, refused.body["reason"]) == (503, "bad_configuration")
        assert "run at a gateway" in refused.body["message"]
        assert (await server.api("DELETE", f"api/sessions/{session.body['id']}")).status == 204
