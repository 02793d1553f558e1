from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

from loopat_jupyter.sharing.ports import Socket, address_of, listening, parse_addresses, parse_table, used_ports
from loopat_jupyter.values import ListeningPort

if TYPE_CHECKING:
    from pathlib import Path

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0 0 10 0
   1: 0302590A:D431 0102590A:0016 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0 100 0 0 10 0
"""
TABLE6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   1: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   2: 000080FE000000000000000001000000:0052 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
"""
ROUTES = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.89.2.0
        /24 link UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 10.89.2.0/24 2 0 2
        |-- 10.89.2.3
           /32 host LOCAL
        |-- 10.89.2.255
           /32 link BROADCAST
"""


def test_tables_of_the_kernel_are_understood():
    assert list(parse_table(TABLE)) == [
        Socket(ip_address("127.0.0.1"), 8080, "0A"),
        Socket(ip_address("10.89.2.3"), 54321, "01"),
    ]
    assert list(parse_table(TABLE6)) == [
        Socket(ip_address("::1"), 80, "0A"),
        Socket(ip_address("127.0.0.1"), 81, "0A"),
        Socket(ip_address("fe80::1"), 82, "0A"),
    ]
    assert list(parse_table("")) == []


def test_the_own_address_is_found():
    assert parse_addresses(ROUTES) == "10.89.2.3"
    assert parse_addresses("") is None


def test_who_waits_takes_a_port_and_who_only_talks_does_not(tmp_path: Path):
    tmp_path.joinpath("tcp").write_text(TABLE)
    tmp_path.joinpath("udp6").write_text(TABLE6.replace(" 0A ", " 07 "))
    assert used_ports(tmp_path) == {8080, 80, 81, 82}


def test_real_sockets_are_seen():
    with (
        socket.create_server(("127.0.0.1", 0)) as loopback,
        socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as everywhere,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as silent,
    ):
        datagrams.bind(("::1", 0))
        silent.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in (loopback, everywhere, datagrams)]
        assert used_ports() >= set(ports)
        assert set(listening(os.getpid())) >= {
            ListeningPort(port=ports[0], protocol="tcp", reachable=False),
            ListeningPort(port=ports[1], protocol="tcp", reachable=True),
            ListeningPort(port=ports[2], protocol="udp", reachable=False),
        }
        assert silent.getsockname()[1] not in {found.port for found in listening(os.getpid())}


def test_what_is_asked_by_ipv4_alone_is_not_reached_at_an_address_of_ipv6():
    sockets = (*parse_table(TABLE), *parse_table(TABLE6), Socket(ip_address("::"), 83, "0A"))
    assert {each.port: each.reachable for each in sockets} == {
        8080: False,
        54321: True,
        80: False,
        81: False,
        82: False,
        83: True,
    }


def test_nothing_listens_in_what_has_ended():
    assert listening(2**22 + 1) == ()
    assert address_of(2**22 + 1) is None
