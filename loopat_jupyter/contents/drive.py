"""What the folders of the drive are called, and which loop one of them means."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from loopat_jupyter.errors import LoopatError
from loopat_jupyter.workspace.paths import is_loop_id
from loopat_jupyter.workspace.records import LoopStore

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

DRIVE = "loops"
"""Name of the drive; a front end writes its paths `loops:folder/file`."""

_PREFIX = f"{DRIVE}:"
_FOLDER = re.compile(r"(?P<slug>[a-z0-9-]+)-(?P<start>[0-9a-f]{8})\Z")


def in_drive(path: object) -> str | None:
    """The part of a path behind the name of the drive; None for a path elsewhere.

    Args:
        path: As a front end writes it, such as `loops:sales-in-may-3f2a9c1e/report.ipynb`; or what is no path at all.
    """
    return path.removeprefix(_PREFIX) if isinstance(path, str) and path.startswith(_PREFIX) else None


def names_loop(folder: str) -> bool:
    """Whether a folder of the drive is one of a loop by its name, whether there is that loop or not.

    Args:
        folder: The first part of a path in the drive.
    """
    return is_loop_id(folder) or _FOLDER.match(folder) is not None


class Drive:
    """Finds the loops that folders of the drive mean.

    Args:
        workspace: Where the loops are.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.store = LoopStore(workspace)
        self._known: dict[str, str] = {}
        """Ids by folder; believed only while that loop's record is there."""

    def loop_id(self, folder: str) -> str | None:
        """The loop that a folder means; None when there is none.

        Args:
            folder: The first part of a path in the drive.
        """
        known = self._known.get(folder)
        if known is not None and self.workspace.record(known).exists():
            return known
        found = self._search(folder)
        if found is not None:
            self._known[folder] = found
        return found

    def _search(self, folder: str) -> str | None:
        if is_loop_id(folder):
            return folder if self.workspace.record(folder).exists() else None
        parts = _FOLDER.match(folder)
        if parts is None:
            return None
        for candidate in self.workspace.loops.glob(f"{parts['start']}-*"):
            if is_loop_id(candidate.name):
                try:
                    if self.store.read(candidate.name).slug == parts["slug"]:
                        return candidate.name
                except LoopatError:
                    continue
        return None

    def host_path(self, path: str) -> Path | None:
        """Where on the host a path of the drive is; None when it is in no loop.

        Args:
            path: Path in the drive, without the drive's name.
        """
        folder, *rest = path.strip("/").split("/")
        loop_id = self.loop_id(folder)
        if loop_id is None or ".." in rest:
            return None
        # Without empty names: what comes after two slashes would be a path of the whole host.
        return self.workspace.workdir(loop_id).joinpath(*filter(None, rest))

    def meant_path(self, path: object, root: Path) -> Path | None:
        """Where on the host a path is that a front end means in the drive; None when it is in no loop.

        JupyterLab leaves the name of the drive out for consoles and terminals, and before 4.5 for notebooks. What the
        server's own root has comes first.

        Args:
            path: As the front end writes it, or what is no path at all.
            root: The server's root folder.
        """
        if not isinstance(path, str):
            return None
        inside = in_drive(path)
        first = path.strip("/").partition("/")[0]
        if inside is None and ("\0" in first or os.path.lexists(root / first)):
            return None
        return self.host_path(path if inside is None else inside)

    def is_lost(self, path: str, root: Path) -> bool:
        """Whether a path for which `meant_path` has no answer means a loop that is gone.

        The name of the drive is left out, as there, and Jupyter would take the server's root for what it does not
        find: what a person means to run in a loop would run on the host. A single name is never a loop's: JupyterLab
        calls what is in the server's root by ids that look like those of loops.

        Args:
            path: As the front end writes it.
            root: The server's root folder.
        """
        first, _, rest = path.strip("/").partition("/")
        if not rest or "\0" in first or not names_loop(first) or os.path.lexists(root / first):
            return False
        return self.store.was_deleted(first)
