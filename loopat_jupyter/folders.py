"""Where in a loop a person wants to be: one rule for terminals, commands and requests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.sandbox.plan import inside_path, sandbox_workdir

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace

_SHOWN_CHARACTERS = 80


def folder_inside(workspace: Workspace, loop_id: str, cwd: str | None) -> str:
    """A folder as seen inside.

    Args:
        workspace: Where the loops are.
        loop_id: The loop.
        cwd: As a person wrote it: relative to the loop's workdir, or absolute as inside, which only the sandbox can
            check, or the host's path of a folder in the workdir; None means the workdir.

    Raises:
        BadInputError: It is relative, and the workdir has no such folder.
    """
    if cwd is None:
        return sandbox_workdir(loop_id)
    if "\0" in cwd:
        raise BadInputError("cwd", "must not hold a NUL character")
    folder = workspace.workdir(loop_id) / cwd
    found = workspace.loop_of(folder)
    if cwd.startswith("/"):
        # The host's name of a folder of this loop is what a person has at hand; anything else is for the sandbox.
        return inside_path(loop_id, found[1]) if found is not None and found[0] == loop_id else cwd
    # Unlike `Path.is_dir`, this answers for names that are longer than any file system takes.
    if found is None or found[0] != loop_id or not os.path.isdir(folder):  # noqa: PTH112
        raise BadInputError("cwd", f"there is no folder {cwd[:_SHOWN_CHARACTERS]!r} in the loop's workdir")
    return inside_path(loop_id, found[1])
