"""`Glance`: what podman says of all sandboxes, without asking it again while nothing has changed.

Podman keeps what it knows in a database, a file that each change writes to and no question does. While that file is
the same, and the same processes live, podman would answer as before. A look at both takes a hundredth of the time.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.errors import LoopatError
from loopat_jupyter.sandbox.facts import INSPECT_TIMEOUT_S, list_containers
from loopat_jupyter.sandbox.process import is_init

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopat_jupyter.models import ContainerFacts
    from loopat_jupyter.sandbox.podman import Engine

DATABASES = ("libpod/bolt_state.db", "db.sql", "db.sql-wal", "db.sql-journal")
"""Where podman keeps its database, below its storage: BoltDB, or SQLite since 4.8 with what that keeps beside it."""

SETTLED_NS = 100_000_000
"""Two changes within one tick of the kernel's clock, some milliseconds, leave a file with one time."""

LONGEST_S = 60.0
"""In case that a podman keeps its database where nobody looks."""


class Stored(NamedTuple):
    """One file of a database, as it was once."""

    path: Path
    inode: int
    size_bytes: int
    changed_ns: int


class Answer(NamedTuple):
    """What podman said, and of what."""

    database: Sequence[Stored]
    asked_s: float
    containers: Mapping[str, ContainerFacts]


class Glance:
    """All sandboxes of one workspace.

    Args:
        engine: Runs podman.
        workspace: Name of the workspace.
    """

    def __init__(self, engine: Engine, workspace: str) -> None:
        self._engine = engine
        self._workspace = workspace
        self._storage: Path | None = None
        self._answer: Answer | None = None

    async def containers(self) -> Mapping[str, ContainerFacts]:
        """By loop id, as podman lists them.

        Raises:
            EngineError: Podman could not say.
        """
        before, database = self._answer, stored(self._storage)
        if before is not None and still_so(before, database, time.monotonic()):
            return before.containers
        settled = is_settled(database, time.time_ns())
        containers = await list_containers(self._engine, self._workspace)
        if self._storage is None and before is not None and containers:
            # Not at the first question: a command line asks only one. And of one that is there now.
            (known, *_) = containers.values()
            self._storage = await storage(self._engine, known)
        self._answer = Answer(database if settled else (), time.monotonic(), containers)
        return containers


async def storage(engine: Engine, container: ContainerFacts) -> Path | None:
    """The folder in which podman keeps everything; None where that is not on this machine, or cannot be told.

    Args:
        engine: Runs podman.
        container: One that there is.
    """
    try:
        answer = await engine.run(
            "inspect", "--format={{.StaticDir}}", container.id, timeout_s=INSPECT_TIMEOUT_S, doing="inspect the sandbox"
        )
    except LoopatError:
        return None
    # <storage>/overlay-containers/<id>/userdata
    folder = Path(answer.stdout.decode().strip())
    there = folder.parent.name == container.id and await asyncio.to_thread(folder.is_dir)
    return folder.parents[2] if there else None


def stored(folder: Path | None) -> tuple[Stored, ...]:
    """The files of podman's database, as they are now.

    Args:
        folder: In which podman keeps everything; None where that is not known.
    """
    found = []
    for path in () if folder is None else (folder / name for name in DATABASES):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append(Stored(path, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def is_settled(database: Sequence[Stored], now_ns: int) -> bool:
    """Whether the next change of a database will show.

    Args:
        database: Its files, as they were right before podman was asked.
        now_ns: The time.
    """
    return all(now_ns - file.changed_ns > SETTLED_NS for file in database)


def still_so(answer: Answer, database: Sequence[Stored], now_s: float) -> bool:
    """Whether podman would say the same again. Of a sandbox that died it may not have heard yet.

    Args:
        answer: What it said.
        database: The files of its database, as they are now.
        now_s: The time, monotonic.
    """
    return (
        bool(database)
        and database == answer.database
        and now_s - answer.asked_s < LONGEST_S
        and all(not facts.running or is_init(facts.pid) for facts in answer.containers.values())
    )
