"""A real Jupyter server with terminals in loops, and a person at its terminals.

The tests of a module share a workspace and a running loop: making these takes longer than most of what is tested.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import uuid
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import pytest_asyncio

from tests.conftest import add_loop, end_all, processes_inside
from tests.jupyter_process import Terminal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace

HOME = os.environ["HOME"]


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {
        "ServerApp": {"jpserver_extensions": {"jupyter_server_terminals": True, "loopat_jupyter": True}},
        "TerminalsExtensionApp": {"terminal_manager_class": "loopat_jupyter.terminals.LoopTerminalManager"},
    }


@pytest.fixture
def jp_environ(jp_environ: None, workspace: Workspace, sandbox_image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's environment names the test's workspace; podman's storage stays the user's."""
    monkeypatch.setenv("HOME", HOME)
    monkeypatch.setenv("LOOPAT_HOME", str(workspace.home))
    monkeypatch.setenv("LOOPAT_SANDBOX_IMAGE", sandbox_image)
    monkeypatch.setenv("CANARY", "of-the-server")


@pytest.fixture
def jp_root_dir(workspace: Workspace) -> Path:
    return workspace.home


@pytest.fixture(scope="module")
def workspace(workspace_of_module: Workspace) -> Workspace:
    return workspace_of_module


@pytest.fixture(scope="module")
def shared_loop(workspace: Workspace) -> LoopRecord:
    """The loop of the module; tests that need it running ask for `running`."""
    return add_loop(workspace, "Terminals")


@pytest.fixture
def record(manager: LoopManager) -> LoopRecord:
    """A loop of the test's own that was never started."""
    return manager.create(title="Never started")


@pytest_asyncio.fixture
async def running(manager: LoopManager, shared_loop: LoopRecord) -> LoopRecord:
    """The loop of the module, which runs; nothing runs or lies in it, whatever the test before it left."""
    await manager.use(shared_loop)
    end_all(manager, shared_loop)
    return shared_loop


def commands(manager: LoopManager, record: LoopRecord) -> list[str]:
    """Command lines of everything that runs in a loop's sandbox, without its init and main process."""
    found = []
    for process in processes_inside(manager, record):
        with contextlib.suppress(psutil.Error):
            found.append(" ".join(process.cmdline()))
    return sorted(found)


class Person:
    """Opens, watches and closes terminals over HTTP and websockets."""

    def __init__(self, fetch: Callable[..., Awaitable[Any]], ws_fetch: Callable[..., Awaitable[Any]]) -> None:
        self._fetch, self._ws_fetch = fetch, ws_fetch

    async def open(self, cwd: Path | None = None, **options: Any) -> str:
        body = {**({} if cwd is None else {"cwd": str(cwd)}), **options}
        answer = await self._fetch("api", "terminals", method="POST", body=json.dumps(body))
        return str(json.loads(answer.body)["name"])

    async def open_in_loop(self, loop_id: str, body: dict[str, Any]) -> str:
        route = ("loopat", "api", "loops", loop_id, "terminals")
        answer = await self._fetch(*route, method="POST", body=json.dumps(body))
        return str(json.loads(answer.body)["name"])

    async def close(self, name: str) -> None:
        await self._fetch("api", "terminals", name, method="DELETE")

    async def names(self) -> list[str]:
        return [model["name"] for model in json.loads((await self._fetch("api", "terminals")).body)]

    @contextlib.asynccontextmanager
    async def watch(self, name: str) -> AsyncIterator[Watched]:
        connection = await self._ws_fetch("terminals", "websocket", name)
        try:
            yield Watched(connection)
        finally:
            connection.close()
            while await connection.read_message() is not None:
                pass


class Watched(Terminal):
    """A terminal as one client sees it."""

    async def run(self, command: str) -> str:
        """Run a command and return exactly what it printed; what a shell says around it stays out."""
        start, end = uuid.uuid4().hex, uuid.uuid4().hex
        # The markers are split where they are typed, so that the echo of the command is no answer.
        split = "echo {0[0]}''{0[1]}".format
        self.type(f"{split((start[:9], start[9:]))}; {command}; {split((end[:9], end[9:]))}\r")
        await self.until(f"{start}\r\n")
        return await self.until(end)

    async def until_end(self) -> str:
        """What comes until the terminal ends."""
        while (text := await asyncio.wait_for(self._connection.read_message(), 120)) is not None:
            kind, *rest = json.loads(text)
            if kind == "disconnect":
                break
            if kind == "stdout":
                self.seen += rest[0]
        return self.seen


@pytest_asyncio.fixture
async def person(
    jp_serverapp: Any, jp_fetch: Callable[..., Awaitable[Any]], jp_ws_fetch: Callable[..., Awaitable[Any]]
) -> AsyncIterator[Person]:
    yield Person(jp_fetch, jp_ws_fetch)
    terminals = jp_serverapp.web_app.settings["terminal_manager"]
    # At its own end the server would leave those in loops to the next one.
    for name in list(terminals.terminals):
        await terminals.terminate(name, force=True)
    await terminals.terminate_all()
    await terminals.shutdown()
