from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import EngineTimeoutError
from loopat_jupyter.workspace.locks import file_lock, loop_lock, thread_lock

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

HOLDER = """
import asyncio, sys
from pathlib import Path
from loopat_jupyter.workspace.locks import file_lock

async def main():
    async with file_lock(Path(sys.argv[1]), timeout_s=5, what="x"):
        print("held", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_holders_exclude_each_other_within_one_process(tmp_path: Path):
    inside = 0
    most = 0

    async def hold() -> None:
        nonlocal inside, most
        async with file_lock(tmp_path / "a.lock", timeout_s=30, what="x"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(hold() for _ in range(20)))
    assert most == 1


async def test_a_lock_dies_with_its_holder(tmp_path: Path):
    lock = tmp_path / "a.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(EngineTimeoutError, match="busy with the oven"):
            async with file_lock(lock, timeout_s=0, what="the oven"):
                pass
        holder.send_signal(signal.SIGKILL)
        async with file_lock(lock, timeout_s=30, what="x"):
            pass


async def test_waiting_can_be_cancelled(tmp_path: Path):
    lock = tmp_path / "a.lock"
    async with file_lock(lock, timeout_s=5, what="x"):
        waiter = asyncio.create_task(file_lock(lock, timeout_s=60, what="x").__aenter__())
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
    async with file_lock(lock, timeout_s=5, what="x"):
        pass


async def test_a_planted_symlink_is_not_followed(tmp_path: Path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / "a.lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        async with file_lock(tmp_path / "a.lock", timeout_s=1, what="x"):
            pass


async def test_the_lock_of_a_loop_goes_with_it_and_still_excludes_who_waited_for_it(workspace: Workspace):
    loop, inside, most = workspace.loop("x"), 0, 0
    loop.mkdir()

    async def hold() -> None:
        nonlocal inside, most
        async with loop_lock(workspace, "x", timeout_s=30):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await hold()
    assert [path.name for path in workspace.locks.iterdir()] == ["x.lock"]
    loop.rmdir()
    await asyncio.gather(*(hold() for _ in range(30)))
    assert most == 1
    assert list(workspace.locks.iterdir()) == []


async def test_a_thread_waits_for_the_same_lock(tmp_path: Path):
    path = tmp_path / "a.lock"

    def hold() -> str:
        with thread_lock(path, timeout_s=30, what="x"):
            return "held"

    async with file_lock(path, timeout_s=1, what="x"):
        with pytest.raises(EngineTimeoutError, match="busy with x"), thread_lock(path, timeout_s=0, what="x"):
            pass
        waiting = asyncio.create_task(asyncio.to_thread(hold))
    assert await waiting == "held"
