"""The port of the host for what goes by host name: taken here, and handed to the edge while it listens already."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING

from loopat_jupyter.errors import BadInputError, ConflictError
from loopat_jupyter.sharing.plan import NEXT_PORTS
from loopat_jupyter.sharing.ports import used_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

_BACKLOG = 4096
"""How many connections may wait to be accepted, as where podman publishes a port."""

_FREE_LOOKS = 100
"""How often to look whether the process that held a removed container's ports has ended."""

_POLL_S = 0.02


def take_port(host: str, ports: Iterable[int]) -> socket.socket:
    """Listen on the first port of the host that is free, in its own network.

    Args:
        host: IPv4 or IPv6 address; `::` is every address of both.
        ports: In this order.

    Raises:
        BadInputError: Nobody can listen there; names the key of the configuration.
        ConflictError: All of them are taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    for port in ports:
        try:
            listener = socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
        except PermissionError:
            raise BadInputError("share.port", f"{port} is kept for root on this machine; choose a higher one") from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise BadInputError("share.host", f"nobody can listen at {host!r} here: {error.strerror}") from error
        else:
            # nginx expects it, and would otherwise wait for a visitor whom another of its processes has served.
            listener.settimeout(0)
            return listener
    raise ConflictError(f"share.port and the next {NEXT_PORTS} ports are taken. Set share.port to a free one.")


@contextlib.asynccontextmanager
async def giving(listener: socket.socket, path: Path) -> AsyncIterator[None]:
    """Hand a socket over to whoever connects, and close it here at the end: it goes when the last who has it goes.

    Args:
        listener: The socket.
        path: Where to connect.
    """
    with listener, _door(path) as door:
        task = asyncio.create_task(_give(listener, door))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _door(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    with contextlib.ExitStack() as unless_ready:
        door = unless_ready.enter_context(socket.socket(socket.AF_UNIX))
        door.bind(str(path))
        door.listen()
        door.settimeout(0)
        unless_ready.pop_all()
    return door


async def _give(listener: socket.socket, door: socket.socket) -> None:
    while True:
        taker, _ = await asyncio.get_running_loop().sock_accept(door)
        with taker, contextlib.suppress(OSError):
            socket.send_fds(taker, [b"."], [listener.fileno()])


async def until_free(ports: frozenset[int]) -> None:
    """Wait a moment until nobody has these ports any more.

    Args:
        ports: Those of a container that was removed.
    """
    for _ in range(_FREE_LOOKS):
        if not ports & await asyncio.to_thread(used_ports):
            break
        await asyncio.sleep(_POLL_S)
