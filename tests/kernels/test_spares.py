"""Spare kernels in a real sandbox: what becomes of them, and that nobody can tell them from others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from jupyter_client.manager import AsyncKernelManager
from traitlets.config import Configurable

from loopat_jupyter.kernels import launch
from loopat_jupyter.kernels import spares as spares_module
from loopat_jupyter.kernels.orders import Order, kernel_environment
from loopat_jupyter.kernels.spares import Spares
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.sandbox.lifecycle import Running
from loopat_jupyter.sandbox.process import is_waiting
from loopat_jupyter.sandbox.specs import HOME_KERNELS
from loopat_jupyter.workspace.config import Config, KernelsConfig
from tests.conftest import processes_inside
from tests.fakes import FakeEngine
from tests.jupyter_process import jupyter_server
from tests.kernels.conftest import gone, hears
from tests.small_kernels import SMALL_KERNEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from loopat_jupyter.workspace.paths import Workspace
    from tests.kernels.conftest import Place

RUNNING = Running("box", 1, "image", restart_needed=False)

PROBE = SMALL_KERNEL.with_name("kernel_probe.py")

LIGHT = {
    "ipykernel/__init__.py": "",
    "ipykernel/kernelapp.py": "",
    "IPython/__init__.py": "",
    "IPython/core/__init__.py": "",
    "IPython/core/inputtransformer2.py": "class TransformerManager:\n    transform_cell = str\n",
    "tornado/__init__.py": "",
    "ipykernel_launcher.py": SMALL_KERNEL.read_text(),
}
"""In place of what a spare loads, which is most of its work."""

FAKE = """#!/bin/sh
case $PWD in
    /loopat/lib/*) exec /usr/bin/python3 "$HOME/fake.py" "$4" ;;
    *) exec /usr/bin/python3 "$HOME/small_kernel.py" "$4" ;;
esac
"""
"""Starts small kernels, and in place of a spare something else."""

ANSWERS = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1].removesuffix(".json") + "-h")
    listener.listen(1)
    connection, _ = listener.accept()
    connection.recv(100000)
    connection.sendall(ANSWER)
    os.pause() if PAUSE else None
"""


class Server(Configurable):
    """What kernels see of a server that keeps spare ones."""

    def __init__(self, manager: LoopManager, spares: Spares) -> None:
        super().__init__()
        service = SimpleNamespace(manager=manager, spares=spares)
        self.web_app = SimpleNamespace(settings={"loopat_service": service})
        self.spares = spares

    def keep_no_more(self) -> None:
        """Nobody in this test needs another one, which takes as long as a kernel to start."""
        self.spares._calm_s = 3600.0


@pytest.fixture
async def server(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setenv("LOOPAT_SPARE_KERNELS", "1")
    manager = LoopManager.from_environment(os.environ)
    async with asyncio.TaskGroup() as tasks:
        spares = Spares(manager, tasks.create_task, calm_s=0)
        yield Server(manager, spares)
        spares.close()
    for pid in waiting(place):
        await gone(pid)


@contextlib.asynccontextmanager
async def kernel(place: Place, server: Server | None, **options: Any) -> AsyncIterator[Any]:
    km = AsyncKernelManager(kernel_name="python3", parent=server)
    await km.start_kernel(**{"cwd": str(place.workdir), **options})
    try:
        yield km
    finally:
        await km.shutdown_kernel(now=True)


async def run(km: Any, code: str) -> Any:
    """The value of `answer` after some code, by way of JSON."""
    client = km.client()
    client.start_channels(hb=False)
    try:
        sent = client.execute(code, user_expressions={"answer": "__import__('json').dumps(answer)"})
        while (reply := await client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != sent:
            pass
        assert reply["content"]["status"] == "ok", reply["content"]
        text = reply["content"]["user_expressions"]["answer"]["data"]["text/plain"]
        return json.loads(text[1:-1].encode().decode("unicode-escape"))
    finally:
        client.stop_channels()


async def answers(km: Any) -> None:
    """Return when a kernel does."""
    client = km.client()
    client.start_channels(hb=False)
    try:
        await hears(client)
    finally:
        client.stop_channels()


def waiting(place: Place) -> list[int]:
    """Ids of spare kernels. What waited for a command counts as waiting, too, while it ends."""
    found = []
    for process in processes_inside(place.manager, place.record):
        with contextlib.suppress(psutil.Error):
            if is_waiting(process.pid) and process.cwd() and not process.name().startswith("attach-"):
                found.append(process.pid)
    return found


async def follow(place: Place, server: Server, **variables: str) -> bool:
    """Whether there is a spare after the start of a kernel, which itself nobody needs."""
    running = await place.manager.use(place.record)
    spec = await place.manager.kernels.find_one(place.record, running, "python3")
    order = Order(running.init_pid, spec.argv, kernel_environment(spec.env, variables), "/")
    server.spares.follow(place.record.id, running, order)
    return await server.spares.settled(place.record.id)


async def a_spare(place: Place, server: Server) -> int:
    """The host id of a spare for the kernels of these tests."""
    assert await follow(place, server)
    [pid] = waiting(place)
    return pid


@pytest.fixture
def light_kernels(place: Place) -> Iterator[None]:
    """`python3` of the loop is a small kernel, and a spare one loads little: for what becomes of them."""
    folder = place.manager.workspace.loop_home(place.record.id).joinpath(*HOME_KERNELS, "python3")
    for name, text in LIGHT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    argv = ["python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    env = {"PYTHONPATH": "/".join(("${HOME}", *HOME_KERNELS, "python3"))}
    spec = {"argv": argv, "display_name": "Light", "language": "python", "env": env}
    (folder / "kernel.json").write_text(json.dumps(spec))
    yield
    shutil.rmtree(folder)


@pytest.fixture
def user_site(place: Place) -> Path:
    """Where pip puts packages of the loop's own; IPython makes the folder with the first kernel."""
    stamp = place.manager.sandboxes.state_files(place.record.id).running()
    [library] = Path(f"/proc/{stamp.pid}/root/usr/lib").glob("python3.*")
    folder = place.manager.workspace.loop_home(place.record.id) / ".local" / "lib" / library.name / "site-packages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def startup(place: Place) -> Iterator[None]:
    """A startup file of IPython that tells what it sees."""
    folder = place.manager.workspace.loop_home(place.record.id) / ".ipython" / "profile_default" / "startup"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "00-see.py"
    file.write_text("import os; seen = [os.getcwd(), os.environ.get('JPY_SESSION_NAME'), __name__]\n")
    yield
    file.unlink()


@pytest.mark.podman
@pytest.mark.usefixtures("startup", "user_site")
async def test_nobody_inside_can_tell_a_spare_kernel_from_another(place: Place, server: Server) -> None:
    folder = place.workdir / "a b"
    folder.mkdir()
    options = {"cwd": str(folder), "env": {**os.environ, "JPY_SESSION_NAME": str(folder / "n.ipynb"), "ASKED": "ü\n"}}
    assert await follow(place, server, ASKED=options["env"]["ASKED"])
    [pid] = waiting(place)
    server.keep_no_more()
    found = {}
    for kind, parent in (("spare", server), ("fresh", None)):
        async with kernel(place, parent, **options) as km:
            assert (km.provisioner.pid == pid) == (kind == "spare")
            text = json.dumps(await run(km, PROBE.read_text()))
            stem = km.provisioner._kernel.info()["stem"]
            found[kind] = json.loads(text.replace(stem, "STEM").replace(km.provisioner._kernel._address, "ADDRESS"))
    assert found["spare"].keys() == found["fresh"].keys()
    for what, value in found["fresh"].items():
        assert found["spare"][what] == value, what
    session = f"/loopat/loop/{place.record.id}/workdir/a b/n.ipynb"
    assert found["fresh"]["startup"] == [str(Path(session).parent), session, "__main__"]
    assert (found["fresh"]["environ"]["ASKED"], found["fresh"]["environ"]["PWD"]) == ("ü\n", str(Path(session).parent))


@pytest.mark.podman
@pytest.mark.usefixtures("light_kernels")
async def test_a_spare_is_nothing_until_it_becomes_a_kernel(place: Place, server: Server) -> None:
    spare = await a_spare(place, server)
    status = await place.manager.sandboxes.status(place.record)
    assert (place.processes(), status.in_use.kernels, status.in_use.commands) == ([], 0, 0)
    async with kernel(place, server) as km:
        assert km.provisioner.pid == spare
        assert await server.spares.settled(place.record.id)
        assert place.processes() == [spare]
        status = await place.manager.sandboxes.status(place.record)
        assert (status.in_use.kernels, status.in_use.commands) == (1, 0)
        # A restart takes the next one.
        [following] = waiting(place)
        server.keep_no_more()
        await km.restart_kernel(now=True)
        assert km.provisioner.pid == following
        assert await run(km, "answer = 42") == 42
        await gone(spare)


@pytest.mark.podman
@pytest.mark.usefixtures("light_kernels")
async def test_what_was_installed_meanwhile_is_found(place: Place, server: Server, user_site: Path) -> None:
    spare = await a_spare(place, server)
    server.keep_no_more()
    (user_site / "installed.py").write_text("")
    async with kernel(place, server) as km:
        assert km.provisioner.pid != spare
        assert await run(km, "import installed; answer = 1") == 1
        await gone(spare)


@pytest.mark.podman
@pytest.mark.parametrize(
    "variables", [{"PYTHONPATH": "/a:src"}, {"PYTHONPATH": ":/a"}, {"PYTHONSAFEPATH": "1"}], ids=str
)
async def test_none_waits_where_variables_decide_what_is_loaded_from_a_folder(
    place: Place, server: Server, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spares_module, "LOAD_TIMEOUT_S", 3600.0)
    async with asyncio.timeout(60):
        assert not await follow(place, server, **variables)
        while place.processes():
            await asyncio.sleep(0.01)
    assert waiting(place) == []


@pytest.mark.podman
@pytest.mark.usefixtures("light_kernels")
async def test_a_spare_that_died_or_hangs_does_no_harm(
    place: Place, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "WAKE_TIMEOUT_S", 0.2)
    spare = await a_spare(place, server)
    os.kill(spare, signal.SIGKILL)
    await gone(spare)
    while place.run_files():
        await asyncio.sleep(0.01)
    assert not await server.spares.settled(place.record.id)
    async with kernel(place, server) as km:
        assert km.provisioner.pid != spare
        assert await run(km, "answer = 42") == 42
        assert await server.spares.settled(place.record.id)
    [spare] = waiting(place)
    os.kill(spare, signal.SIGSTOP)
    async with kernel(place, server) as km:
        assert km.provisioner.pid != spare
        assert await run(km, "answer = 42") == 42
        await gone(spare)
        assert await server.spares.settled(place.record.id)


@pytest.fixture
def fake(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Python kernels for which anything may wait in place of a spare: what is in the file."""
    monkeypatch.setattr(launch, "WAKE_TIMEOUT_S", 0.5)
    home = place.manager.workspace.loop_home(place.record.id)
    folder = home.joinpath(*HOME_KERNELS, "python3")
    folder.mkdir(parents=True)
    command = folder / "python3"
    command.write_text(FAKE)
    command.chmod(0o755)
    argv = ["{resource_dir}/python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Fake", "language": "python"}))
    shutil.copy(SMALL_KERNEL, home)
    yield home / "fake.py"
    shutil.rmtree(folder)


IMPOSTORS = {
    "refuses": ANSWERS.replace("ANSWER", "b'n'").replace("PAUSE", "True"),
    "lies": ANSWERS.replace("ANSWER", "b'y'").replace("PAUSE", "True"),
    "ends": ANSWERS.replace("ANSWER", "b'y'").replace("PAUSE", "False"),
    "never listens": "raise SystemExit",
}


@pytest.mark.podman
async def test_a_spare_that_is_something_else_costs_little_time(place: Place, server: Server, fake: Path) -> None:
    # Each kernel meets what waits since the one before it.
    for following in (*IMPOSTORS, "never listens"):
        fake.write_text(IMPOSTORS[following])
        async with kernel(place, server) as km:
            await answers(km)
            ready = await server.spares.settled(place.record.id)
            assert ready == (following != "never listens"), following
            assert place.processes() == [km.provisioner.pid], following


@pytest.mark.podman
@pytest.mark.usefixtures("light_kernels")
async def test_spares_end_with_their_server(place: Place, tmp_path: Path) -> None:
    ours = ("LOOPAT_HOME", "LOOPAT_SANDBOX_IMAGE")
    environ = {**{name: place.environ[name] for name in ours}, "LOOPAT_SPARE_KERNELS": "1"}
    model = {"name": "python3", "path": ""}
    async with jupyter_server(tmp_path, place.workdir, environ, *PROVISIONED) as first:
        assert (await first.api("POST", "api/kernels", model)).status == 201
        killed = await one_waits(place)
        loop = await first.api("GET", f"loopat/api/loops/{place.record.id}")
        assert (loop.body["in_use"]["kernels"], loop.body["restart_needed"]) == (1, False)
        first.process.kill()
        await first.process.wait()
    await gone(killed)
    # It ended by itself; its files are removed by the next server.
    async with jupyter_server(tmp_path, place.workdir, environ, *PROVISIONED) as second:
        [kept] = (await second.api("GET", "api/kernels")).body
        assert (await second.api("DELETE", f"api/kernels/{kept['id']}")).status == 204
        while place.run_files():
            await asyncio.sleep(0.05)
        assert (await second.api("POST", "api/kernels", model)).status == 201
        ended = await one_waits(place)
    await gone(ended)
    left = {name.partition(".")[0].partition("-")[0] for name in place.run_files()}
    assert len(left) <= 2, "one kernel, with its sockets"


PROVISIONED = (
    "--KernelProvisionerFactory.default_provisioner_name=loopat-provisioner",
    "--ServerApp.kernel_manager_class=loopat_jupyter.kernels.mapping.LoopMappingKernelManager",
    "--ServerApp.session_manager_class=loopat_jupyter.kernels.sessions.LoopSessionManager",
)


async def one_waits(place: Place) -> int:
    """Wait until a server is connected to a spare; its id on the host."""
    async with asyncio.timeout(60):
        # Before there are files of another one, no process needs to be looked at.
        while sum(name.endswith(".json") for name in place.run_files()) < 2:
            await asyncio.sleep(0.05)
        while not any(map(connected, pids := waiting(place))) or any(name.endswith("-h") for name in place.run_files()):
            await asyncio.sleep(0.05)
    return pids[0]


def connected(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).net_connections("unix"))
    return False


class Recorded(Spares):
    """Makes spares of nothing, and writes down which ended."""

    def __init__(self, manager: LoopManager, tasks: asyncio.TaskGroup) -> None:
        super().__init__(manager, tasks.create_task, calm_s=0)
        self.ended: list[str] = []

    async def _keep(self, loop_id: str, running: Any, order: Order) -> None:
        self._ready[loop_id] = SimpleNamespace(order=order, let_go=lambda: None)
        try:
            await asyncio.Event().wait()
        finally:
            self._ready.pop(loop_id, None)
            self.ended.append(loop_id)


async def test_the_loop_used_least_recently_has_none(workspace: Workspace) -> None:
    kernels = KernelsConfig(spares=2)
    manager = LoopManager(workspace, Config(kernels=kernels), FakeEngine(lambda _: b""), member="ada")
    order = Order(1, ("python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"), {}, "/")
    async with asyncio.TaskGroup() as tasks:
        spares = Recorded(manager, tasks)
        for loop_id in ("a", "b", "a", "c"):
            spares.follow(loop_id, RUNNING, order)
            assert await spares.settled(loop_id)
        await asyncio.sleep(0)
        assert spares.ended == ["b"]
        # Another kernel takes its place, and one that none can wait for leaves it.
        spares.follow("a", RUNNING, order._replace(cwd="/other"))
        spares.follow("a", RUNNING, order._replace(argv=("bash",)))
        assert spares.take("a", order._replace(env={"A": "1"})) is None
        assert spares.take("a", order) is None
        assert spares.take("c", order._replace(cwd="/other")) is not None
        # One that is being called off may still be taken.
        spares.follow("b", RUNNING, order)
        assert await spares.settled("b")
        spares.follow("a", RUNNING, order)
        spares.follow("c", RUNNING, order)
        assert spares.take("b", order) is not None
        spares.close()
    assert spares.ended[:3] == ["b", "a", "c"]


@pytest.mark.parametrize("kernels", [KernelsConfig(spares=0), KernelsConfig(transport="tcp")])
async def test_a_setting_keeps_none(workspace: Workspace, kernels: KernelsConfig) -> None:
    manager = LoopManager(workspace, Config(kernels=kernels), FakeEngine(lambda _: b""), member="ada")
    order = Order(1, ("python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"), {}, "/")
    async with asyncio.TaskGroup() as tasks:
        spares = Recorded(manager, tasks)
        spares.follow("a", RUNNING, order)
        assert not await spares.settled("a")
