"""`Places`: which folder, or which name of a terminal, means which loop."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tornado import web

from loopat_jupyter.contents.drive import Drive, names_loop
from loopat_jupyter.errors import ConflictError, LoopatError, NotFoundError
from loopat_jupyter.sandbox.plan import inside_path
from loopat_jupyter.workspace.records import LoopStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace
    from loopat_jupyter.workspace.whereabouts import Whereabouts

_NAME = re.compile(r"([0-9a-f]{8})_.*", re.DOTALL)
"""Terminals of loops are called by their loop, so that a tab which JupyterLab restores opens where it was."""


class Place(NamedTuple):
    """Where in which loop a terminal opens. Never made from what a client sent.

    Attributes:
        record: The loop.
        cwd: Folder as seen inside.
    """

    record: LoopRecord
    cwd: str


class Places:
    """Finds them.

    Args:
        workspace: Where the loops are; None where all terminals are on the host.
        root: The server's root folder.
    """

    def __init__(self, workspace: Workspace | None, root: Path) -> None:
        self._workspace = workspace
        self._root = root

    def on_host(self, cwd: str) -> str:
        """A folder, on the host where it is one of the drive of loops.

        Args:
            cwd: As the client wrote it.
        """
        workspace = self._workspace
        found = None if workspace is None or "\0" in cwd else Drive(workspace).meant_path(cwd, self._root)
        return cwd if found is None else str(found)

    def written(self, name: object, cwd: str) -> Place | None:
        """The place that a client wrote; None on the host.

        What runs in a loop can plant a symlink that leads out, and change it at any moment: a shell of the host, or of
        another loop, would open where a person means to open one of this loop. So it is followed once, here.

        Args:
            name: The terminal's, which may be that of a loop's.
            cwd: Absolute, relative to the process, or relative to the server's root.

        Raises:
            ConflictError: It leads out of a loop.
            NotFoundError: There is no such folder or loop.
        """
        workspace, place = self._workspace, None
        if workspace is None or "\0" in cwd:
            return None
        for folder in (Path(cwd), self._root / cwd):
            seen = workspace.whereabouts(folder)
            is_there = os.path.isdir(folder) if seen.entered else os.path.exists(folder)  # noqa: PTH110, PTH112
            if seen.entered is not None and not is_there:
                # The stock handler would open a shell of the host, in the server's own folder.
                raise NotFoundError(f"There is no folder {cwd[:200]} in loop {seen.entered}.")
            place = self._at(seen, folder)
            if is_there:
                break
        else:
            if names_loop(cwd.strip("/").partition("/")[0]) or workspace.loop_of(self._root) is not None:
                # The stock handler would open a terminal at the server's root, which may be in another loop.
                raise NotFoundError(f"There is no folder {cwd[:200]} in any loop.")
        return self.named(name) or place

    def named(self, name: object) -> Place | None:
        """The loop that a terminal of this name once was in.

        Args:
            name: What a client calls it.

        Raises:
            NotFoundError: That loop is gone.
        """
        match = _NAME.fullmatch(name) if isinstance(name, str) else None
        if match is None or self._workspace is None:
            return None
        found = [loop_id for loop_id in self._workspace.loop_ids() if loop_id.startswith(match[1])]
        if len(found) != 1:
            # No shell of the host opens under a name that somebody knows as a loop's.
            raise NotFoundError(
                f"The loop of the terminal {match[0][:80]} is gone. `jupyter loopat list` shows the loops."
            )
        return Place(LoopStore(self._workspace).read(found[0]), inside_path(found[0], Path()))

    def of_folder(self, folder: str | None) -> Place | None:
        """The place in a loop that a folder of the host is.

        Args:
            folder: The folder; None for none.

        Raises:
            ConflictError: It leads out of a loop, or belongs to one but not to its files.
        """
        if not folder or self._workspace is None:
            return None
        path = Path(folder).expanduser()
        return self._at(self._workspace.whereabouts(path), path)

    def _at(self, seen: Whereabouts, path: Path) -> Place | None:
        if self._workspace is None:
            return None
        if seen.left is not None:
            raise ConflictError(
                f"{str(path)[:200]} is in loop {seen.left}, but a symbolic link in the loop's folder leads out of it. "
                "Remove the link, or name the folder itself."
            )
        if seen.beside is not None:
            workdir = self._workspace.workdir(seen.beside)
            raise ConflictError(f"{path} belongs to loop {seen.beside} but not to its files. Open {workdir} instead.")
        if seen.found is None:
            return None
        loop_id, relative = seen.found
        return Place(LoopStore(self._workspace).read(loop_id), inside_path(loop_id, relative))


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Answer what went wrong as the stock handlers answer.

    Raises:
        tornado.web.HTTPError: It did.
    """
    try:
        yield
    except LoopatError as error:
        raise web.HTTPError(error.status, error.message, reason=error.reason) from error
