"""Sockets that programs of ours open inside, in the folder that host and sandbox share."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def connect(path: Path) -> socket.socket | None:
    """Connect to who listens inside; None while, or because, nobody does.

    What runs inside can put a link in the socket's place that leads to a socket of the host: it is not followed.

    Args:
        path: The socket, in a folder that a sandbox can write.
    """
    try:
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise ConnectionRefusedError
        # By its descriptor, so that it is the very file that was looked at; a path of any length will do.
        connection.connect(f"/proc/self/fd/{descriptor}")
    except OSError:
        connection.close()
        return None
    finally:
        os.close(descriptor)
    return connection
