"""The first loop: "welcome", with a notebook that shows what a loop is.

``python -m loopat_jupyter.welcome`` makes it where there is none and prints its folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_core.paths import jupyter_path

from loopat_jupyter.errors import LoopatError, NotFoundError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import NewLoop
from loopat_jupyter.sandbox.template import template_folder
from loopat_jupyter.workspace.files import write_new
from loopat_jupyter.workspace.locks import file_lock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopat_jupyter.models import LoopRecord

TITLE = "welcome"
NOTEBOOK = "welcome.ipynb"
MARK = {"welcome": True}
"""Metadata that tells the first loop from one that a person gave the same title."""

_LOCK_TIMEOUT_S = 30.0


def welcome_files() -> list[Path]:
    """What a welcome loop starts with: beside the sandbox's template, else where the package put it.

    Raises:
        NotFoundError: The installation has no welcome notebook.
    """
    candidates = [template_folder().parent, *map(Path, jupyter_path("loopat", "templates"))]
    for candidate in candidates:
        if (candidate / "welcome" / NOTEBOOK).is_file():
            return sorted(path for path in (candidate / "welcome").iterdir() if path.is_file())
    raise NotFoundError(
        f"There is no welcome/{NOTEBOOK} in any of {', '.join(map(str, candidates))}. Install loopat-jupyter again."
    )


async def make_welcome(manager: LoopManager) -> LoopRecord:
    """The welcome loop, made where there is none. A file that is missing in it is put back, none is changed.

    Args:
        manager: Loops of the workspace.

    Raises:
        EngineTimeoutError: Another process has been making it for too long.
        NotFoundError: The installation has no welcome notebook.
        StorageFullError: No space.
    """
    files = welcome_files()
    manager.workspace.prepare()
    lock = manager.workspace.locks / "welcome"
    async with file_lock(lock, timeout_s=_LOCK_TIMEOUT_S, what="the welcome loop"):
        record = find_welcome(manager) or await manager.make(NewLoop(title=TITLE, metadata=dict(MARK)))
        lay_missing(files, manager.workspace.workdir(record.id))
    return record


def lay_missing(files: Iterable[Path], folder: Path) -> None:
    """Copy the files into a folder that has nothing of their names, not even a dangling symlink.

    Raises:
        StorageFullError: No space.
    """
    for file in files:
        with contextlib.suppress(FileExistsError):
            write_new(folder / file.name, file.read_bytes(), mode=0o644)


def find_welcome(manager: LoopManager) -> LoopRecord | None:
    """The welcome loop, if there is one that is not archived; the oldest of several."""
    found = [record for record in manager.store.readable() if record.metadata == MARK and not record.archived]
    return min(found, key=lambda record: record.created_at, default=None)


def main() -> int:
    """Make the welcome loop and print its folder; the exit code."""
    try:
        manager = LoopManager.from_environment(os.environ)
        record = asyncio.run(make_welcome(manager))
    except LoopatError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    sys.stdout.write(f"{manager.workspace.workdir(record.id)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
