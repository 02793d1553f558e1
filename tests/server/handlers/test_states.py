"""Start, stop and recreate over REST, on real podman, with the event stream as a client sees it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from loopat_jupyter.sandbox.state import StateFiles
from loopat_jupyter.sandbox.trees import descendants
from loopat_jupyter.server.handlers import states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from loopat_jupyter.sandbox.lifecycle import Sandboxes
    from loopat_jupyter.workspace.paths import Workspace

pytestmark = pytest.mark.lonely

SLOW = {"request_timeout": 100}


@pytest.fixture(scope="module")
def workspace(workspace_of_module: Workspace) -> Workspace:
    """The tests share it; there is no loop in it between them."""
    return workspace_of_module


@pytest.fixture
async def loop(real_image: str, api: Any) -> AsyncIterator[str]:
    made = (await api("POST", "loops", send={"title": "states"})).body["id"]
    yield made
    await api("DELETE", "loops", made, params={"force": "true"}, **SLOW)


async def until(next_event: Callable[[], Awaitable[dict[str, Any]]], **wanted: Any) -> dict[str, Any]:
    """Events up to one that has these values."""
    while True:
        event = await next_event()
        if wanted.items() <= event.items():
            return event


def command_line(pid: int) -> bytes:
    """What a process was started with; nothing for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.mark.podman
class TestStates:
    async def test_start_stop_start_change_recreate_delete_waited_for_or_not(
        self, api: Any, loop: str, next_event: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started = await api("POST", "loops", loop, "start", **SLOW)
        assert (started.status, started.body["state"]) == (200, "running")
        first = await next_event()
        assert first["action"] == "progress"
        assert first["state"] == "preparing"
        assert first["progress"]["label"]
        assert await until(next_event, action="state") == {"action": "state", "loop_id": loop, "state": "running"}
        stopped = await api("POST", "loops", loop, "stop", **SLOW)
        assert (stopped.status, stopped.body["state"]) == (200, "stopped")
        assert await next_event() == {"action": "state", "loop_id": loop, "state": "stopped"}
        # Who does not wait gets 202 and events, or 200 when there is nothing to wait for.
        monkeypatch.setattr(states, "AT_ONCE_S", 0)
        begun = await api("POST", "loops", loop, "start", params={"wait": "false"})
        assert (begun.status, begun.body["state"]) == (202, "preparing")
        assert begun.body["progress"]["label"]
        await until(next_event, action="state", loop_id=loop, state="running")
        assert (await api("GET", "loops", loop)).body["state"] == "running"
        monkeypatch.setattr(states, "AT_ONCE_S", 60)
        again = await api("POST", "loops", loop, "start", params={"wait": "false"}, **SLOW)
        assert (again.status, again.body["state"]) == (200, "running")
        mark = {"argv": ["sh", "-c", "! touch /marker && sudo touch /marker"]}
        marked = await api("POST", "loops", loop, "exec", send=mark, **SLOW)
        assert marked.body[-1] == {"exit_code": 0}
        changed = await api("PATCH", "loops", loop, send={"config": {"isolation": "strict"}})
        assert (changed.body["state"], changed.body["restart_needed"]) == ("running", True)
        recreated = await api("POST", "loops", loop, "recreate", **SLOW)
        assert (recreated.status, recreated.body["state"]) == (200, "running")
        assert not recreated.body["restart_needed"]
        looked = await api("POST", "loops", loop, "exec", send={"argv": ["test", "-e", "/marker"]}, **SLOW)
        assert looked.body[-1] == {"exit_code": 1}
        monkeypatch.setattr(states, "AT_ONCE_S", 0)
        begun = await api("POST", "loops", loop, "stop", params={"wait": "false"})
        assert begun.status == 202
        await until(next_event, action="state", loop_id=loop, state="stopped")
        assert (await api("DELETE", "loops", loop, **SLOW)).status == 204
        assert await until(next_event, action="deleted") == {"action": "deleted", "loop_id": loop}

    async def test_what_fails_in_the_background_is_told(
        self, api: Any, loop: str, next_event: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(states, "AT_ONCE_S", 0)
        await api("PATCH", "loops", loop, send={"image": "localhost/no-such-image:1"})
        begun = await api("POST", "loops", loop, "start", params={"wait": "false"})
        assert begun.status == 202
        failed = await until(next_event, action="failed", loop_id=loop)
        assert "no-such-image" in failed["message"]
        refused = await api("POST", "loops", loop, "start", **SLOW)
        assert (refused.status, refused.body["reason"]) == (500, "build_failed")
        assert f"set {loop[:8]} --image" in refused.body["message"]
        shown = await api("GET", "loops", loop)
        assert (shown.body["build_failed"], shown.body["warnings"]) == (True, [refused.body["message"]])
        log = await api("GET", "loops", loop, "build-log")
        assert log.body.decode().endswith(f"{refused.body['message']}\n")

    async def test_delete_asks_before_it_ends_somebody_s_work(self, api: Any, loop: str, workspace: Workspace) -> None:
        working = asyncio.ensure_future(
            api("POST", "loops", loop, "exec", send={"argv": ["sleep", "1000"]}, request_timeout=200)
        )
        async with asyncio.timeout(60):
            # Looking for kernels is a command too; what counts here is the one that stays.
            while not (
                (stamp := StateFiles(workspace.host(loop)).running())
                and any(b"1000" in command_line(pid) for pid in descendants(stamp.pid))
            ):
                await asyncio.sleep(0.1)
        refused = await api("DELETE", "loops", loop)
        assert (refused.status, refused.body["reason"]) == (409, "conflict")
        assert "force" in refused.body["message"]
        assert (await api("GET", "loops", loop)).body["state"] == "running"
        assert (await api("DELETE", "loops", loop, params={"end": "true"}, **SLOW)).status == 204
        ended = await working
        assert ended.status == 200
        assert "exit_code" in ended.body[-1] or ended.body[-1]["error"]["code"] in (404, 500)

    async def test_start_stop_and_delete_at_once_have_some_order(
        self, api: Any, loop: str, workspace: Workspace, jp_serverapp: Any
    ) -> None:
        answers = await asyncio.gather(
            api("POST", "loops", loop, "start", **SLOW),
            api("POST", "loops", loop, "stop", **SLOW),
            api("POST", "loops", loop, "exec", send={"argv": ["true"]}, **SLOW),
            api("DELETE", "loops", loop, params={"force": "true"}, **SLOW),
            api("POST", "loops", loop, "start", **SLOW),
            api("POST", "loops", loop, "recreate", **SLOW),
        )
        assert {answer.status for answer in answers} <= {200, 204, 404}, answers
        assert answers[3].status == 204
        sandboxes: Sandboxes = jp_serverapp.web_app.settings["loopat_service"].manager.sandboxes
        assert await sandboxes.containers() == {}
        assert not workspace.loop(loop).exists()


async def test_bad_parameters_are_named(api: Any) -> None:
    loop = (await api("POST", "loops", send={"title": "a"})).body["id"]
    for verb in ("start", "stop", "recreate"):
        for wait in ("maybe", "", "2"):
            refused = await api("POST", "loops", loop, verb, params={"wait": wait})
            assert (refused.status, refused.body.get("field")) == (400, "wait"), (verb, wait)
