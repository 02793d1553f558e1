"""Fixtures shared by all tests.

A test gets a workspace of its own, so tests may run side by side on one podman store. Tests marked `podman` drive
the real thing; they share one sandbox image, which the first of them builds.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import datetime
import gc
import itertools
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest
import pytest_asyncio
from jupyter_server.serverapp import ServerApp

from loopat_jupyter.loops import LoopManager
from loopat_jupyter.sandbox.entrance import ENTRANCE
from loopat_jupyter.sandbox.environment import podman_environment
from loopat_jupyter.sandbox.images import Images
from loopat_jupyter.sandbox.network import was_ensured
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.sandbox.process import all_pids, innermost_pid, pid_namespace
from loopat_jupyter.workspace import kept
from loopat_jupyter.workspace.config import Config, ImageConfig
from loopat_jupyter.workspace.paths import Workspace, default_runtime_root
from loopat_jupyter.workspace.records import LoopStore, new_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.lifecycle import Running

    Nest: TypeAlias = Callable[[Path, str, int], None]

# Tests that were started in the background or with nohup would ignore, and hand on, what they test with.
for _signum, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_signum) is signal.SIG_IGN:
        signal.signal(_signum, _handler)

LONELY = 'network = "none"\n'
"""Settings of a workspace whose tests claim nothing of networks: those take half of the work of a start and its end."""

pytest_plugins = [
    "pytest_jupyter.jupyter_server",
    "tests.memory",
    "tests.strict",
    "tests.order",
    "tests.git_remotes",
    "tests.light_age",
    "tests.measures",
    "tests.tasks",
    "tests.small_image",
]


def pytest_collection_finish() -> None:
    """What was collected stays to the end: the search for garbage need not go through it each time."""
    gc.freeze()


FOLDERS = itertools.count()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder of the test. pytest goes through those of all tests before to find a name for it."""
    name = re.sub(r"\W", "_", request.node.name)[:27]
    folder = tmp_path_factory.getbasetemp() / f"{name}{next(FOLDERS)}"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(autouse=True)
def _own_jupyter_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernelspecs of the tests' loops stay out of the user's own list."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter-data"))


@pytest.fixture(scope="session", autouse=True)
def _no_spare_kernels() -> Iterator[None]:
    """Tests count processes, so servers keep kernels ready only where a test asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOPAT_SPARE_KERNELS", "0")
        yield


@pytest.fixture
def jp_nbconvert_templates() -> None:
    """Servers of the tests convert nothing: pytest-jupyter would copy the templates for each of them."""


@pytest_asyncio.fixture
async def loop_of_test() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """The event loop of the test. What a server on it does in the background ends before the loop does, as it would
    where a server ends."""
    yield asyncio.get_running_loop()
    if ServerApp.initialized():
        await ServerApp.instance().extension_manager.stop_all_extensions()
        clear_server()


@pytest.fixture
def jp_asyncio_loop(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoop | None:
    """Servers of pytest-jupyter run on the event loop of the test. It asks for one in every test, server or not."""
    has_server = "jp_configurable_serverapp" in request.fixturenames
    return request.getfixturevalue("loop_of_test") if has_server else None


@pytest.fixture
def jp_server_cleanup(jp_asyncio_loop: object) -> Iterator[None]:
    """Clear a server of pytest-jupyter away. It makes one to do so in every test that has none."""
    yield
    if ServerApp.initialized() and jp_asyncio_loop is None:
        clear_server()


def clear_server() -> None:
    app = ServerApp.instance()
    if hasattr(app, "kernel_manager"):
        app.kernel_manager.context.destroy()
    if hasattr(app, "session_manager"):
        # Here: the search for garbage may run in any thread, and SQLite wants its own.
        app.session_manager.close()
    ServerApp.clear_instance()


def new_workspace(folder: Path, node: pytest.Item | pytest.Collector | None = None) -> Workspace:
    """An empty workspace, whose loops have no network if it is for a test or a module that is marked `lonely`."""
    made = Workspace(folder / "workspace", default_runtime_root(os.getuid()))
    made.prepare()
    if node is not None and node.get_closest_marker("lonely"):
        made.config_file.write_text(LONELY)
    return made


def add_loop(workspace: Workspace, title: str) -> LoopRecord:
    """Make a loop as another process would."""
    record = new_record(title=title, created_by="ada", now=datetime.datetime.now(datetime.UTC))
    LoopStore(workspace).create(record)
    return record


@pytest.fixture
def workspace(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    """An empty workspace; whatever podman holds of it is removed afterwards."""
    made = new_workspace(tmp_path, request.node)
    yield made
    if request.node.get_closest_marker("podman"):
        remove_from_podman(made)
    shutil.rmtree(made.runtime, ignore_errors=True)


@pytest.fixture(scope="module")
def workspace_of_module(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Workspace]:
    """A workspace for modules whose tests leave their loop as they found it; such a module calls it `workspace`."""
    made = new_workspace(tmp_path_factory.mktemp("module"), request.node)
    yield made
    remove_from_podman(made)
    shutil.rmtree(made.runtime, ignore_errors=True)


@pytest.fixture(scope="session")
def sandbox_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference of the real sandbox image; the first test that needs it builds it, in whatever process."""
    workspace = Workspace(tmp_path_factory.mktemp("image"), default_runtime_root(os.getuid()))
    workspace.prepare()
    images = Images(workspace, Podman("podman", os.environ), Config())
    reference = images.template().tag
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, images.ensure(reference, print)).result()
    shutil.rmtree(workspace.runtime, ignore_errors=True)
    return reference


