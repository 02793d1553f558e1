"""The port for what goes by host name, on real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from loopat_jupyter.errors import BadInputError, ConflictError
from loopat_jupyter.sharing.listener import giving, take_port, until_free


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


@pytest.mark.fault("F18")
def test_the_first_free_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as other, take_port("127.0.0.1", [0]) as first:
        taken, free = other.getsockname()[1], free_port()
        assert not os.get_blocking(first.fileno())
        with take_port("127.0.0.1", (taken, free)) as found:
            assert found.getsockname() == ("127.0.0.1", free)
        # Nothing holds it longer than the socket lives.
        take_port("127.0.0.1", (free,)).close()
        with pytest.raises(ConflictError, match=r"Set share\.port"):
            take_port("127.0.0.1", (taken,))


@pytest.mark.parametrize(
    ("host", "clients"), [("0.0.0.0", ("127.0.0.1",)), ("::1", ("::1",)), ("::", ("::1", "127.0.0.1"))]
)
def test_every_address_that_can_be_configured(host: str, clients: tuple[str, ...]):
    with take_port(host, [0]) as found:
        for client in clients:
            socket.create_connection((client, found.getsockname()[1])).close()


def test_what_nobody_can_listen_on_names_the_setting():
    with pytest.raises(BadInputError, match=r"^share\.host: nobody can listen at '192\.0\.2\.1' here: Cannot assign"):
        take_port("192.0.2.1", [free_port()])
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    with pytest.raises(BadInputError, match=r"^share\.port: .* higher"):
        take_port("127.0.0.1", [first - 1])


async def test_a_socket_goes_to_who_asks_and_is_closed_here(tmp_path: Path):
    path = tmp_path / "give.sock"
    path.write_text("left there by somebody who was killed")
    listener = take_port("127.0.0.1", [0])
    port = listener.getsockname()[1]
    async with giving(listener, path):
        for _ in range(2):
            reader, writer = await asyncio.open_unix_connection(str(path))
            with pytest.raises(asyncio.IncompleteReadError):
                await reader.readexactly(2)
            writer.close()
        with socket.socket(socket.AF_UNIX) as taker:
            await asyncio.to_thread(taker.connect, str(path))
            _, descriptors, _, _ = await asyncio.to_thread(socket.recv_fds, taker, 1, 1)
    assert listener.fileno() == -1
    with socket.socket(fileno=descriptors[0]) as taken:
        assert taken.getsockname() == ("127.0.0.1", port)
        socket.create_connection(("127.0.0.1", port)).close()
    await until_free(frozenset((port,)))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
