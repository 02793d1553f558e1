"""The note that nobody asked podman for a sandbox of a loop yet: then there is none, and podman need not be asked.

It is laid before anybody knows of the loop, and taken away, under the loop's lock, before podman is asked to make
anything. It may come back with a folder from a backup, or where the power failed. So it counts only until the machine
starts anew, and only where the runtime directory shows no trace of a start.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from loopat_jupyter.workspace.files import failed_write_told

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def note_unmade(workspace: Workspace, loop_id: str) -> None:
    """Lay the note. Where that fails, podman is asked.

    Args:
        workspace: Where the loop is.
        loop_id: A loop that has a folder and no record yet.
    """
    # Half a note is none, so there is no need to wait for the disk.
    with contextlib.suppress(OSError):
        _note(workspace, loop_id).write_bytes(_BOOT.read_bytes())


def forget_unmade(workspace: Workspace, loop_id: str) -> None:
    """Take the note away: podman is about to be asked for a sandbox. Only under the loop's lock.

    Args:
        workspace: Where the loop is.
        loop_id: The loop.

    Raises:
        StorageRefusedError: It may not be removed.
    """
    note = _note(workspace, loop_id)
    with failed_write_told(note):
        note.unlink(missing_ok=True)


def is_unmade(workspace: Workspace, loop_id: str) -> bool:
    """Whether podman has certainly no sandbox of a loop, since nobody asked it for one.

    Args:
        workspace: Where the loop is.
        loop_id: The loop.
    """
    try:
        noted = _note(workspace, loop_id).read_bytes()
        return noted == _BOOT.read_bytes() and not workspace.host(loop_id).exists()
    except OSError:
        return False


def _note(workspace: Workspace, loop_id: str) -> Path:
    return workspace.loop(loop_id) / "unmade"
