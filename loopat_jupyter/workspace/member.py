"""Who works in a workspace: one name for all its processes, also for those to which no Hub says what it calls them.

The name under which something was made first is written down, in a file that a person may edit.
"""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

from loopat_jupyter.workspace.files import write_atomic

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace


def find_member(workspace: Workspace, named: str | None) -> str:
    """Who works in a workspace: as named, else as written down, else the user of the host.

    Args:
        workspace: The workspace.
        named: What the environment says; None or empty where it says nothing.
    """
    return named or _written(workspace) or getpass.getuser()


def prepare_for(workspace: Workspace, member: str) -> None:
    """Make the folders of a workspace, and write down who works there, unless that was done before.

    Args:
        workspace: The workspace.
        member: Who is about to make something in it.

    Raises:
        BadInputError: The workspace folder cannot be made.
        EngineUnavailableError: The runtime directory belongs to somebody else or is open to others.
        StorageFullError: No space.
        StorageRefusedError: The file may not be written.
    """
    workspace.prepare()
    if not _written(workspace):
        write_atomic(workspace.member_file, os.fsencode(f"{member}\n"))


def other_member(workspace: Workspace, member: str) -> str:
    """What to tell of a member who is not the one that is written down; empty where they are, or nobody is.

    Args:
        workspace: The workspace.
        member: Who works there according to the environment.
    """
    written = _written(workspace)
    if written in ("", member):
        return ""
    return (
        f"The environment calls who works here {member!r}, and {workspace.member_file} says {written!r}. Vaults, "
        "personal files and the personal tier of the two are kept apart. To have one name, write it into that file, or "
        "set LoopatApp.member."
    )


def _written(workspace: Workspace) -> str:
    try:
        return os.fsdecode(workspace.member_file.read_bytes()).strip()
    except OSError:
        return ""
