"""What runs in a real sandbox, and what it takes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.models import ExecSpec, InUse, Usage
from loopat_jupyter.sandbox.execution import start_detached
from loopat_jupyter.sandbox.process import Stem
from loopat_jupyter.sandbox.usage import in_use, in_words, usage
from tests.conftest import add_loop, start_emptied
from tests.sandbox.saying import occupy

if TYPE_CHECKING:
    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.workspace.paths import Workspace

pytestmark = [pytest.mark.podman, pytest.mark.lonely]

BUSY = "x = bytearray(64 * 1024 * 1024)\nwhile True: pass"


@pytest.fixture(scope="module")
def workspace(workspace_of_module: Workspace) -> Workspace:
    return workspace_of_module


@pytest.fixture(scope="module")
def record(workspace: Workspace) -> LoopRecord:
    """The loop that is busy in both tests."""
    return add_loop(workspace, "busy")


@pytest.fixture
async def running(manager: LoopManager, record: LoopRecord) -> Running:
    return await start_emptied(manager, record)


@pytest.mark.parametrize(
    ("used", "words"),
    [
        (InUse(), ""),
        (InUse(kernels=2), "2 kernels"),
        (InUse(kernels=1, commands=2), "1 kernel and 2 commands"),
        (InUse(kernels=1, terminals=1, commands=1), "1 kernel, 1 terminal and 1 command"),
    ],
)
def test_what_runs_is_told_by_kind(used: InUse, words: str) -> None:
    assert in_words(used) == words


async def test_what_was_started_is_counted_by_kind(manager: LoopManager, record: LoopRecord, running: Running) -> None:
    idle = manager.create(title="idle")
    other = await manager.start(idle)
    folder = manager.workspace.run(record.id)
    started = []
    for kind in ("k", "t", "x"):
        spec = ExecSpec(argv=("sleep", "600"), detach=True)
        started.append(await start_detached(manager.engine, running, Stem.new(folder, kind), spec))
    # Somebody else's way in has no stem.
    await manager.engine.run("exec", "--detach", running.name, "sleep", "600")
    wanted = InUse(kernels=1, terminals=1, commands=2)
    folders = {running.init_pid: folder, other.init_pid: manager.workspace.run(idle.id)}
    while in_use(folders) != {running.init_pid: wanted}:
        await asyncio.sleep(0.01)
    assert (await manager.get(record.id)).in_use == wanted
    listed = {loop.id: loop.in_use for loop in (await manager.page()).loops}
    assert listed == {record.id: wanted, idle.id: InUse()}
    for each in started:
        each.process.close()


async def test_load_and_memory_are_those_of_the_processes(
    manager: LoopManager, record: LoopRecord, running: Running
) -> None:
    before = usage(running.init_pid)
    assert before.processes == 2
    await occupy(manager, record, "python3", "-c", BUSY)
    while True:
        now = usage(running.init_pid)
        if now.cpu_s - before.cpu_s > 0.2 and now.memory_bytes - before.memory_bytes > 64 * 1024 * 1024:
            break
        await asyncio.sleep(0.01)
    assert now.processes == 3
    await manager.stop(record)
    assert usage(running.init_pid) == Usage(cpu_s=0, memory_bytes=0, processes=0)
    assert manager.sandboxes.usage(record.id) is None
