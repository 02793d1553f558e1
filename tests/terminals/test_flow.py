"""What is written faster than it is read: memory stays bounded, and others are not held up."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil
import pytest
import pytest_asyncio

from loopat_jupyter.sandbox.usage import usage
from loopat_jupyter.terminals.flow import SCROLLBACK_CHARACTERS, Feed, Scrollback
from tests.jupyter_process import TOKEN, Server, jupyter_server
from tests.terminals.test_keeping import open_terminal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace

pytestmark = pytest.mark.lonely


BOUND_BYTES = 64 * 1024 * 1024


def test_a_scrollback_keeps_what_was_written_last_and_the_modes_before_it():
    scrollback = Scrollback()
    assert list(scrollback.copy()) == []
    scrollback.append("\x1b[?1049;1002h\x1b[?25l")
    for number in range(20):
        scrollback.append(f"{number}".ljust(SCROLLBACK_CHARACTERS // 10))
    seen = "".join(scrollback.copy())
    assert seen.startswith("\x1bc\x1b[?1049h\x1b[?1002h\x1b[?25l")
    assert "19 " in seen
    assert SCROLLBACK_CHARACTERS <= len(seen) < SCROLLBACK_CHARACTERS * 1.2


def test_a_mode_that_is_cut_in_two_is_followed():
    scrollback = Scrollback()
    for text in ("x\x1b[?10", "49h", *("y" * SCROLLBACK_CHARACTERS for _ in range(2))):
        scrollback.append(text)
    assert "".join(scrollback.copy()).startswith("\x1bc\x1b[?1049h")


def test_what_was_asked_is_not_asked_again():
    scrollback = Scrollback()
    scrollback.append("a\x1b[cb\x1b[>0cd\x1b[6ne\x1b]11;?\x07f\x1b[?2026$pg\x1b[1mh")
    assert "".join(scrollback.copy()) == "\x1bcabdefg\x1b[1mh"


async def test_a_feed_waits_for_the_other_end():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        feed, sent = Feed(ours.fileno()), os.urandom(3_000_000)
        feed.put(sent)
        waiting, got = asyncio.ensure_future(feed.room()), b""
        await asyncio.sleep(0)
        assert not waiting.done()
        while len(got) < len(sent):
            got += await asyncio.get_running_loop().sock_recv(theirs, 65_536)
        assert got == sent
        await waiting
        feed.put(sent)
        waiting = asyncio.ensure_future(feed.room())
        feed.close()
        await waiting


class Idler:
    """A client that opens a websocket and then reads nothing."""

    def __init__(self, server: Server, name: str) -> None:
        address = urlsplit(server.url)
        self.connection = socket.socket()
        # Little waits on its way, so that a few megabytes show that it reads nothing.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.connection.connect((address.hostname, address.port))
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {address.path}terminals/websocket/{name}?token={TOKEN} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n"
        )
        self.connection.sendall(request.encode())

    async def gone(self) -> None:
        """Return when the server has let go: whatever it sent before is read, and then nothing comes."""
        self.connection.setblocking(False)
        with contextlib.suppress(ConnectionResetError):
            while await asyncio.get_running_loop().sock_recv(self.connection, 1_000_000):
                pass


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(
    workspace: Workspace, sandbox_image: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    environ = {"LOOPAT_HOME": str(workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}
    async with jupyter_server(tmp_path_factory.mktemp("server"), workspace.home, environ) as server:
        yield server


@pytest_asyncio.fixture
async def server(shared_server: Server) -> AsyncIterator[Server]:
    """The server of the module, whose terminals are closed after the test."""
    yield shared_server
    for model in (await shared_server.api("GET", "api/terminals")).body:
        await shared_server.api("DELETE", f"api/terminals/{model['name']}")


def folders(manager: LoopManager, running: LoopRecord, tmp_path: Path) -> dict[str, Path]:
    return {"in a loop": manager.workspace.workdir(running.id), "on the host": tmp_path}


def memory_bytes(server: Server, manager: LoopManager, running: LoopRecord) -> tuple[int, int]:
    """What either end takes: the server outside; holders and programs inside."""
    stamp = manager.sandboxes.state_files(running.id).running()
    return psutil.Process(server.process.pid).memory_info().rss, usage(stamp.pid).memory_bytes


def bounded(before: tuple[int, int], now: tuple[int, int]) -> bool:
    return all(later - earlier < BOUND_BYTES for earlier, later in zip(before, now, strict=True))


@pytest.mark.fault("F16")
@pytest.mark.podman
@pytest.mark.parametrize("where", ["in a loop", "on the host"])
async def test_output_that_a_client_does_not_read_fills_no_memory(
    server: Server, manager: LoopManager, running: LoopRecord, tmp_path: Path, where: str
):
    folder = folders(manager, running, tmp_path)[where]
    name, other = await open_terminal(server, folder), await open_terminal(server, folder)
    async with server.terminal(name) as terminal, server.terminal(other) as lively:
        await terminal.run("true")
        await lively.run("true")
        before = memory_bytes(server, manager, running)
        idler = Idler(server, name)
        terminal.type("yes\r")
        # As long as it flows, the reader gets it; then it waits for the idler, and the idler's memory is bounded.
        await flood(terminal)
        for _ in range(10):
            await lively.run("true")
        assert bounded(before, memory_bytes(server, manager, running))
        # Whoever leaves is not waited for.
        idler.connection.close()
        terminal.type("\x03")
        await drained(terminal)


async def flood(terminal: Any) -> int:
    """Read until nothing has come for a second; how much came."""
    total = 0
    with contextlib.suppress(TimeoutError):
        while (text := await asyncio.wait_for(terminal._connection.read_message(), 1)) is not None:
            total += len(text)
    return total


async def drained(terminal: Any) -> None:
    """Read on until a fresh prompt answers."""
    terminal.type("echo all''gone\r")
    await drained_of(terminal, "allgone")


@pytest.mark.fault("F17")
@pytest.mark.podman
@pytest.mark.parametrize("where", ["in a loop", "on the host"])
async def test_keys_that_a_program_does_not_read_hold_up_nobody(
    server: Server, manager: LoopManager, running: LoopRecord, tmp_path: Path, where: str
):
    folder = folders(manager, running, tmp_path)[where]
    name, other = await open_terminal(server, folder), await open_terminal(server, folder)
    async with server.terminal(name) as terminal, server.terminal(other) as lively:
        await lively.run("true")
        terminal.type("stty raw -echo; echo rea''dy; sleep 1000\r")
        await terminal.until("ready")
        before = memory_bytes(server, manager, running)
        for _ in range(10):
            terminal.type("x" * 1_000_000)
        for _ in range(10):
            await lively.run("true")
        assert bounded(before, memory_bytes(server, manager, running))
        assert (await server.api("DELETE", f"api/terminals/{name}")).status == 204


@pytest.mark.podman
async def test_a_program_gets_all_of_a_long_paste_while_it_answers(
    server: Server, manager: LoopManager, running: LoopRecord
):
    name = await open_terminal(server, manager.workspace.workdir(running.id))
    async with server.terminal(name) as terminal:
        terminal.type("stty raw -echo; echo rea''dy; head -c 3000000 | tee /dev/tty | md5sum\r")
        await terminal.until("ready")
        terminal.type("x" * 3_000_000)
        assert "x" * 3_000_000 in await terminal.until("  -")


class TestImpatient:
    @pytest_asyncio.fixture
    async def server(
        self, manager: LoopManager, running: LoopRecord, sandbox_image: str, tmp_path: Path
    ) -> AsyncIterator[Server]:
        """A server that waits for nobody."""
        environ = {"LOOPAT_HOME": str(manager.workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}
        option = "--LoopTerminalManager.patience_s=0.2"
        async with jupyter_server(tmp_path, manager.workspace.home, environ, option) as server:
            yield server

    @pytest.mark.podman
    async def test_a_client_that_reads_nothing_is_let_go(
        self, server: Server, manager: LoopManager, running: LoopRecord
    ):
        name = await open_terminal(server, manager.workspace.workdir(running.id))
        async with server.terminal(name) as terminal:
            await terminal.run("true")
            idler = Idler(server, name)
            terminal.type("yes | head -c 3000000; echo do''ne\r")
            # The other client gets all of it, although the idler took nothing.
            await drained_of(terminal, "done")
            await asyncio.wait_for(idler.gone(), 60)
            idler.connection.close()


async def drained_of(terminal: Any, marker: str) -> None:
    tail = ""
    async with asyncio.timeout(100):
        while marker not in tail:
            kind, *rest = json.loads(await terminal._connection.read_message())
            tail = tail[-20:] + (rest[0] if kind == "stdout" else "")
