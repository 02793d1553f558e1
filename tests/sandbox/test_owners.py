"""Commands whose callers were killed, in a real sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.entrance import ENTRANCE
from loopat_jupyter.sandbox.execution import run_inherited
from loopat_jupyter.sandbox.owners import end_orphans, owned
from loopat_jupyter.sandbox.process import Stem, exec_roots
from tests.conftest import add_loop
from tests.jupyter_process import jupyter_server

if TYPE_CHECKING:
    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace

pytestmark = pytest.mark.lonely


SLEEPER = ["bash", "-c", "sleep 1000 & sleep 1000; exit"]
STUBBORN = ["bash", "-c", "trap '' TERM; sleep 1000 & sleep 1000; exit"]
COMMAND = Path(sys.executable).with_name("jupyter-loopat")


@pytest.fixture(scope="module")
def workspace(workspace_of_module: Workspace) -> Workspace:
    return workspace_of_module


@pytest.fixture(scope="module")
def shared_loop(workspace: Workspace) -> LoopRecord:
    """A loop that both leave as they found it."""
    return add_loop(workspace, "A loop")


@pytest.fixture
async def record(manager: LoopManager, shared_loop: LoopRecord) -> LoopRecord:
    await manager.use(shared_loop)
    return shared_loop


def environ(manager: LoopManager, sandbox_image: str) -> dict[str, str]:
    return {"LOOPAT_HOME": str(manager.workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}


def init_of(manager: LoopManager, record: LoopRecord) -> int:
    return manager.sandboxes.state_files(record.id).running().pid


def sleepers(manager: LoopManager, record: LoopRecord) -> list[int]:
    """What the command started, by its ids on the host."""
    found = []
    for root in exec_roots(init_of(manager, record)):
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(root).children(recursive=True)
            found += [child.pid for child in children if child.name() == "sleep"]
    return found


async def until(holds) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)


def ended(pids: list[int]) -> bool:
    return not any(map(lives, pids))


def lives(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != "zombie"
    return False


async def killed_caller(manager: LoopManager, record: LoopRecord, sandbox_image: str) -> list[int]:
    """Run a command on the command line and kill that; what is left inside."""
    caller = await asyncio.create_subprocess_exec(
        *(COMMAND, "exec", record.id, "--", *STUBBORN),
        env={**os.environ, **environ(manager, sandbox_image)}, stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    await until(lambda: len(sleepers(manager, record)) == 2)
    left = [*exec_roots(init_of(manager, record)), *sleepers(manager, record)]
    caller.kill()
    await caller.wait()
    return left


@pytest.mark.fault("F3")
@pytest.mark.podman
async def test_the_next_command_ends_what_a_killed_one_left(
    manager: LoopManager, record: LoopRecord, sandbox_image: str
):
    left = await killed_caller(manager, record, sandbox_image)
    assert not ended(left)
    running, run_folder = await manager.use(record), manager.workspace.run(record.id)
    assert await run_inherited(manager.engine, running, run_folder, ExecSpec(argv=("true",))) == 0
    await until(lambda: ended(left))
    assert [path.name for path in manager.workspace.run(record.id).iterdir()] == [ENTRANCE]
    await until(lambda: exec_roots(init_of(manager, record)) == [])


@pytest.mark.fault("F3")
@pytest.mark.podman
async def test_a_server_ends_what_a_killed_server_left(
    manager: LoopManager, record: LoopRecord, sandbox_image: str, tmp_path: Path
):
    variables = environ(manager, sandbox_image)
    async with jupyter_server(tmp_path, manager.workspace.home, variables) as server:
        order = {"argv": SLEEPER}
        asked = asyncio.ensure_future(server.api("POST", f"loopat/api/loops/{record.id}/exec", order))
        await until(lambda: len(sleepers(manager, record)) == 2)
        left = [*exec_roots(init_of(manager, record)), *sleepers(manager, record)]
        server.process.kill()
        await server.process.wait()
        await asyncio.wait([asked])
        asked.exception()
    async with jupyter_server(tmp_path, manager.workspace.home, variables):
        await until(lambda: ended(left))


async def test_what_belongs_to_a_living_process_is_left_alone(tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir()
    with owned(Stem(run, "x1")):
        assert [path.name for path in (tmp_path / "host" / "owners").iterdir()] == ["x1"]
        assert await end_orphans(run, 0) == []
    assert list((tmp_path / "host" / "owners").iterdir()) == []
    assert await end_orphans(tmp_path / "nowhere" / "run", 0) == []
