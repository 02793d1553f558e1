"""All that lies below a folder, however deep: what runs in a loop nests folders deeper than Python's own walk goes."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.workspace.nofollow import names_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

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


def remove_tree(folder: Path, *, within: int | None = None) -> None:
    """Remove a folder of this user's with all that is in it, as far as it may be removed: locked folders are opened.

    `shutil.rmtree` gives up on folders nested a thousand times, and git can make them: each path that it writes may be
    as long as any, wherever the folder itself is.

    Args:
        folder: There need not be one. Folders in it that somebody moves meanwhile are not followed to where they went.
        within: Descriptor of a folder that `folder` is relative to.
    """
    try:
        here = _opened(str(folder), within)
    except OSError:
        return
    trail: list[tuple[str, os.stat_result]] = []
    left = [names_in(here)]
    while left:
        if left[-1]:
            inner = _remove_or_open(left[-1].pop(), here)
            if inner is not None:
                trail.append((inner.name, os.fstat(here)))
                left.append(names_in(inner.descriptor))
                os.close(here)
                here = inner.descriptor
            continue
        left.pop()
        if trail:
            above = os.open("..", _FOLDER, dir_fd=here)
            os.close(here)
            here = above
            name, before = trail.pop()
            if not os.path.samestat(before, os.fstat(here)):
                break
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=here)
    os.close(here)
    with contextlib.suppress(OSError):
        os.rmdir(folder, dir_fd=within)


class _Inner(NamedTuple):
    name: str
    descriptor: int


def _remove_or_open(name: str, folder: int) -> _Inner | None:
    """Remove what is no folder; open what is one."""
    with contextlib.suppress(OSError):
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            return _Inner(name, _opened(name, folder))
    return None


def _opened(name: str, folder: int | None) -> int:
    """Open a folder that can be left again; one of this user's may have been locked.

    Raises:
        OSError: It may not be entered.
    """
    place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        with contextlib.suppress(PermissionError):
            os.chmod(f"/proc/self/fd/{place}", 0o700)  # noqa: PTH101
        descriptor = os.open(".", _FOLDER, dir_fd=place)
    finally:
        os.close(place)
    return descriptor
