"""Kernels of loops outlive the Jupyter server: killed, or ended as it should be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.manager import AsyncKernelManager

from loopat_jupyter.kernels import launch
from loopat_jupyter.kernels.keeping import KernelKeeper
from loopat_jupyter.kernels.launch import SandboxKernel
from loopat_jupyter.kernels.mapping import LoopMappingKernelManager
from loopat_jupyter.sandbox.owners import own
from loopat_jupyter.workspace.kept import Kept, folder
from tests.jupyter_process import Kernel, Result, Server, jupyter_server
from tests.kernels.conftest import gone, hears
from tests.kernels.test_provisioner import held_processes, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kernels.conftest import Place

pytestmark = pytest.mark.podman

OPTIONS = (
    "--KernelProvisionerFactory.default_provisioner_name=loopat-provisioner",
    "--ServerApp.kernel_manager_class=loopat_jupyter.kernels.mapping.LoopMappingKernelManager",
    "--ServerApp.session_manager_class=loopat_jupyter.kernels.sessions.LoopSessionManager",
)


class Home:
    """Servers of one person, one after the other or side by side, on the shared loop."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place, self.folder = place, folder

    def server(self, name: str = "server", root: Path | None = None, *more: str) -> Any:
        environ = {name: value for name, value in self.place.environ.items() if name != "JUPYTER_RUNTIME_DIR"}
        return jupyter_server(self.folder / name, root or self.place.workdir, environ, *OPTIONS, *more)

    def records(self) -> list[str]:
        kept = folder(self.place.manager.workspace, self.place.record.id)
        return sorted(path.name for path in kept.glob("*")) if kept.exists() else []


@pytest.fixture
def home(place: Place, tmp_path: Path) -> Home:
    for name in ("server", "other"):
        (tmp_path / name).mkdir()
    return Home(place, tmp_path)


async def kill(server: Server) -> None:
    server.process.kill()
    await server.process.wait()


async def open_session(server: Server, path: str = "a.ipynb") -> dict[str, Any]:
    model = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
    answer = await server.api("POST", "api/sessions", model)
    assert answer.status == 201, server.log.read_text()
    return answer.body


async def sessions(server: Server) -> list[tuple[str, str, str]]:
    listed = (await server.api("GET", "api/sessions")).body
    return [(session["id"], session["path"], session["kernel"]["id"]) for session in listed]


async def kernels(server: Server) -> list[str]:
    return [model["id"] for model in (await server.api("GET", "api/kernels")).body]


async def restarted(server: Server, kernel_id: str, code: str) -> Result:
    """Restart a kernel and run code in it over a new websocket, as JupyterLab does.

    An old one reconnects to the kernel's output in its own time, and does not hear what is printed until then.
    """
    await server.api("POST", f"api/kernels/{kernel_id}/restart")
    async with server.kernel(kernel_id) as kernel:
        return await kernel.run(code)


async def first_answer(kernel: Kernel, code: str) -> str:
    """What a kernel prints that is just being restarted.

    What is sent too early goes to the one that died, and what it prints is heard once its output is connected.
    """
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(TimeoutError):
                if text := (await asyncio.wait_for(kernel.run(code), 0.5)).text:
                    return text


