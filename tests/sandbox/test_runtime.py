"""What runs inside can do anything to its runtime folder; the next start copes."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.loops import LoopManager
from loopat_jupyter.sandbox.entrance import ENTRANCE
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.sandbox.process import is_init
from tests.conftest import add_loop, start_emptied
from tests.sandbox.saying import said

if TYPE_CHECKING:
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.workspace.paths import Workspace

pytestmark = [pytest.mark.podman, pytest.mark.lonely]


@pytest.fixture(scope="module")
def workspace(workspace_of_module: Workspace) -> Workspace:
    return workspace_of_module


@pytest.fixture(scope="module")
def shared(workspace: Workspace) -> LoopRecord:
    """A loop whose runtime folder tests may spoil: `running` mends it."""
    return add_loop(workspace, "shared")


@pytest.fixture
async def running(manager: LoopManager, shared: LoopRecord) -> Running:
    """The sandbox of the shared loop; nothing runs or lies in it, whatever the test before it left."""
    return await start_emptied(manager, shared)


async def inside(manager: LoopManager, name: str, command: str) -> None:
    await manager.engine.run("exec", name, "bash", "-c", command)


LOCKED = "sudo chown root:root /loopat/run && sudo chmod 700 /loopat/run"


@pytest.mark.parametrize(
    "mischief", ["chmod 000 /loopat/run", LOCKED, "sudo mkdir -p /loopat/run/a/b && sudo chmod 000 /loopat/run/a"]
)
async def test_a_locked_runtime_folder_does_not_keep_a_loop_from_starting(
    manager: LoopManager, shared: LoopRecord, running: Running, mischief: str
) -> None:
    await inside(manager, running.name, mischief)
    await manager.stop(shared)
    await manager.start(shared)
    await said(manager, shared, "touch", "/loopat/run/mine")
    assert {entry.name for entry in manager.workspace.run(shared.id).iterdir()} == {"mine", ENTRANCE}


async def test_a_locked_runtime_folder_does_not_keep_a_loop_from_being_made_anew(
    manager: LoopManager, shared: LoopRecord, running: Running
) -> None:
    await inside(manager, running.name, LOCKED)
    await manager.start(shared, fresh=True)
    await said(manager, shared, "touch", "/loopat/run/mine")
    assert (manager.workspace.run(shared.id) / "mine").exists()


async def test_a_running_sandbox_notices_that_its_runtime_folder_was_wiped(
    manager: LoopManager, shared: LoopRecord, running: Running
) -> None:
    assert manager.sandboxes.known(shared) is not None
    shutil.rmtree(manager.workspace.run(shared.id))
    assert manager.sandboxes.known(shared) is None
    again = await manager.start(shared)
    assert is_init(again.init_pid)
    assert again.init_pid != running.init_pid
    await said(manager, shared, "touch", "/loopat/run/mine")
    assert (manager.workspace.run(shared.id) / "mine").exists()


async def test_folders_nested_deeper_than_python_goes_are_deleted(manager: LoopManager) -> None:
    record = manager.create(title="deep")
    nest = "import os\nfor _ in range(1500): os.mkdir('d'); os.chdir('d')"
    assert await said(manager, record, "python3", "-c", f"open('/loopat/run/mine', 'x')\n{nest}") == ""
    await manager.delete(record.id)
    assert not manager.workspace.loop(record.id).exists()
    assert not manager.workspace.run(record.id).exists()


async def test_a_runtime_folder_locked_under_a_running_sandbox_is_opened_again(
    manager: LoopManager, shared: LoopRecord, running: Running
) -> None:
    await inside(manager, running.name, "chmod 000 /loopat/run")
    assert manager.sandboxes.known(shared) is None
    again = await manager.use(shared)
    assert again.init_pid == running.init_pid
    await said(manager, shared, "touch", "/loopat/run/mine")
    assert (manager.workspace.run(shared.id) / "mine").exists()


async def test_a_paused_sandbox_is_left_alone(manager: LoopManager, shared: LoopRecord, running: Running) -> None:
    # Rootless podman pauses with cgroups only, which not every machine gives it.
    facts = msgspec.structs.replace(
        (await manager.sandboxes.containers())[shared.id], running=False, alive=False, paused=True
    )
    status = manager.sandboxes.judge(shared, facts, None)
    assert (status.state, "podman unpause" in status.warnings[0]) == ("error", True)


async def test_a_proxy_of_the_host_reaches_processes_and_no_container(
    manager: LoopManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "http://user:canary@127.0.0.1:9"
    engine = Podman("podman", {**os.environ, "HTTPS_PROXY": secret})
    behind = LoopManager(manager.workspace, manager.config, engine, member="ada")
    record = behind.create(title="proxy")
    running = await behind.start(record)
    assert await said(behind, record, "printenv", "HTTPS_PROXY") == secret + "\n"
    assert b"canary" not in (await engine.run("inspect", running.name)).stdout
