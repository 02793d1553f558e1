"""Whether anybody serves a workspace: each server shares a lock with the others, and it dies with the server.

It is a lock of an open file description (fcntl_locking(2)): that can be looked for without being taken, so nobody who
looks keeps a server from having it, or is taken for one.
"""

from __future__ import annotations

import fcntl
import os
import struct
from typing import TYPE_CHECKING

from loopat_jupyter.workspace.locks import is_at
from loopat_jupyter.workspace.paths import make_private

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_FLOCK = struct.Struct("hhqqi4x")
"""`struct flock`: type, whence, start, length, process; of a whole file all but the type are zero."""


class Serving:
    """The part of one server in the lock of a workspace."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def hold(self, workspace: Workspace) -> None:
        """Serve a workspace from now on; do so again and again, for the runtime directory may be wiped meanwhile.

        Args:
            workspace: Which one.

        Raises:
            EngineUnavailableError: The runtime directory belongs to somebody else or is open to others.
            OSError: The lock cannot be taken.
        """
        path = _path(workspace)
        if self._descriptor is not None and is_at(self._descriptor, path):
            return
        self.let_go()
        make_private(workspace.runtime_root)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, _FLAGS | os.O_CREAT, 0o600)
        self._descriptor = descriptor
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _whole(fcntl.F_RDLCK))

    def let_go(self) -> None:
        """Serve no workspace any more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_served(workspace: Workspace) -> bool:
    """Whether a server serves a workspace: another one than the asking server, if that has let go.

    Args:
        workspace: Which one.

    Raises:
        OSError: Nobody can tell.
    """
    try:
        descriptor = os.open(_path(workspace), _FLAGS)
    except FileNotFoundError:
        return False
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _whole(fcntl.F_WRLCK))
    finally:
        os.close(descriptor)
    kind: int = _FLOCK.unpack(found)[0]
    return kind != fcntl.F_UNLCK


def _path(workspace: Workspace) -> Path:
    return workspace.locks / "servers.lock"


def _whole(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0)
