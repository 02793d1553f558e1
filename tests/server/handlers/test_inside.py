"""Kernels and terminals of a loop over REST, on real podman."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace

pytestmark = pytest.mark.lonely

SLOW = {"request_timeout": 100}


@pytest.mark.podman
async def test_kernels_and_terminals_of_a_loop(
    real_image: str, api: Any, jp_fetch: Any, connect: Any, workspace: Workspace
) -> None:
    loop = (await api("POST", "loops", send={"title": "inside"})).body["id"]
    unknown = await api("GET", "loops", loop, "kernelspecs", **SLOW)
    assert (unknown.status, unknown.body["reason"]) == (409, "conflict")
    assert "Start the loop" in unknown.body["message"]
    assert (await api("GET", "loops", loop)).body["state"] == "absent"
    await api("POST", "loops", loop, "start", **SLOW)
    found = await api("GET", "loops", loop, "kernelspecs", **SLOW)
    assert found.status == 200
    python = next(spec for spec in found.body["kernelspecs"] if spec["name"] == "python3")
    assert python["language"] == "python"
    assert any("ipykernel" in argument for argument in python["argv"])
    # A terminal is an ordinary one of Jupyter's, and inside.
    (workspace.workdir(loop) / "data").mkdir()
    opened = await api("POST", "loops", loop, "terminals", send={"cwd": "data"}, **SLOW)
    assert opened.status == 201
    assert set(opened.body) == {"name", "last_activity"}
    name = opened.body["name"]
    listed = json.loads((await jp_fetch("api", "terminals")).body)
    assert [terminal["name"] for terminal in listed] == [name]
    socket = await connect("terminals", "websocket", name)
    await socket.write_message(json.dumps(["stdin", "echo at=$PWD; hostname\r"]))
    shown = ""
    async with asyncio.timeout(60):
        while f"loop-{loop[:8]}" not in shown.partition(f"at=/loopat/loop/{loop}/workdir/data")[2]:
            kind, *rest = json.loads(await socket.read_message())
            shown += rest[0] if kind == "stdout" else ""
    assert (await jp_fetch("api", "terminals", name, method="DELETE", **SLOW)).code == 204
    await api("POST", "loops", loop, "stop", **SLOW)
    assert (await api("GET", "loops", loop, "kernelspecs", **SLOW)).body == found.body
    assert (await api("GET", "loops", loop)).body["state"] == "stopped"
    # Another loop with this image offers the same, and is not started for it.
    other = (await api("POST", "loops", send={"title": "other"})).body["id"]
    assert (await api("GET", "loops", other, "kernelspecs", **SLOW)).body == found.body
    assert (await api("GET", "loops", other)).body["state"] == "absent"


async def test_what_makes_no_sense_is_refused_with_its_field(api: Any) -> None:
    loop = (await api("POST", "loops", send={"title": "inside"})).body["id"]
    senseless = [{"cwd": cwd} for cwd in ("nowhere", "..", "", "a\0b", 1)]
    for send in (*senseless, {"shell_command": ["sh"]}, {"name": "x"}, {"env": {}}):
        refused = await api("POST", "loops", loop, "terminals", send=send)
        assert (refused.status, refused.body.get("field")) == (400, next(iter(send))), send


class TestStockTerminals:
    @pytest.fixture
    def jp_server_config(self, jp_server_config: dict[str, Any]) -> dict[str, Any]:
        del jp_server_config["TerminalsExtensionApp"]
        return jp_server_config

    async def test_a_server_without_ours_says_what_to_set(self, api: Any) -> None:
        loop = (await api("POST", "loops", send={"title": "a"})).body["id"]
        refused = await api("POST", "loops", loop, "terminals", send={})
        assert (refused.status, refused.body["reason"]) == (409, "conflict")
        assert "terminal_manager_class" in refused.body["message"]