@pytest.mark.fault("F1")
async def test_the_next_server_has_the_same_kernels_and_sessions(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "sings")
    async with home.server() as server:
        session = await open_session(server)
        kernel_id = session["kernel"]["id"]
        # The record is for this user alone and holds no environment.
        kept = folder(home.place.manager.workspace, home.place.record.id)
        (record,) = kept.glob("*.json")
        assert (record.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == (0o600, 0o700)
        assert list(json.loads(record.read_bytes())["env"]) == ["JPY_SESSION_NAME"]
        async with server.kernel(kernel_id) as kernel:
            await kernel.run("import os; left = 20; pid = os.getpid()")
        await kill(server)
    async with home.server() as server:
        await has_the_same(server, session, left=21)
        server.process.terminate()
        assert await server.process.wait() == 0
        assert "1 kernel in loops goes on" in server.log.read_text()
    async with home.server() as server:
        await has_the_same(server, session, left=22)
        # An existing session is found by its path: no second kernel.
        assert (await open_session(server))["kernel"]["id"] == kernel_id
        assert len(home.place.processes()) == 1
        # The person can still end it.
        assert (await server.api("DELETE", f"api/sessions/{session['id']}")).status == 204
        assert (await kernels(server), home.place.processes(), home.records()) == ([], [], [])
    assert home.place.run_files() == []


async def has_the_same(server: Server, session: dict[str, Any], left: int) -> None:
    """Check that a server has that session alone, and that its kernel counts on."""
    kernel_id = session["kernel"]["id"]
    assert await sessions(server) == [(session["id"], "a.ipynb", kernel_id)]
    async with server.kernel(kernel_id) as kernel:
        result = await kernel.run("left += 1; print(left, pid == os.getpid())")
    assert (result.text, result.content["execution_count"]) == (f"{left} True\n", left - 19)


@pytest.mark.usefixtures("small_kernels")
async def test_a_table_of_sessions_in_a_file_has_each_of_them_once(home: Home, tmp_path: Path) -> None:
    option = f"--SessionManager.database_filepath={tmp_path / 'sessions.sqlite'}"
    async with home.server("server", None, option) as server:
        opened = [await open_session(server, path) for path in ("a.ipynb", "b.ipynb")]
        # Two notebooks of one kernel.
        shared = {"path": "c.ipynb", "name": "c", "type": "notebook", "kernel": {"id": opened[0]["kernel"]["id"]}}
        opened.append((await server.api("POST", "api/sessions", shared)).body)
        before = sorted(await sessions(server))
        assert len(before) == len(opened)
        await kill(server)
    # What a server wrote that had a session twice.
    kept = folder(home.place.manager.workspace, home.place.record.id)
    record = kept / f"k-{opened[1]['kernel']['id']}.json"
    content = json.loads(record.read_bytes())
    record.write_text(json.dumps({**content, "sessions": content["sessions"] * 2}))
    for _ in range(2):
        async with home.server("server", None, option) as server:
            assert sorted(await sessions(server)) == before
            await kill(server)
    async with home.server("server", None, option) as server:
        for session in opened[:2]:
            await server.api("DELETE", f"api/kernels/{session['kernel']['id']}")


@pytest.mark.usefixtures("small_kernels")
async def test_a_found_kernel_is_interrupted_restarted_and_revived(home: Home) -> None:
    async with home.server() as server:
        kernel_id = (await open_session(server))["kernel"]["id"]
        await kill(server)
    async with home.server() as server, server.kernel(kernel_id) as kernel:
        endless = kernel.submit("import time\nwhile True: time.sleep(0.01)")
        async for message in kernel.messages():
            if message["msg_type"] == "execute_input":
                break
        await server.api("POST", f"api/kernels/{kernel_id}/interrupt")
        assert "KeyboardInterrupt" in (await kernel.result(endless)).text
        await kernel.run("left = 1")
        result = await restarted(
            server, kernel_id, "import os; print('left' in globals(), os.getcwd(), os.environ['JPY_SESSION_NAME'])"
        )
        inside = f"/loopat/loop/{home.place.record.id}/workdir"
        assert result.text == f"False {inside} {inside}/a.ipynb\n"
        (before,) = home.place.processes()
        os.kill(before, signal.SIGKILL)
        async for message in kernel.messages():
            if message["content"].get("execution_state") == "restarting":
                break
        assert (await first_answer(kernel, "print('left' in globals())")) == "False\n"
        await kill(server)
    async with home.server() as server, server.kernel(kernel_id) as kernel:
        # What was restarted is found again as well.
        assert (await kernel.run("print(1)")).text == "1\n"
        await server.api("DELETE", f"api/kernels/{kernel_id}")


@pytest.mark.fault("F1")
@pytest.mark.usefixtures("small_kernels")
async def test_a_kernel_has_one_server_at_a_time(home: Home, tmp_path: Path) -> None:
    async with home.server() as first:
        session = await open_session(first)
        kernel_id = session["kernel"]["id"]
        async with home.server("other", root=tmp_path) as second:
            assert await kernels(second) == []
        assert await kernels(first) == [kernel_id]
        await kill(first)
        async with home.server("other", root=tmp_path) as third:
            # The path of the session means nothing below another root, so only the kernel is there.
            assert (await kernels(third), await sessions(third)) == ([kernel_id], [])
            await third.api("DELETE", f"api/kernels/{kernel_id}")


@pytest.mark.usefixtures("small_kernels")
async def test_the_next_server_finds_the_busy_not_the_dead_and_no_nonsense(home: Home) -> None:
    async with home.server() as server:
        session, dead = await open_session(server), await open_session(server, "dead.ipynb")
        kernel_id = session["kernel"]["id"]
        moved = {"path": "sub/b.ipynb", "name": "b.ipynb"}
        assert (await server.api("PATCH", f"api/sessions/{session['id']}", moved)).status == 200
        async with server.kernel(kernel_id) as kernel:
            kernel.submit("import os, time\nprint('begun')\nwhile not os.path.exists('go'): time.sleep(0.01)")
            async for message in kernel.messages():
                if message["msg_type"] == "stream":
                    break
        await kill(server)
    kept = folder(home.place.manager.workspace, home.place.record.id)
    good, of_dead = (json.loads((kept / f"k-{found}.json").read_bytes()) for found in (kernel_id, dead["kernel"]["id"]))
    os.kill(of_dead["info"]["pid"], signal.SIGKILL)
    await gone(of_dead["info"]["pid"])
    nonsense = {
        "cut-off": b'{"kernel_name": 3',
        "empty": b"",
        "of-others": json.dumps({**good, "connection": {**good["connection"], "transport": 5}}).encode(),
        "without-stem": json.dumps({**good, "info": {"pid": 1}}).encode(),
    }
    for name, data in nonsense.items():
        (kept / f"k-0{name}.json").write_bytes(data)
    (kept / "k-0folder.json").mkdir()
    aside = sorted(f"k-0{name}.unreadable" for name in (*nonsense, "folder"))
    async with home.server() as server:
        # The one at work is busy until it is not, and its notebook is where it went.
        assert await sessions(server) == [(session["id"], "sub/b.ipynb", kernel_id)]
        assert (await server.api("GET", f"api/kernels/{kernel_id}")).body["execution_state"] == "busy"
        (home.place.workdir / "go").touch()
        async with asyncio.timeout(60):
            while (await server.api("GET", f"api/kernels/{kernel_id}")).body["execution_state"] != "idle":
                await asyncio.sleep(0.02)
        # The one that died meanwhile is gone with its session: its notebook gets another.
        assert await kernels(server) == [kernel_id]
        log = server.log.read_text()
        assert "ended while no server ran" in log
        again = (await open_session(server, "dead.ipynb"))["kernel"]["id"]
        assert again != dead["kernel"]["id"]
        # Records that make no sense are set aside, and named.
        assert [name for name in home.records() if name.endswith(".unreadable")] == aside
        assert [name for name in aside if name not in log] == []
        for found in (kernel_id, again):
            await server.api("DELETE", f"api/kernels/{found}")
    for path in kept.glob("*.unreadable"):
        path.rmdir() if path.is_dir() else path.unlink()
    (home.place.workdir / "go").unlink()
    assert (home.records(), home.place.run_files()) == ([], [])


@pytest.mark.usefixtures("small_kernels")
async def test_a_kernel_of_another_program_is_not_taken_over(home: Home) -> None:
    async with started(kernel_name=home.place.kernel_name) as (_, client):
        async with home.server() as server:
            assert (await kernels(server), home.records()) == ([], [])
        await hears(client)


@pytest.fixture
async def stopping(home: Home) -> AsyncIterator[Home]:
    """A home whose servers stop sandboxes when they end."""
    settings = home.place.manager.workspace.config_file
    before = settings.read_text()
    settings.write_text(before + 'on_shutdown = "stop"\n')
    yield home
    settings.write_text(before)
    await home.place.manager.start(home.place.record)


@pytest.mark.usefixtures("small_kernels")
async def test_nothing_stays_where_the_sandbox_is_to_stop(stopping: Home) -> None:
    async with stopping.server() as server:
        await open_session(server)
        server.process.terminate()
        assert await server.process.wait() == 0
    assert stopping.records() == []
    place = stopping.place
    assert (await place.manager.sandboxes.status(place.record)).state == "stopped"


@pytest.mark.usefixtures("small_kernels")
async def test_a_server_that_ends_and_is_to_stop_all_leaves_the_kernels_of_another_one(stopping: Home) -> None:
    place = stopping.place
    files = place.manager.sandboxes.state_files(place.record.id)
    async with stopping.server() as going, stopping.server("other") as staying:
        await open_session(going)
        kernel_id = (await open_session(staying))["kernel"]["id"]
        pid = files.running().pid
        going.process.terminate()
        assert await going.process.wait() == 0
        assert await kernels(staying) == [kernel_id]
        assert len(place.processes()) == 1
        assert files.running().pid == pid
    assert (await place.manager.sandboxes.status(place.record)).state == "stopped"


def kernel_of(place: Place) -> SandboxKernel:
    """A kernel of this process, whose process is this very one."""
    kernel = SandboxKernel(place.manager, launch.Place(place.record.id, "python3", Path()))
    own(kernel._stem)
    kernel.process = SimpleNamespace(pid=os.getpid(), close=lambda: None)
    return kernel


def belongs_to_this_process(kernel: SandboxKernel) -> bool:
    return (kernel.manager.workspace.host(kernel.place.loop_id) / "owners" / kernel._stem.name).exists()


def test_a_kernel_that_cannot_be_written_down_ends_with_its_server(place: Place) -> None:
    kernel, log = kernel_of(place), logging.getLogger()
    km = AsyncKernelManager(kernel_name="python3")
    km.kernel_id, km._launch_args = "x", {}
    keeper = KernelKeeper(SimpleNamespace(log=log, root_dir="/"))
    # Another server has one of this id.
    other = Kept("k")
    assert other.keep(place.manager.workspace, place.record.id, "x", b"")
    keeper.started(km, kernel)
    assert belongs_to_this_process(kernel)
    other.let_go("x")
    keeper.started(km, kernel)
    assert not belongs_to_this_process(kernel)
    keeper.ended("x")


async def test_a_kernel_that_cannot_be_taken_over_stays_for_the_next_server(place: Place, tmp_path: Path) -> None:
    kernel = kernel_of(place)
    km = AsyncKernelManager(kernel_name="python3")
    km.kernel_id, km._launch_args = "x", {}
    first = KernelKeeper(SimpleNamespace(log=logging.getLogger(), root_dir="/"))
    first.started(km, kernel)
    first.let_go("x")
    kernels, before = LoopMappingKernelManager(connection_dir=str(tmp_path / "nowhere")), held_processes()
    assert kernels.keeper.adopt(place.manager.workspace) == {}
    assert not belongs_to_this_process(kernel)
    assert held_processes() == before
    assert (kernels.list_kernel_ids(), "x" in kernels.keeper) == ([], False)
    first.started(km, kernel)
    first.ended("x")
