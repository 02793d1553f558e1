"""Commands in a loop whose start is no claim: its main process starts them, at a fifth of the work of `podman exec`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.execution import start_detached
from loopat_jupyter.sandbox.process import Stem

if TYPE_CHECKING:
    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord


async def said(manager: LoopManager, record: LoopRecord, *argv: str) -> str:
    """What a command writes, complaints included, once it has ended; the loop is started if need be."""
    running = await manager.use(record)
    stem = Stem.new(manager.workspace.run(record.id), "x")
    started = await start_detached(manager.engine, running, stem, ExecSpec(argv=argv, detach=True))
    if started.process is not None:
        await started.process.wait()
        started.process.close()
    text = stem.log_tail()
    stem.remove()
    return text


async def occupy(manager: LoopManager, record: LoopRecord, *argv: str) -> None:
    """Let something run in a loop: by default, what does nothing."""
    running = await manager.use(record)
    stem = Stem.new(manager.workspace.run(record.id), "x")
    spec = ExecSpec(argv=argv or ("sleep", "600"), detach=True)
    started = await start_detached(manager.engine, running, stem, spec)
    assert started.process is not None
    started.process.close()
