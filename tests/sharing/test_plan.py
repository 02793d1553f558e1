from __future__ import annotations

import datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopat_jupyter.models import LoopRecord
from loopat_jupyter.sharing.plan import (
    EdgeSpec,
    Showing,
    Site,
    Stream,
    assign_ports,
    choose_ports,
    edge_argv,
    edge_folder,
    edge_hash,
    files_argv,
    files_hash,
    is_shown,
    needed_by,
    plan_edge,
    plan_sites,
    plan_streams,
    web_ports,
)
from loopat_jupyter.values import Share
from loopat_jupyter.workspace.config import ShareConfig
from loopat_jupyter.workspace.paths import Workspace

ID = "12345678-0000-4000-8000-00000000000{}"
WORKSPACE = Workspace(Path("/home/ada/work,space"), Path("/run/user/1000/loopat"))
SPEC = EdgeSpec(
    workspace="work", name="loopat-work-edge", network="loopat-work", image="localhost/loopat-edge-1:latest",
    host="127.0.0.1", port=7788, range=(7800, 7801), conf="/run/edge/conf", run="/run/edge/run",
)  # fmt: skip


def record(number: int = 1, **share: object) -> LoopRecord:
    return LoopRecord(
        id=ID.format(number),
        title="A",
        slug="a",
        created_at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        created_by="ada",
        share=Share(**share),
    )


COMMON = (
    "--userns=keep-id:uid=2000,gid=2000", "--user=2000:2000", "--cap-drop=all", "--security-opt=no-new-privileges",
    "--security-opt=label=disable", "--read-only", "--tmpfs=/tmp:rw,mode=1777", "--http-proxy=false",
    "--log-driver=none",
)  # fmt: skip


def test_the_whole_command_of_the_edge():
    showing = Showing(web_port=7789, direct_ports=frozenset((7801, 7800)))
    assert edge_argv(SPEC, showing, pidfile=Path("/run/edge/pids/edge")) == (
        "run", "--detach", "--pull=never", "--name=loopat-work-edge",
        "--label=loopat.workspace=work", "--label=loopat.share=edge", f"--label=loopat.config-hash={edge_hash(SPEC)}",
        *COMMON,
        "--pidfile=/run/edge/pids/edge", "--network=loopat-work",
        "--label=loopat.web-port=7789",
        "--publish=127.0.0.1:7800:7800/tcp", "--publish=127.0.0.1:7800:7800/udp",
        "--publish=127.0.0.1:7801:7801/tcp", "--publish=127.0.0.1:7801:7801/udp",
        "--mount=type=bind,source=/run/edge/conf,target=/loopat/edge/conf,ro=true",
        "--mount=type=bind,source=/run/edge/run,target=/loopat/edge/run",
        "localhost/loopat-edge-1:latest", "/loopat/edge/conf/nginx.conf", "/loopat/edge/run",
    )  # fmt: skip


def test_an_address_of_ipv6_is_written_in_brackets():
    spec = msgspec.structs.replace(SPEC, host="::1")
    argv = edge_argv(spec, Showing(web_port=1, direct_ports=frozenset((2,))), pidfile=Path("/p"))
    assert "--publish=[::1]:2:2/tcp" in argv


def test_the_whole_command_of_a_server_of_files():
    loop, name = ID.format(1), WORKSPACE.name
    assert files_argv(WORKSPACE, loop, SPEC, pidfile=Path("/run/p")) == (
        "run", "--detach", "--pull=never", f"--name=loopat-{name}-files-123456780000",
        f"--label=loopat.workspace={name}", f"--label=loopat.share={loop}",
        f"--label=loopat.config-hash={files_hash(WORKSPACE, loop, SPEC)}",
        *COMMON,
        "--pidfile=/run/p", "--network=loopat-work",
        f'--mount=type=bind,"source=/home/ada/work,space/loops/{loop}/workdir",target=/srv/workdir,ro=true',
        "localhost/loopat-edge-1:latest", "/etc/loopat/static.conf",
    )  # fmt: skip


