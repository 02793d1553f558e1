"""Terminals of loops outlive the Jupyter server, started as people start it: killed, or ended as it should be."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from loopat_jupyter.errors import EngineError
from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.lifecycle import Running
from loopat_jupyter.sandbox.owners import own
from loopat_jupyter.sandbox.process import Stem, exec_roots
from loopat_jupyter.sandbox.sockets import connect
from loopat_jupyter.sandbox.usage import in_use
from loopat_jupyter.terminals.keeping import TerminalKeeper
from loopat_jupyter.terminals.opening import _started
from loopat_jupyter.workspace.kept import Kept, folder
from tests.conftest import exec_ids
from tests.fakes import FakeEngine
from tests.jupyter_process import Server, jupyter_server
from tests.terminals.conftest import commands
from tests.terminals.test_manager import files_of_terminals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.podman import Completed

pytestmark = [pytest.mark.podman, pytest.mark.lonely]


@pytest.fixture
def start_server(manager: LoopManager, sandbox_image: str, tmp_path: Path) -> Callable[[], Any]:
    environ = {"LOOPAT_HOME": str(manager.workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}
    return lambda: jupyter_server(tmp_path, manager.workspace.home, environ)


async def open_terminal(server: Server, workdir: Path, **options: Any) -> str:
    answer = await server.api("POST", "api/terminals", {"cwd": str(workdir), **options})
    assert answer.status == 200, server.log.read_text()
    return answer.body["name"]


async def names(server: Server) -> list[str]:
    return [model["name"] for model in (await server.api("GET", "api/terminals")).body]


async def end(server: Server, signum: int) -> None:
    server.process.send_signal(signum)
    await server.process.wait()


@pytest.mark.fault("F1")
async def test_the_next_server_has_the_same_terminals(
    manager: LoopManager, running: LoopRecord, start_server: Callable[[], Any], tmp_path: Path
):
    workdir, init = manager.workspace.workdir(running.id), manager.sandboxes.state_files(running.id).running().pid
    (workdir / "text").write_text("".join(f"line {number}\n" for number in range(1000)))
    async with start_server() as server:
        name = await open_terminal(server, workdir)
        assert name == f"{running.id[:8]}_1"
        async with server.terminal(name) as terminal:
            terminal.resize(33, 101)
            await terminal.run("left=41; until [ \"$(stty size)\" = '33 101' ]; do :; done")
            terminal.type("(until [ -e go ]; do sleep 0.05; done; echo mean''while >/dev/tty; touch said)\r")
            await terminal.until("said)\r\n")
        whole = await open_terminal(server, workdir, shell_command=["vim", "-N", "-c", "set mouse=a", "text"])
        async with server.terminal(whole) as terminal:
            terminal.resize(24, 80)
            await terminal.until("line 5")
        lasting = exec_roots(init)
        by_loop = await server.api("POST", f"loopat/api/loops/{running.id}/terminals", {})
        assert by_loop.status == 201, by_loop.body
        ended = by_loop.body["name"]
        async with server.terminal(ended) as terminal:
            assert f"loop-{running.id[:8]}\r\n" in await terminal.run("hostname")
        await end(server, signal.SIGKILL)
    # With no server the programs go on, and their sandbox is in use.
    assert in_use({init: manager.workspace.run(running.id)})[init].terminals == 3
    (workdir / "go").touch()
    async with asyncio.timeout(60):
        while not (workdir / "said").exists():
            await asyncio.sleep(0.02)
    # One of them ends.
    for pid in set(exec_roots(init)) - set(lasting):
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        while set(exec_roots(init)) != set(lasting):
            await asyncio.sleep(0.02)
    async with start_server() as server:
        assert await names(server) == [name, whole]
        async with server.terminal(name) as terminal:
            assert "left=41" in await terminal.until("meanwhile\r\n")
            # Nobody has said a size here: it has stayed.
            assert "42 33 101\r\n" in await terminal.run("echo $((left + 1)) $(stty size)")
            # A name that is there is not opened twice.
            assert await open_terminal(server, workdir, name=name) == name
        assert await names(server) == [name, whole]
        async with server.terminal(whole) as terminal:
            # The modes are those of the program from the first byte on, and it draws for whoever comes.
            seen = await terminal.until("line 5")
            assert "\x1b[?1049h" in seen
            terminal.resize(24, 80)
            await terminal.until("line 5")
            terminal.type(":q\r")
            with contextlib.suppress(AssertionError):
                await terminal.until("never printed")
            async with asyncio.timeout(60):
                while await names(server) != [name]:
                    await asyncio.sleep(0.02)
        # What JupyterLab asks for when it restores the tab.
        assert await open_terminal(server, tmp_path, name=ended) == ended
        async with server.terminal(ended) as terminal:
            assert f"loop-{running.id[:8]}\r\n" in await terminal.run("hostname")
        # A server that ends as it should leaves them as well.
        await end(server, signal.SIGTERM)
        assert "2 terminals in loops go on" in server.log.read_text()
    async with start_server() as server:
        assert await names(server) == [name, ended]
        async with server.terminal(name) as terminal:
            assert "43\r\n" in await terminal.run("echo $((left + 2))")
        for each in (name, ended):
            assert (await server.api("DELETE", f"api/terminals/{each}")).status == 204
        assert await names(server) == []
    assert commands(manager, running) == []
    assert files_of_terminals(manager, running) == []
    assert list(folder(manager.workspace, running.id).iterdir()) == []
    assert await exec_ids(manager, running) == []


async def test_a_terminal_ends_with_its_server_until_it_is_written_down(tmp_path: Path):
    (tmp_path / "run").mkdir()
    stem, owner, seen = Stem(tmp_path / "run", "t1"), tmp_path / "host" / "owners" / "t1", []

    def answer(_: tuple[str, ...]) -> Completed:
        seen.append(owner.exists())
        raise EngineError("no")

    running, spec = Running("box", 1, "2", restart_needed=False), ExecSpec(argv=("true",))
    starting = _started(FakeEngine(answer), running, stem, spec, lambda: True)
    with pytest.raises(EngineError):
        await starting.__aenter__()
    assert (seen, owner.exists()) == ([True], False)

    workspace = SimpleNamespace(host=lambda _: tmp_path / "host")
    loops, other = SimpleNamespace(workspace=workspace), Kept("t")
    keeper = TerminalKeeper(lambda: loops, logging.getLogger)
    terminal = SimpleNamespace(held=True, term_name="x_1", loop_id="x", stem=stem, exec_session="")
    own(stem)
    # Another server has one of this name.
    assert other.keep(workspace, "x", "x_1", b"")
    keeper.started(terminal)
    assert owner.exists()
    other.let_go("x_1")
    keeper.started(terminal)
    assert not owner.exists()


@pytest.mark.fault("F19")
def test_a_link_in_the_place_of_a_socket_is_not_followed(tmp_path: Path):
    there, link = tmp_path / "there", tmp_path / "link"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(there))
        listener.listen()
        link.symlink_to(there)
        connection = connect(there)
        assert connection is not None
        connection.close()
        assert connect(link) is None
    assert connect(there) is None
    assert connect(tmp_path / "nothing") is None
    (tmp_path / "file").touch()
    assert connect(tmp_path / "file") is None
