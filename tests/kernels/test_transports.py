from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import KernelStartError
from loopat_jupyter.kernels.inside import ExecProcess
from loopat_jupyter.kernels.transports import (
    Ends,
    FileSockets,
    PortSockets,
    choose_ports,
    is_socket,
    listening_ports,
    make_keys,
    published_ports,
)
from loopat_jupyter.models import Kernelspec
from loopat_jupyter.sandbox.lifecycle import Running
from loopat_jupyter.sandbox.plan import kernel_ports
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.shares import look_at_share
from loopat_jupyter.workspace.config import Config, KernelsConfig
from tests.fakes import FakeEngine
from tests.jupyter_process import jupyter_server
from tests.kernels.conftest import Place, gone, hears, running_place, small_kernels_in
from tests.kernels.test_keeping import OPTIONS as SERVER_OPTIONS
from tests.kernels.test_keeping import open_session, restarted
from tests.kernels.test_provisioner import WHERE, run, started

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNNING = Running("loopat-x", 1, "image-1", restart_needed=False)
NUMBERS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "hb_port": 4, "control_port": 5}


async def test_files_are_named_alike_on_both_sides() -> None:
    async with FileSockets(Path("/run/x"), "k1").claim(RUNNING) as ends:
        assert ends == Ends(
            {"transport": "ipc", "ip": "/run/x/k1", **NUMBERS}, {"transport": "ipc", "ip": "/loopat/run/k1", **NUMBERS}
        )


@pytest.mark.fault("F19")
@pytest.mark.parametrize(("length", "fits"), [(107, True), (108, False)])
async def test_a_path_that_is_too_long_for_a_socket_is_refused(length: int, fits: bool) -> None:
    folder = Path("/" + "x" * (length - len("//k1-0")))
    claim = FileSockets(folder, "k1").claim(RUNNING)
    if fits:
        async with claim as ends:
            assert ends.host["ip"] == f"{folder}/k1"
    else:
        with pytest.raises(KernelStartError, match="too long a path for sockets"):
            await claim.__aenter__()


