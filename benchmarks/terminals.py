"""Terminals: from the order to the first prompt, and how much they carry."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from jupyter_server_terminals.terminalmanager import TerminalManager
from terminado.management import PtyWithClients

from benchmarks.report import Row
from benchmarks.scene import timed
from loopat_jupyter.terminals import LoopTerminalManager

if TYPE_CHECKING:
    from benchmarks.scene import Scene

PROMPT = b"$ "
TIMEOUT_S = 30
MEGABYTES = 20


class Viewer:
    """Who watches a terminal, without a websocket between."""

    size = (None, None)
    terminal = None

    def __init__(self, terminal: PtyWithClients) -> None:
        self._seen = ""
        self._came = asyncio.Event()
        terminal.clients.append(self)
        for text in terminal.read_buffer:
            self.on_pty_read(text)

    def on_pty_read(self, text: str) -> None:
        """Take what was written."""
        self._seen = self._seen[-100:] + text
        self._came.set()

    def on_pty_died(self) -> None:
        """The terminal ended."""

    async def until(self, marker: str) -> None:
        """Watch until something stands there."""
        async with asyncio.timeout(TIMEOUT_S):
            while marker not in self._seen:
                self._came.clear()
                await self._came.wait()
        self._seen = ""


async def first_prompt(scene: Scene, rounds: int) -> Row:
    """Raw `podman exec -it` against a terminal of the server, up to the first prompt."""
    floor: list[float] = []
    ours: list[float] = []
    manager = LoopTerminalManager(shell_command=["/bin/bash"])
    workdir = str(scene.manager.workspace.workdir(scene.record.id))
    raw = scene.manager.engine.argv("exec", "--interactive", "--tty", scene.running.name, "bash")
    for _ in range(rounds * 2):
        with timed(floor):
            terminal = PtyWithClients(list(raw), scene.manager.engine.environment())
            await asyncio.to_thread(read_prompt, terminal.ptyproc.fd)
        terminal.ptyproc.close(force=True)
        with timed(ours):
            name = manager.create(cwd=workdir)["name"]
            await Viewer(manager.terminals[name]).until(PROMPT.decode())
        await manager.terminate(name, force=True)
    return Row("terminal to first prompt", "`podman exec -it … bash`", floor, ours, "ms", "≤ 1.2")


async def throughput(scene: Scene, rounds: int) -> Row:
    """A stock terminal of the host against one in a loop, for the same output."""
    floor: list[float] = []
    ours: list[float] = []
    workdir = str(scene.manager.workspace.workdir(scene.record.id))
    managers = (
        (TerminalManager(shell_command=["/bin/bash"]), "/", floor),
        (LoopTerminalManager(shell_command=["/bin/bash"]), workdir, ours),
    )
    command = f"head -c {MEGABYTES}000000 /dev/zero | tr '\\0' x; echo; echo do''ne"
    for _ in range(rounds):
        for manager, cwd, samples in managers:
            name = manager.create(cwd=cwd)["name"]
            terminal = manager.terminals[name]
            viewer = Viewer(terminal)
            await viewer.until(PROMPT.decode())
            with timed(samples):
                terminal.ptyproc.write(f"{command}\n")
                await viewer.until("done\r\n")
            await manager.terminate(name, force=True)
    return Row(f"{MEGABYTES} MB through a terminal", "a stock terminal of the host", floor, ours, "ms", "≤ 1.1")


def read_prompt(descriptor: int) -> None:
    """Read until the prompt stands there."""
    seen = b""
    while PROMPT not in seen:
        seen += os.read(descriptor, 4096)
