"""All that lies below a folder, however deep: what runs in a loop nests folders deeper than Python's own walk goes."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_LEVELS = 100
"""Folders in folders that are still read; people's own files are never so deep."""


def entries_below(folder: Path, *, strict: bool = False) -> Iterator[os.DirEntry[str]]:
    """Every entry below a folder, each folder before what is in it. Symlinks are not followed.

    Args:
        folder: The folder.
        strict: Raise where something may not be entered, or has too long a path. Else it is left out.

    Raises:
        OSError: With `strict` alone.
    """
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                entries = list(found)
        except OSError:
            if strict:
                raise
            continue
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def remove_tree(folder: Path) -> None:
    """Remove a folder of this user's with all that is in it, as far as it may be removed.

    Args:
        folder: One that nobody else changes meanwhile; there need not be one.
    """
    for entry in reversed(list(entries_below(folder))):
        with contextlib.suppress(OSError):
            (os.rmdir if entry.is_dir(follow_symlinks=False) else os.unlink)(entry.path)
    with contextlib.suppress(OSError):
        folder.rmdir()
