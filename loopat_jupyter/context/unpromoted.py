"""What a loop has in its contexts and nobody else has: it would go with the loop."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from loopat_jupyter.repos.unsaved import find_unsaved
from loopat_jupyter.workspace.paths import SANDBOX_CONTEXT
from loopat_jupyter.workspace.walking import entries_below

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from loopat_jupyter.models import ContextKind, LoopRecord
    from loopat_jupyter.sandbox.asking import Answered
    from loopat_jupyter.workspace.paths import Workspace

MADE = ".made"
"""Written by the host when the checkouts were made, in a folder that no sandbox sees."""


def touched(workspace: Workspace, record: LoopRecord) -> tuple[ContextKind, ...]:
    """The contexts in which anything changed since the loop was made. Only times are looked at; git is not run.

    Args:
        workspace: Where the loop is.
        record: The loop.
    """
    kinds = (start.kind for start in record.contexts)
    folders = {kind: workspace.context(record.id, kind) for kind in kinds}
    return tuple(kind for kind, folder in folders.items() if _changed(folder))


def _changed(folder: Path) -> bool:
    try:
        made_ns = (folder.parent / MADE).lstat().st_mtime_ns
    except FileNotFoundError:
        return True
    try:
        # Nobody but the kernel sets this time.
        times = (entry.stat(follow_symlinks=False).st_ctime_ns for entry in entries_below(folder, strict=True))
        return folder.lstat().st_ctime_ns > made_ns or any(time_ns > made_ns for time_ns in times)
    except OSError:
        return True


async def find_unpromoted(run: Callable[..., Awaitable[Answered]], kinds: tuple[ContextKind, ...]) -> dict[str, str]:
    """What git says of contexts that changed, by context; those that everybody has are left out.

    Args:
        run: Runs a command inside.
        kinds: The contexts to look at.

    Raises:
        ConflictError: Git cannot tell.
    """
    found = {}
    for kind in kinds:
        # What was proposed or merged since is in the mirror, which a fetch costs nothing to look at.
        unsaved = await find_unsaved(functools.partial(run, cwd=f"{SANDBOX_CONTEXT}/{kind}"), None, fetch=True)
        if unsaved:
            found[str(kind)] = str(unsaved)
    return found