def real_manager(workspace: Workspace, image: str) -> LoopManager:
    config = Config(image=ImageConfig(use=image), network="none" if is_lonely(workspace) else "bridge")
    return LoopManager(workspace, config, Podman("podman", os.environ), member="ada")


def is_lonely(workspace: Workspace) -> bool:
    return workspace.config_file.exists() and workspace.config_file.read_text() == LONELY


@pytest.fixture
def manager(workspace: Workspace, sandbox_image: str) -> LoopManager:
    """Loops on real podman, with the image that is there."""
    return real_manager(workspace, sandbox_image)


@pytest.fixture
def nest() -> Iterator[Nest]:
    """Nests folders of one name in a folder, deeper than any path may be long, with a file in each."""
    made: list[str] = []

    def nest_in(folder: Path, name: str, levels: int) -> None:
        made.append(str(folder / name))
        descriptor = os.open(folder, os.O_RDONLY)
        for _ in range(levels):
            os.mkdir(name, dir_fd=descriptor)
            inner = os.open(name, os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
            os.close(os.open("f.ipynb", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        os.close(descriptor)

    yield nest_in
    # Python could not: pytest must not find them when it clears up.
    subprocess.run(["rm", "-rf", "--", *made], check=True)


MAIN = 2
"""Id of a sandbox's main process as seen inside."""


def processes_inside(manager: LoopManager, record: LoopRecord) -> list[psutil.Process]:
    """Everything that runs in the sandbox of a loop that runs, without its init and main process."""
    stamp = manager.sandboxes.state_files(record.id).running()
    assert stamp is not None
    namespace, found = pid_namespace(stamp.pid), []
    for pid in all_pids():
        # Just after the start, neither shows yet what it runs.
        if pid_namespace(pid) == namespace and innermost_pid(pid) not in (1, MAIN):
            with contextlib.suppress(psutil.Error):
                found.append(psutil.Process(pid))
    return found


def end_all(manager: LoopManager, record: LoopRecord) -> None:
    """End everything in a loop that runs and remove its files, whatever the test before left in it."""
    while left := processes_inside(manager, record):
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.01)
    workspace = manager.workspace
    shutil.rmtree(kept.folder(workspace, record.id), ignore_errors=True)
    for folder in (workspace.run(record.id), workspace.workdir(record.id)):
        for path in folder.iterdir():
            if path.name == ENTRANCE:
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@contextlib.contextmanager
def no_entrance(manager: LoopManager, record: LoopRecord) -> Iterator[None]:
    """What starts needs podman, as in a sandbox of before there were entrances."""
    entrance = manager.workspace.run(record.id) / ENTRANCE
    hidden = entrance.rename(entrance.with_name("hidden"))
    try:
        yield
    finally:
        hidden.rename(entrance)


async def start_emptied(manager: LoopManager, record: LoopRecord) -> Running:
    """The sandbox of a loop, in which nothing runs or lies, whatever the test before left in it."""
    running = await manager.use(record)
    end_all(manager, record)
    return running


async def exec_ids(manager: LoopManager, record: LoopRecord) -> list[str]:
    """Podman's records of what was started in the sandbox of a loop."""
    answer = await manager.engine.run("inspect", "--format={{json .ExecIDs}}", manager.sandboxes.plan(record).name)
    return json.loads(answer.stdout) or []


def remove_from_podman(workspace: Workspace) -> None:
    """Remove the containers and the network of one workspace, if there are any."""
    containers = ("rm", "--force", "--time=0", "--volumes", f"--filter=label=loopat.workspace={workspace.name}")
    network = ("network", "rm", "--force", "--time=0", f"loopat-{workspace.name}")
    # Whatever home a test has set: under another one podman finds none of them.
    environ = podman_environment({**os.environ, "HOME": pwd.getpwuid(os.getuid()).pw_dir}, os.getuid())
    has_network = was_ensured(workspace) or not is_lonely(workspace)
    for arguments in (containers, network) if has_network else (containers,):
        subprocess.run(["podman", *arguments], capture_output=True, check=True, timeout=120, env=environ)