def test_the_edge_follows_the_settings():
    config = ShareConfig(host="0.0.0.0", port=80, port_range="7800-7809")
    assert plan_edge(WORKSPACE, config, "net", "image") == EdgeSpec(
        workspace=WORKSPACE.name, name=f"loopat-{WORKSPACE.name}-edge", network="net", image="image", host="0.0.0.0",
        port=80, range=(7800, 7809), conf=str(edge_folder(WORKSPACE) / "conf"), run=str(edge_folder(WORKSPACE) / "run"),
    )  # fmt: skip


@pytest.mark.parametrize("change", [{"host": "0.0.0.0"}, {"port": 1}, {"range": (1, 2)}, {"image": "x"}, {"conf": "x"}])
def test_whatever_shapes_the_edge_changes_its_hash(change: dict[str, object]):
    assert edge_hash(msgspec.structs.replace(SPEC, **change)) != edge_hash(SPEC)


def test_what_goes_where():
    records = [
        record(1, mode="port", port=8000, alias="bikes"),
        record(2, mode="static"),
        record(3, mode="direct", port=53, protocol="udp", public_port=7800),
        record(4, mode="direct", port=22, public_port=7801),
        record(5, mode="direct", port=22),
        record(6, mode="ephemeral", port=22),
        record(7, mode="port", port=1, alias="stopped"),
    ]
    addresses = {ID.format(number): f"10.0.0.{number}" for number in (1, 2, 3, 4, 5, 6)}
    assert plan_sites(records, ShareConfig(domain="example.org"), addresses) == (
        Site(host="12345678.example.org", upstream="10.0.0.2:8080"),
        Site(host="bikes.example.org", upstream="10.0.0.1:8000"),
        Site(host="stopped.example.org", upstream=None),
    )
    assert plan_streams(records, addresses) == (
        Stream(public_port=7800, protocol="udp", upstream="10.0.0.3:53"),
        Stream(public_port=7801, protocol="tcp", upstream="10.0.0.4:22"),
    )
    assert plan_streams(records, {}) == ()


def test_what_is_needed():
    shown = [record(1, mode="port", port=1), record(2, mode="static")]
    assert needed_by([]) == frozenset()
    assert needed_by(shown[:1]) == {"edge"}
    assert needed_by(shown) == {"edge", ID.format(2)}
    assert [is_shown(record(mode=mode)) for mode in ("off", "static", "port", "direct", "ephemeral")] == [
        False, True, True, True, False,
    ]  # fmt: skip
    assert not is_shown(msgspec.structs.replace(shown[0], archived=True))


def test_ports_that_others_have_are_left_out():
    spec = msgspec.structs.replace(SPEC, range=(7789, 7792))
    assert web_ports(spec, frozenset())[:2] == (7788, 7793)
    assert web_ports(spec, frozenset((7788, 7790)))[:2] == (7793, 7794)
    assert web_ports(SPEC, frozenset(range(7788, 7888))) == ()
    assert web_ports(msgspec.structs.replace(SPEC, port=65535), frozenset()) == (65535,)
    assert choose_ports(spec, 7793, frozenset((7788, 7790))) == Showing(
        web_port=7793, direct_ports=frozenset((7789, 7791, 7792))
    )
    inside = msgspec.structs.replace(SPEC, range=(7780, 7790))
    assert choose_ports(inside, 7788, frozenset()).direct_ports == frozenset(range(7780, 7791)) - {7788}


@given(
    st.lists(st.one_of(st.none(), st.integers(7790, 7810)), max_size=9),
    st.frozensets(st.integers(7795, 7805)),
)
def test_everybody_gets_a_port_of_their_own_and_who_can_keeps_theirs(wanted: list[int | None], ports: frozenset[int]):
    records = [record(number, mode="direct", port=1, public_port=port) for number, port in enumerate(wanted)]
    given_ports = assign_ports(records, ports)
    had = [port for port in given_ports.values() if port is not None]
    assert len(set(had)) == len(had) == min(len(ports), len(records))
    assert set(had) <= ports
    for port in set(wanted) & ports:
        first = wanted.index(port)
        assert given_ports[ID.format(first)] == port
    assert assign_ports([record(1, mode="static")], ports) == {}
