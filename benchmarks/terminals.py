"""Terminals: from the order to the first prompt."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from terminado.management import PtyWithClients

from benchmarks.report import Row
from benchmarks.scene import timed
from loopat_jupyter.terminals import LoopTerminalManager

if TYPE_CHECKING:
    from benchmarks.scene import Scene

PROMPT = b"$ "
TIMEOUT_S = 30


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
            terminal = manager.new_terminal(cwd=workdir)
            await asyncio.to_thread(read_prompt, terminal.ptyproc.fd)
        await terminal.terminate(force=True)
    return Row("terminal to first prompt", "`podman exec -it … bash`", floor, ours, "ms", "≤ 1.2")


def read_prompt(descriptor: int) -> None:
    """Read until the prompt stands there."""
    seen = b""
    while PROMPT not in seen:
        seen += os.read(descriptor, 4096)
