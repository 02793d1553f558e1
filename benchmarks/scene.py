"""A workspace of its own with one running loop, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.loops import LoopManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.lifecycle import Running


class Scene(NamedTuple):
    """What benchmarks work on.

    Attributes:
        manager: Loops of a temporary workspace.
        record: A loop that runs.
        running: Its sandbox.
        outside: A folder outside every loop.
    """

    manager: LoopManager
    record: LoopRecord
    running: Running
    outside: Path


@contextlib.asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    """Make the scene; remove its containers, network and files afterwards."""
    with tempfile.TemporaryDirectory(prefix="loopat-bench-") as folder:
        home = Path(folder) / "bench"
        (outside := Path(folder) / "outside").mkdir()
        # Kernels find their loop through the environment, as under a real server.
        os.environ["LOOPAT_HOME"] = str(home)
        os.environ["JUPYTER_DATA_DIR"] = str(Path(folder) / "jupyter-data")
        manager = LoopManager.from_environment(os.environ)
        record = manager.create(title="benchmark")
        try:
            yield Scene(manager, record, await manager.start(record), outside)
        finally:
            for each in list(manager.store.readable()):
                await manager.sandboxes.remove(each.id)
            await manager.engine.run("network", "rm", "--force", f"loopat-{manager.workspace.name}")


@contextlib.contextmanager
def timed(samples: list[float]) -> Iterator[None]:
    """Append the time that the block takes, in milliseconds."""
    started = time.perf_counter()
    yield
    samples.append((time.perf_counter() - started) * 1000)


def resident_mib(pids: list[int]) -> float:
    """Resident memory of processes in MiB, pages that they share with others included (Rss, proc(5))."""
    total_kib = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Rss:"):
                total_kib += int(line.split()[1])
    return total_kib / 1024
