"""What runs inside can do anything to its runtime folder; the next start copes."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.sandbox.process import is_init

if TYPE_CHECKING:
    from loopat_jupyter.loops import LoopManager

pytestmark = pytest.mark.podman


async def inside(manager: LoopManager, name: str, command: str) -> None:
    await manager.engine.run("exec", name, "bash", "-c", command)


@pytest.mark.parametrize(
    "mischief",
    [
        "chmod 000 /loopat/run",
        "sudo chown root:root /loopat/run && sudo chmod 700 /loopat/run",
        "sudo mkdir -p /loopat/run/a/b && sudo chmod 000 /loopat/run/a",
    ],
)
async def test_a_locked_runtime_folder_does_not_keep_a_loop_from_starting(manager: LoopManager, mischief: str) -> None:
    record = manager.create(title="locked")
    running = await manager.start(record)
    await inside(manager, running.name, mischief)
    await manager.stop(record)
    again = await manager.start(record)
    await inside(manager, again.name, "touch /loopat/run/mine")
    assert [entry.name for entry in manager.workspace.run(record.id).iterdir()] == ["mine"]
    fresh = await manager.start(record, fresh=True)
    await inside(manager, fresh.name, "touch /loopat/run/mine")
    await manager.delete(record.id)
    assert not manager.workspace.loop(record.id).exists()
    assert not manager.workspace.run(record.id).exists()


async def test_a_running_sandbox_notices_that_its_runtime_folder_was_wiped(manager: LoopManager) -> None:
    record = manager.create(title="wiped")
    running = await manager.start(record)
    assert manager.sandboxes.known(record) is not None
    shutil.rmtree(manager.workspace.run(record.id))
    assert manager.sandboxes.known(record) is None
    again = await manager.start(record)
    assert is_init(again.init_pid)
    assert again.init_pid != running.init_pid
    await inside(manager, again.name, "touch /loopat/run/mine")
    assert (manager.workspace.run(record.id) / "mine").exists()


async def test_folders_nested_deeper_than_python_goes_are_deleted(manager: LoopManager) -> None:
    record = manager.create(title="deep")
    running = await manager.start(record)
    await inside(manager, running.name, 'python3 -c \'import os\nfor _ in range(1500): os.mkdir("d"); os.chdir("d")\'')
    await manager.delete(record.id)
    assert not manager.workspace.loop(record.id).exists()
