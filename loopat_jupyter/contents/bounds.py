"""Where a loop's files end: which folder a path must not leave, and what is answered when it does."""

from __future__ import annotations

import contextlib
import errno
import os
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from tornado import web

from loopat_jupyter.errors import UnsafePathError
from loopat_jupyter.workspace.files import real_path
from loopat_jupyter.workspace.paths import is_loop_id
from loopat_jupyter.workspace.whereabouts import followed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.workspace.paths import Workspace


class WayOutError(web.HTTPError, OSError):
    """A path leads out of the loop that it enters.

    Stock listings leave out what cannot be followed (ELOOP); asked for by itself it is forbidden.
    """

    def __init__(self, path: str) -> None:
        web.HTTPError.__init__(self, 403, f"{path} leads out of its loop, or is no plain file or folder.")
        self.errno = errno.ELOOP


_listed: ContextVar[tuple[Workspace | None, str] | None] = ContextVar("listed", default=None)
"""The folder whose entries are looked at, where they are outside all loops as long as they are no links."""


@contextlib.contextmanager
def entries_of(workspace: Workspace | None, os_path: str) -> Iterator[None]:
    """Look at many entries of a folder: if it is outside all loops, the way to it is looked at once for them all.

    Args:
        workspace: Where the loops are; None where there are none.
        os_path: Its absolute path.
    """
    written = os.path.abspath(os_path)  # noqa: PTH100
    outside = (
        workspace is not None
        and top_of(workspace, written) is None
        # What is in a loop's own folder enters the loop.
        and not _is_loop(str(real_path(workspace.loops)), str(real_path(written)))
    )
    token = _listed.set((workspace, written) if outside else None)
    try:
        yield
    finally:
        _listed.reset(token)


def top_of(workspace: Workspace | None, os_path: str) -> Path | None:
    """The folder of a loop that a path enters as it is written: its workdir, its home; None outside all loops.

    Whatever runs in the loop may write there, so a path that enters must not leave.

    Args:
        workspace: Where the loops are; None where there are none.
        os_path: An absolute path.

    Returns:
        The folder, symlinks resolved.
    """
    if workspace is None:
        return None
    # All this is asked several times for each file of a listing, so paths are plain text.
    written = os.path.abspath(os_path)  # noqa: PTH100
    if (workspace, os.path.dirname(written)) == _listed.get() and not os.path.islink(written):  # noqa: PTH114, PTH120
        return None
    loops, real = str(real_path(workspace.loops)), "/"
    for name in filter(None, written.split("/")):
        real = os.path.join(real, name)  # noqa: PTH118
        # A link may lead through a loop, which then has a say in where it ends.
        way = map(str, followed(Path(real))) if os.path.islink(real) else (real,)  # noqa: PTH114
        for real in way:  # At last where the link ends.
            if _is_loop(loops, os.path.dirname(real)) and os.path.isdir(real):  # noqa: PTH112, PTH120
                return Path(real)
    return None


def _is_loop(loops: str, real: str) -> bool:
    """Whether a path is a loop's own folder.

    Args:
        loops: The folder of all loops, symlinks resolved.
        real: The path, symlinks resolved.
    """
    folder, _, name = real.rpartition("/")
    return folder == loops and is_loop_id(name)


def refuse_way_out(workspace: Workspace | None, os_path: str, shown: str) -> str:
    """A path of the host, unless it enters a loop as it is written and does not end in it.

    Args:
        workspace: Where the loops are; None where there are none.
        os_path: The absolute path.
        shown: How to name it in the error.

    Raises:
        WayOutError: A symlink leads out.
    """
    with way_out_told(shown):
        top = top_of(workspace, os_path)
        if top is not None and not real_path(os_path).is_relative_to(top):
            raise WayOutError(shown)
    return os_path


@contextlib.contextmanager
def way_out_told(os_path: str) -> Iterator[None]:
    """Answer 403 where something on the way is no part of the loop, and 413 for a file that is too large to be read.

    Raises:
        tornado.web.HTTPError: It is too large.
        WayOutError: It leads out of the loop, or is no plain file.
    """
    try:
        yield
    except UnsafePathError:
        raise WayOutError(Path(os_path).name) from None
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise too_large(os_path) from None


def too_large(os_path: str) -> web.HTTPError:
    """The answer to who opens a file that is too large to be read.

    Args:
        os_path: The file.
    """
    problem = "is too large to be opened here. Download it, or look at it in a terminal of the loop."
    return web.HTTPError(413, f"{Path(os_path).name} {problem}")


@contextlib.contextmanager
def swap_told(os_path: str) -> Iterator[None]:
    """Answer 403 where stock code reads a link just when it is swapped for something else.

    Raises:
        WayOutError: It did.
    """
    try:
        yield
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise WayOutError(Path(os_path).name) from None


_FULL = (503, "cannot be written: no space is left. Free some, and try again")
_SAID = {
    errno.EPERM: (403, "may not be changed"),
    errno.EACCES: (403, "may not be changed"),
    errno.ENOENT: (404, "is not there"),
    errno.EEXIST: (409, "is there already"),
    errno.ENOTEMPTY: (400, "is not empty"),
    errno.EINVAL: (400, "cannot be put into itself"),
    errno.EXDEV: (400, "cannot be moved to another file system. Copy it, then delete it here"),
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
}


@contextlib.contextmanager
def change_told(os_path: str) -> Iterator[None]:
    """Answer as the stock manager does where files cannot be changed.

    Raises:
        tornado.web.HTTPError: They cannot.
    """
    try:
        with way_out_told(os_path):
            yield
    except web.HTTPError:
        raise
    except OSError as error:
        status, problem = _SAID.get(error.errno or 0, (400, f"cannot be changed: {error.strerror}"))
        raise web.HTTPError(status, f"{Path(os_path).name} {problem}.") from error
