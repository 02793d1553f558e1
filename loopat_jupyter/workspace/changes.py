"""Which loops were just changed or used, for whoever keeps their order in memory.

Each process that writes or touches a record adds a line to one file in the runtime directory. It only says where to
look: what is true stands in the loops' folders. So nothing is lost with the file, and whoever finds another one, or
none, looks at everything.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.workspace.paths import is_loop_id

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

LARGEST_BYTES = 2**20
"""Some 19,000 changes; then another file takes its place."""

_FLAGS = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_FIRST_BYTES = 56
"""The first line says which file it is: no two hold the same loop at the same nanosecond."""


class Position(NamedTuple):
    """How far somebody has read.

    Attributes:
        first: How the file begins.
        size_bytes: Up to where.
    """

    first: bytes
    size_bytes: int


def changes_file(workspace: Workspace) -> Path:
    """Where the lines are."""
    return workspace.runtime / "changes"


def tell(workspace: Workspace, loop_id: str) -> None:
    """Say that a record is another one now, or was used.

    Args:
        workspace: Where the loop is.
        loop_id: The loop.
    """
    path = changes_file(workspace)
    # The change is made; without a runtime directory, or space in it, others find it a little later.
    with contextlib.suppress(OSError):
        file = os.open(path, _FLAGS | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            os.write(file, f"{loop_id} {time.time_ns()}\n".encode())
            if os.fstat(file).st_size > LARGEST_BYTES:
                path.unlink(missing_ok=True)
        finally:
            os.close(file)


def told_since(workspace: Workspace, before: Position | None) -> tuple[Position | None, frozenset[str] | None]:
    """What was said since somebody read.

    Args:
        workspace: Whose loops.
        before: How far that was; None for never.

    Returns:
        How far it is now, None where nothing can be said; and ids of loops, None where it could be any of them.
    """
    try:
        file = os.open(changes_file(workspace), _FLAGS | os.O_RDONLY, 0o600)
    except OSError:
        return None, None
    try:
        now = Position(os.pread(file, _FIRST_BYTES, 0), os.fstat(file).st_size)
        if before is None or not before.first or before.first != now.first or before.size_bytes > now.size_bytes:
            return now, None
        data = os.pread(file, now.size_bytes - before.size_bytes, before.size_bytes)
    except OSError:
        return None, None
    finally:
        os.close(file)
    # A line that crosses a page of memory comes in two pieces: the rest of it is read with the next ones.
    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.decode("ascii", "replace")
    return now._replace(size_bytes=before.size_bytes + len(whole)), frozenset(filter(is_loop_id, lines.split()))
