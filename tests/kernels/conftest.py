"""A running loop that the tests of one module share: starting one takes longer than most of these tests."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import queue
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from jupyter_client.provisioning import KernelProvisionerFactory

from loopat_jupyter.loops import LoopManager
from loopat_jupyter.sandbox.entrance import ENTRANCE
from loopat_jupyter.sandbox.process import all_pids, exec_roots, pid_namespace
from loopat_jupyter.sandbox.state import start_ticks
from loopat_jupyter.workspace.paths import Workspace, default_runtime_root
from tests.conftest import LONELY, remove_from_podman
from tests.small_kernels import add_small_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.models import LoopRecord


class Place(NamedTuple):
    """A running loop.

    Attributes:
        manager: Its manager, as any client makes it from the environment.
        record: The loop.
        environ: What has to be in the environment of a client.
    """

    manager: LoopManager
    record: LoopRecord
    environ: dict[str, str]

    @property
    def workdir(self) -> Path:
        return self.manager.workspace.workdir(self.record.id)

    @property
    def run_folder(self) -> Path:
        return self.manager.workspace.run(self.record.id)

    @property
    def kernel_name(self) -> str:
        return f"loop-a-loop-{self.record.id[:8]}-python3"

    def run_files(self) -> list[str]:
        """Names of the files in the runtime directory."""
        return sorted(path.name for path in self.run_folder.iterdir() if path.name != ENTRANCE)

    def processes(self) -> list[int]:
        """Host ids of what was started in the loop from outside and still runs."""
        stamp = self.manager.sandboxes.state_files(self.record.id).running()
        return exec_roots(stamp.pid)

    def end_all(self) -> None:
        """End what outlived the servers of a test, and remove what it left."""
        host = self.manager.workspace.host(self.record.id)
        shutil.rmtree(host / "kept", ignore_errors=True)
        stamp = self.manager.sandboxes.state_files(self.record.id).running()
        left = exec_roots(stamp.pid) if stamp is not None else []
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # Until they are gone, their ports are taken.
        while left and exec_roots(stamp.pid):
            time.sleep(0.01)
        for name in self.run_files() if left else ():
            (self.run_folder / name).unlink()

    async def wait_for_command(self, *argv: str) -> int:
        """Wait until a command runs inside; its id on the host."""
        stamp = self.manager.sandboxes.state_files(self.record.id).running()
        namespace = pid_namespace(stamp.pid)
        wanted = b"\0".join(part.encode() for part in argv) + b"\0"
        while True:
            for pid in all_pids(newest_first=True):
                with contextlib.suppress(OSError):
                    if pid_namespace(pid) == namespace and Path(f"/proc/{pid}/cmdline").read_bytes() == wanted:
                        return pid
            await asyncio.sleep(0.01)


async def gone(pid: int) -> None:
    """Wait until a process has ended, reaped or not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while start_ticks(pid) and b") Z " not in Path(f"/proc/{pid}/stat").read_bytes():
            await asyncio.sleep(0.01)


async def hears(client) -> None:
    """Return when a client hears what its kernel publishes; `wait_for_ready` of the client waits for silence, too."""
    asked = set()
    async with asyncio.timeout(60):
        while True:
            asked.add(client.kernel_info())
            with contextlib.suppress(queue.Empty):
                while (await client.get_iopub_msg(timeout=0.1))["parent_header"].get("msg_id") not in asked:
                    pass
                return


def in_thread(work):
    """Run a coroutine from code that may already have an event loop."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@contextlib.contextmanager
def running_place(
    folder: Path, sandbox_image: str, *, config: str = "", tools: bytes = b"", **more: str
) -> Iterator[Place]:
    """A running loop in a workspace of its own, with the kernelspecs of the user in a folder of their own.

    Args:
        folder: For everything.
        sandbox_image: What the loop runs in.
        config: The workspace's `config.toml`.
        tools: The loop's toolchain.
        more: Further variables of its environment.
    """
    workspace = Workspace(folder / "workspace", default_runtime_root(os.getuid()))
    workspace.home.mkdir()
    workspace.config_file.write_text(config)
    environ = {
        "LOOPAT_HOME": str(workspace.home),
        "LOOPAT_SANDBOX_IMAGE": sandbox_image,
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        **more,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        manager = LoopManager.from_environment(os.environ)
        record = manager.create(title="A loop")
        if tools:
            workspace.toolchain(record.id).write_bytes(tools)
        in_thread(manager.start(record))
    yield Place(manager, record, environ)
    remove_from_podman(workspace)
    shutil.rmtree(workspace.runtime, ignore_errors=True)


@pytest.fixture(scope="module")
def shared_place(sandbox_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("kernels")
    by_default = {"JUPYTER_DEFAULT_PROVISIONER_NAME": "loopat-provisioner"}
    with running_place(folder, sandbox_image, config=LONELY, **by_default) as place:
        yield place


@pytest.fixture
def place(shared_place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The shared loop, in an environment in which clients find it."""
    for name, value in shared_place.environ.items():
        monkeypatch.setenv(name, value)
    KernelProvisionerFactory.clear_instance()
    # Not at the end of the test before: its server ends after all its fixtures, and would restart what it misses.
    shared_place.end_all()
    yield shared_place
    KernelProvisionerFactory.clear_instance()


@contextlib.contextmanager
def small_kernels_in(place: Place) -> Iterator[None]:
    """`python3` of a loop runs but plain Python, and starts in a tenth of the time: for what happens to processes."""
    folder = add_small_kernel(place.manager.workspace.loop_home(place.record.id))
    try:
        yield
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def small_kernels(place: Place) -> Iterator[None]:
    """Those of the shared loop are small."""
    with small_kernels_in(place):
        yield
