"""Which ports are taken on the host, what listens inside a loop, and its address; read from the kernel's tables."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.values import ListeningPort

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.values import Protocol

_TABLES: tuple[tuple[str, Protocol], ...] = (("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp"))
_OWN_ADDRESS = re.compile(r"-- ([0-9.]+)\n\s+/32 host LOCAL")
_LISTEN, _UNCONNECTED = "0A", "07"
"""States of a TCP socket that waits for connections and of a UDP socket without a peer (net/tcp_states.h)."""


class Socket(NamedTuple):
    """One line of a socket table (proc_net_tcp(5)).

    Attributes:
        address: The local one.
        port: The local one.
        state: As the kernel writes it.
    """

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    state: str

    @property
    def reachable(self) -> bool:
        """Whether somebody outside may reach it, who asks by IPv4."""
        return self.address.is_unspecified or (self.address.version == 4 and not self.address.is_loopback)


def parse_table(text: str) -> Iterator[Socket]:
    """The sockets of a table such as `/proc/net/tcp`.

    Args:
        text: The whole table.
    """
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3:
            address, _, port = fields[1].partition(":")
            yield Socket(_address(address), int(port, 16), fields[3])


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel prints it: words of 32 bits in the byte order of the machine, which is little-endian."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    found = ipaddress.ip_address(b"".join(words))
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def used_ports(net: Path = Path("/proc/net")) -> frozenset[int]:
    """Ports of the host that anybody listens on or has bound, for TCP or UDP, at whatever address.

    Args:
        net: The tables of a network namespace.
    """
    # What is left of closed TCP connections keeps nobody from listening on their port.
    return frozenset(
        socket.port
        for name, protocol in _TABLES
        for socket in parse_table(_read(net / name))
        if protocol == "udp" or socket.state == _LISTEN
    )


def listening(init_pid: int) -> tuple[ListeningPort, ...]:
    """What listens inside a loop, by port.

    Args:
        init_pid: Its init process on the host; of one that ended, nothing listens.
    """
    found: dict[tuple[int, Protocol], bool] = {}
    for name, protocol in _TABLES:
        for socket in parse_table(_read(Path(f"/proc/{init_pid}/net") / name)):
            if socket.state == (_LISTEN if protocol == "tcp" else _UNCONNECTED):
                key = (socket.port, protocol)
                found[key] = found.get(key, False) or socket.reachable
    return tuple(
        ListeningPort(port=port, protocol=protocol, reachable=reachable)
        for (port, protocol), reachable in sorted(found.items())
    )


def address_of(init_pid: int) -> str | None:
    """The address of a container in the network of the workspace; None where it has none, or does not run.

    Args:
        init_pid: Its init process on the host.
    """
    return parse_addresses(_read(Path(f"/proc/{init_pid}/net/fib_trie")))


def parse_addresses(text: str) -> str | None:
    """The first own address in a routing table as the kernel prints it, but the loopback.

    Args:
        text: The whole of `/proc/net/fib_trie`.
    """
    found = (match[1] for match in _OWN_ADDRESS.finditer(text))
    return next((address for address in found if not ipaddress.ip_address(address).is_loopback), None)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
