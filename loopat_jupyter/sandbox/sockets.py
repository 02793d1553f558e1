"""Sockets that programs in containers of ours open, in a folder that the host shares with the container."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def address_of(path: Path) -> Iterator[str]:
    """Where to connect to the socket at a path, for as long as the block lasts.

    What runs in the container can put a link in the socket's place that leads to a socket of the host: it is not
    followed.

    Args:
        path: The socket, in a folder that a container can write.

    Raises:
        OSError: There is no socket.
    """
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise ConnectionRefusedError
        # By its descriptor, so that it is the very file that was looked at; a path of any length will do.
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def connect(path: Path) -> socket.socket | None:
    """Connect to who listens inside; None while, or because, nobody does.

    Args:
        path: The socket, in a folder that a sandbox can write.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with address_of(path) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        return None
    return connection
