"""What runs in a sandbox right now, in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loopat_jupyter.sandbox.process import exec_roots
from loopat_jupyter.sandbox.trees import descendants

if TYPE_CHECKING:
    from loopat_jupyter.loops import LoopManager


async def inside_now(manager: LoopManager, loop_id: str) -> list[str]:
    """Names of the kernels, terminals and commands that somebody started in a loop and that still run.

    Asks podman and not the runtime notes: before something is deleted or ended, a wiped note must not hide it.

    Args:
        manager: Knows the sandboxes.
        loop_id: The loop.

    Raises:
        EngineError: Podman refused.
        EngineUnavailableError: There is no usable podman.
    """
    facts = (await manager.sandboxes.containers()).get(loop_id)
    return [_program(pid) for pid in exec_roots(facts.pid)] if facts and facts.alive else []


def _program(pid: int) -> str:
    name = _name(pid)
    if not name.startswith("attach-"):
        return name
    # That only waits for what a person started.
    return next(map(_name, descendants(pid)), name)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a process"