def test_a_link_to_a_socket_is_none(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
    (tmp_path / "link").symlink_to(tmp_path / "s")
    (tmp_path / "file").touch()
    names = ["s", "link", "file", "missing"]
    assert [is_socket(str(tmp_path / name)) for name in names] == [True, False, False, False]


def test_published_ports_are_read() -> None:
    text = "40000/tcp -> 127.0.0.1:33517\n40001/tcp -> 127.0.0.1:42183\n53/udp -> 127.0.0.1:1\n"
    assert published_ports(text) == {40000: 33517, 40001: 42183}
    assert published_ports("") == {}


def test_only_listening_ports_count() -> None:
    tables = (
        "  sl  local_address rem_address   st tx_queue\n"
        "   0: 00000000:9C40 00000000:0000 0A 00000000:00000000\n"
        "   1: 0100007F:9C41 0100007F:1234 01 00000000:00000000\n"
        "   0: 00000000000000000000000000000000:9C42 00000000000000000000000000000000:0000 0A 0:0\n"
    )
    assert listening_ports(tables) == {40000, 40002}


def test_ports_are_published_only_where_they_are_needed() -> None:
    assert kernel_ports(Config()) == ()
    over_tcp = Config(kernels=KernelsConfig(transport="tcp", tcp_kernels=2))
    assert kernel_ports(over_tcp) == tuple(range(40_000, 40_010))


def test_ports_are_kept_while_they_are_free() -> None:
    published = {port: port + 1 for port in range(10)}
    assert choose_ports(published, set(), ()) == (0, 1, 2, 3, 4)
    assert choose_ports(published, {1}, ()) == (0, 2, 3, 4, 5)
    assert choose_ports(published, {0}, (4, 5, 6, 7, 8)) == (4, 5, 6, 7, 8)
    assert choose_ports(published, {4}, (4, 5, 6, 7, 8)) == (0, 1, 2, 3, 5)
    assert choose_ports(published, set(range(6)), ()) == ()


async def test_ports_that_something_listens_on_are_seen_from_the_host(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        told = "".join(f"{port}/tcp -> 127.0.0.1:{port}\n" for port in (*range(1, 6), taken))
        engine = FakeEngine(lambda _: Completed(0, told.encode(), ""))
        sockets = PortSockets(engine, tmp_path / "lock", (taken, 1, 2, 3, 4))
        async with sockets.claim(RUNNING._replace(init_pid=os.getpid())):
            assert (sockets.ports, engine.verbs) == ((1, 2, 3, 4, 5), ["port"])


def test_keys_are_only_for_kernels_that_take_them() -> None:
    spec = Kernelspec(name="x", display_name="X", language="x", argv=("x",))
    with pytest.raises(KernelStartError, match="X does not say that it supports encryption"):
        make_keys(spec)


@pytest.fixture(scope="module")
def shared_place_over_ports(sandbox_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A running loop whose kernels are reached over published ports, two at most."""
    config = '[kernels]\ntransport = "tcp"\ntcp_kernels = 2\n'
    with running_place(tmp_path_factory.mktemp("ports"), sandbox_image, config=config) as place:
        yield place


@pytest.fixture
def place_over_ports(shared_place_over_ports: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The shared loop, in an environment in which clients find it; nothing runs in it."""
    for name, value in shared_place_over_ports.environ.items():
        monkeypatch.setenv(name, value)
    shared_place_over_ports.end_all()
    return shared_place_over_ports


@pytest.fixture
def small_kernels(place_over_ports: Place) -> Iterator[None]:
    with small_kernels_in(place_over_ports):
        yield


@pytest.mark.podman
async def test_kernels_over_published_ports(place_over_ports: Place) -> None:
    place, host = place_over_ports, f"loop-{place_over_ports.record.id[:8]}"
    async with contextlib.AsyncExitStack() as kernels:
        one = await kernels.enter_async_context(started(kernel_name=place.kernel_name))
        # Those after the first need no IPython.
        kernels.enter_context(small_kernels_in(place))
        other = await kernels.enter_async_context(started(kernel_name=place.kernel_name))
        for manager, client in (one, other):
            assert host in await run(client, WHERE)
            assert (manager.transport, manager.ip) == ("tcp", "127.0.0.1")
            assert manager.curve_secretkey is not None
        ports = one[0].ports
        assert not set(ports) & set(other[0].ports)
        assert not any(reachable(port) for port in ports)
        # What kernels open for themselves is nothing to share.
        assert (await look_at_share(place.manager, place.record)).listening == ()

        with pytest.raises(Exception, match="All ports for kernels of this loop are in use"):
            await asyncio.wait_for(started(kernel_name=place.kernel_name).__aenter__(), 60)

        await one[0].restart_kernel(now=True)
        await hears(one[1])
        assert one[0].ports == ports
    assert place.run_files() == []
    assert place.processes() == []


@pytest.mark.podman
@pytest.mark.usefixtures("small_kernels")
async def test_a_kernel_over_published_ports_outlives_its_server(place_over_ports: Place, tmp_path: Path) -> None:
    place = place_over_ports
    environ = {name: value for name, value in place.environ.items() if not name.startswith("JUPYTER_")}
    async with jupyter_server(tmp_path / "server", place.workdir, environ, *SERVER_OPTIONS) as server:
        kernel_id = (await open_session(server))["kernel"]["id"]
        async with server.kernel(kernel_id) as kernel:
            await kernel.run("left = 41")
        refused = await server.api("DELETE", f"loopat/api/loops/{place.record.id}")
        assert (refused.status, "has its root folder in this loop" in refused.body["message"]) == (409, True)
        server.process.kill()
        await server.process.wait()
    async with jupyter_server(tmp_path / "server", place.workdir, environ, *SERVER_OPTIONS) as server:
        async with server.kernel(kernel_id) as kernel:
            assert (await kernel.run("print(left + 1)")).text == "42\n"
        # The same ports, so that whoever is connected stays connected.
        assert (await restarted(server, kernel_id, "print('left' in globals())")).text == "False\n"
        await server.api("DELETE", f"api/kernels/{kernel_id}")
    assert place.processes() == []


@pytest.mark.podman
@pytest.mark.usefixtures("small_kernels")
async def test_ports_and_processes_out_of_the_hosts_sight_are_reached_through_podman(
    place_over_ports: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_over_ports
    monkeypatch.setattr("loopat_jupyter.sandbox.process.find_process", lambda *_: None)
    monkeypatch.setattr("loopat_jupyter.kernels.transports.tables_of", lambda _: "")
    async with started(kernel_name=place.kernel_name) as (manager, client):
        assert isinstance(manager.provisioner._kernel.process, ExecProcess)
        cell = asyncio.ensure_future(run(client, "import subprocess; subprocess.run(['sleep', '602'])"))
        await place.wait_for_command("sleep", "602")
        await manager.interrupt_kernel()
        assert "KeyboardInterrupt" in await asyncio.wait_for(cell, 30)
        await run(client, "child = subprocess.Popen(['sleep', '603'], start_new_session=True)")
        child = await place.wait_for_command("sleep", "603")
        assert await manager.is_alive()
        await manager.provisioner.terminate()
        await asyncio.wait_for(manager.provisioner.wait(), 30)
        await gone(child)
        assert not await manager.is_alive()
    assert place.processes() == []


def reachable(port: int) -> bool:
    """Whether a port of the host answers from outside: on another address than the loopback's usual one."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.2", port)) == 0
