"""Copies of the single files that a privileged loop is given read-only.

Root inside could make their mounts writable, and podman lays no overlay over a single file. So the loop gets a copy of
its own, made anew at each start, which nobody trusts: no other loop is given it, and nobody on the host reads it.
"""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

from loopat_jupyter.errors import ConflictError
from loopat_jupyter.workspace.files import full_disk_told

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from loopat_jupyter.models import Mount
    from loopat_jupyter.workspace.paths import Workspace


def copies_folder(workspace: Workspace, loop_id: str) -> Path:
    """Where a loop's copies lie, in its folder: a sandbox that may read the folders of all loops sees them.

    Args:
        workspace: Where the loop is.
        loop_id: The loop.
    """
    return workspace.loop(loop_id) / "given"


def own_copy(folder: Path, source: str) -> Path:
    """The copy of a file.

    Args:
        folder: As `copies_folder` answers.
        source: The file.
    """
    return folder / hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def make_copies(mounts: Iterable[Mount], folder: Path) -> None:
    """Copy every file that is mounted read-only, as it is now, and remove copies of what is not mounted any more.

    Args:
        mounts: All mounts of a loop.
        folder: As `copies_folder` answers.

    Raises:
        ConflictError: A file cannot be read.
        StorageFullError: No space.
    """
    left = set(folder.glob("*"))
    for mount in mounts:
        if mount.file and mount.mode == "ro":
            copy = own_copy(folder, mount.source)
            part = copy.with_suffix(".part")
            try:
                with full_disk_told(folder):
                    folder.mkdir(exist_ok=True)
                    shutil.copy(mount.source, part)
                    part.replace(copy)
            except OSError as error:
                raise ConflictError(
                    f"{mount.source} cannot be copied for the privileged loop: {error.strerror}. Fix that, then start "
                    "the loop."
                ) from error
            left.discard(copy)
    for copy in left:
        copy.unlink(missing_ok=True)
