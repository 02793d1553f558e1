"""Commands in a loop, in tests that claim nothing of how they start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.execution import start_detached
from loopat_jupyter.sandbox.process import Stem

if TYPE_CHECKING:
    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord


async def said(manager: LoopManager, record: LoopRecord, *argv: str) -> str:
    """What a command writes, complaints last; the loop is started if need be."""
    answer = await manager.inside(record, await manager.use(record))(argv, timeout_s=120)
    return (answer.stdout + answer.stderr).decode()


async def occupy(manager: LoopManager, record: LoopRecord, *argv: str) -> None:
    """Let something run in a loop: by default, what does nothing."""
    running = await manager.use(record)
    stem = Stem.new(manager.workspace.run(record.id), "x")
    spec = ExecSpec(argv=argv or ("sleep", "600"), detach=True)
    started = await start_detached(manager.engine, running, stem, spec)
    assert started.process is not None
    started.process.close()
