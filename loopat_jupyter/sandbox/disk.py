"""What lies in a workspace's folders without belonging to a loop."""

from __future__ import annotations

import os
import time
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from loopat_jupyter.errors import LoopatError
from loopat_jupyter.models import CONTEXT_KINDS
from loopat_jupyter.sandbox.builders import BUILD_FOLDERS
from loopat_jupyter.workspace.paths import context_mirror, is_loop_id
from loopat_jupyter.workspace.records import LoopStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace


def half_made(workspace: Workspace) -> tuple[tuple[str, float], ...]:
    """Loops without a record, and copies and checkouts of repos that were not finished: path, age in seconds.

    Args:
        workspace: Where to look.
    """
    loops = [path for path in _folders(workspace.loops) if is_loop_id(path.name)]
    begun = [path for path in loops if not os.path.lexists(path / "meta.json")]
    for folder in (workspace.mirrors, workspace.origins, *loops):
        begun += [path for path in _folders(folder) if path.name.startswith(".") and path.name.endswith(".new")]
    return tuple((str(path), _age_s(path)) for path in sorted(begun))


def deleted_loops(workspace: Workspace) -> tuple[str, ...]:
    """What is left of loops whose deletion did not come to its end.

    Args:
        workspace: Where to look.
    """
    pattern = workspace.deleted("*").name
    return tuple(sorted(str(path) for path in _folders(workspace.loops) if fnmatch(path.name, pattern)))


def unused_mirrors(workspace: Workspace) -> tuple[tuple[str, float, int], ...]:
    """Copies of repos that no loop borrows from: path, seconds since the last fetch, size in bytes.

    None at all while a record cannot be read: nobody knows what that loop borrows from.

    Args:
        workspace: Where to look.
    """
    mirrors = [path for path in _folders(workspace.mirrors) if not path.name.startswith(".")]
    if not mirrors:
        return ()
    store, used = LoopStore(workspace), set()
    for stamp in store.stamps():
        try:
            record = store.read(stamp.loop_id)
        except LoopatError:
            return ()
        used |= {context_mirror(kind, record.created_by) for kind in CONTEXT_KINDS} | {record.mirror}
    unused = sorted(path for path in mirrors if path.name not in used)
    return tuple((str(path), _age_s(path), _size_bytes(path)) for path in unused)


def given_up_builds(workspace: Workspace) -> tuple[tuple[str, float, int], ...]:
    """What images are, or were to be, built from: path, age in seconds, size in bytes.

    Args:
        workspace: Where to look.
    """
    found = [path for path in _folders(workspace.cache) if path.name.startswith(BUILD_FOLDERS)]
    return tuple((str(path), _age_s(path), _size_bytes(path)) for path in found)


def _folders(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    for path in entries:
        if path.is_dir() and not path.is_symlink():
            yield path


def _age_s(path: Path) -> float:
    """Since something in the folder itself, or in the refs of a repo, last changed."""
    newest = max(part.lstat().st_mtime for part in (path, path / "HEAD", path / "packed-refs") if os.path.lexists(part))
    return time.time() - newest


def _size_bytes(path: Path) -> int:
    return sum(part.lstat().st_size for part in path.rglob("*") if part.is_file())
