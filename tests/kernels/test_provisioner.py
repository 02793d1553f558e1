from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager, start_new_async_kernel
from nbclient import NotebookClient

from loopat_jupyter.errors import KernelStartError
from loopat_jupyter.kernels.failure import KernelNotStarted
from loopat_jupyter.kernels.provisioner import LoopatProvisioner
from loopat_jupyter.kernelspecs import Registry
from loopat_jupyter.sandbox.plan import sandbox_workdir
from loopat_jupyter.sandbox.specs import HOME_KERNELS
from loopat_jupyter.shares import look_at_share
from tests.kernels.conftest import gone, hears, small_kernels_in
from tests.small_kernels import SMALL_KERNEL

if TYPE_CHECKING:
    from tests.kernels.conftest import Place

pytestmark = pytest.mark.podman

SERVE = """
import socket
servers = [socket.create_server(address) for address in (("0.0.0.0", 8000), ("127.0.0.1", 8001))]
"""
GRANDCHILD = """
import subprocess
child = subprocess.Popen(['sh', '-c', 'setsid sleep 601 & wait'], start_new_session=True)
"""
WHERE = "import os, sys; print(os.getcwd(), os.uname().nodename, sys.executable)"


async def run(kernel_client, code: str) -> str:
    """Run code and return what it printed."""
    printed = []

    def listen(message):
        content = message["content"]
        printed.append(content.get("text", "") + "\n".join(content.get("traceback", ())))

    await kernel_client.execute_interactive(code, output_hook=listen, timeout=60)
    return "".join(printed).strip()


@contextlib.asynccontextmanager
async def started(kernel_name, **options):
    """A started kernel: its manager and its client."""
    manager = AsyncKernelManager(kernel_name=kernel_name)
    await manager.start_kernel(**options)
    client = manager.client()
    client.start_channels(hb=False)
    try:
        await hears(client)
        yield manager, client
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


def held_processes() -> int:
    """How many pidfds this process has open."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(str(entry.readlink()))
    return links.count("anon_inode:[pidfd]")


async def ends_its_kernel_and_all_it_started(place: Place, provisioner, end: str) -> None:
    """Check that an end of a kernel is one of what it started, in whatever session, too."""
    grandchild = await place.wait_for_command("sleep", "601")
    await getattr(provisioner, end)()
    await asyncio.wait_for(provisioner.wait(), 30)
    await gone(grandchild)
    assert await provisioner.poll() is not None


def notebook(code: str):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])


@pytest.mark.fault("F5")
async def test_a_kernel_in_the_folder_of_a_loop_runs_there_and_an_interrupt_ends_its_cell_and_subprocess(
    place: Place, monkeypatch
) -> None:
    folder = place.workdir / "sub folder"
    folder.mkdir()
    (folder / "data.csv").write_text("1")
    inside = f"{sandbox_workdir(place.record.id)}/sub folder"
    monkeypatch.setenv("CANARY", "sings")
    env = {**os.environ, "ASKED_FOR": "yes", "JPY_SESSION_NAME": str(place.workdir / "a.ipynb"), "PATH": "/host"}
    async with started(kernel_name="python3", cwd=str(folder), env=env) as (manager, client):
        assert await run(client, WHERE) == f"{inside} loop-{place.record.id[:8]} /usr/bin/python3"
        # Nothing of the host's environment gets in but what was asked for.
        names = ["CANARY", "ASKED_FOR", "JPY_SESSION_NAME", "LOOPAT_HOME", "HOME"]
        seen = await run(client, f"import os; print(*(os.environ.get(n) for n in {names}))")
        assert seen == f"None yes {sandbox_workdir(place.record.id)}/a.ipynb None /loopat/home/loopat"
        # Paths that it names are found on the host.
        names = ["data.csv", f"{inside}/data.csv", "missing", "/etc/passwd", "../../../../etc/passwd"]
        host = str(folder / "data.csv")
        assert [manager.resolve_path(name) for name in names] == [host, host, None, None, None]
        cell = asyncio.ensure_future(run(client, "import subprocess; subprocess.run(['sleep', '600'])"))
        sleeping = await place.wait_for_command("sleep", "600")
        await manager.interrupt_kernel()
        assert "KeyboardInterrupt" in await asyncio.wait_for(cell, 30)
        await gone(sleeping)
        assert await run(client, "print('still here')") == "still here"
        await run(client, GRANDCHILD)
        await ends_its_kernel_and_all_it_started(place, manager.provisioner, "terminate")


@pytest.mark.usefixtures("small_kernels")
async def test_the_provisioner_can_be_told_where_its_kernel_is_and_ends_it(place: Place) -> None:
    async with started(kernel_name="python3", cwd=str(place.workdir)) as (manager, client):
        await run(client, GRANDCHILD)
        info = json.loads(json.dumps(await manager.provisioner.get_provisioner_info(), default=bytes.decode))
        other = AsyncKernelManager(kernel_name="python3")
        other.provisioner = LoopatProvisioner(parent=other, kernel_spec=manager.kernel_spec, kernel_id="x")
        await other.provisioner.load_provisioner_info(info)
        assert await other.provisioner.poll() is None
        assert other.provisioner.pid == manager.provisioner.pid
        await ends_its_kernel_and_all_it_started(place, other.provisioner, "kill")
        await asyncio.wait_for(manager.provisioner.wait(), 30)


async def test_outside_every_loop_the_stock_local_kernel_runs(place: Place, tmp_path) -> None:
    async with started(kernel_name="python3", cwd=str(tmp_path)) as (manager, client):
        assert await run(client, WHERE) == f"{tmp_path} {os.uname().nodename} {sys.executable}"
        assert manager.transport == "tcp"


@pytest.mark.fault("F19")
async def test_restarts_keep_the_address_and_leak_nothing_and_nothing_stays_after_the_end(place: Place) -> None:
    # Those of servers and programs that tests share.
    others = held_processes()
    async with contextlib.AsyncExitStack() as kernels:
        starting = started(kernel_name="python3", cwd=str(place.workdir))
        manager, client = await kernels.enter_async_context(starting)
        connection_file = Path(manager.connection_file)
        assert manager.session.key.decode() in connection_file.read_text()
        await run(client, SERVE)
        # What IPython opens for itself is nothing to share; what somebody's code in it listens on is.
        found = [(port.port, port.reachable) for port in (await look_at_share(place.manager, place.record)).listening]
        assert found == [(8000, True), (8001, False)]
        # IPython ends as it is asked to; those after it need none.
        kernels.enter_context(small_kernels_in(place))
        addresses, held = {manager.ip}, []
        for impatient in (False, True):
            await run(client, "left = 1")
            await manager.restart_kernel(now=impatient)
            addresses.add(manager.ip)
            held.append(held_processes())
            assert len(place.run_files()) == 8
            assert len(place.processes()) == 1
            await hears(client)
            assert "NameError" in await run(client, "left")
        assert len(addresses) == 1
        assert held == [others + 1, others + 1]
    assert place.run_files() == []
    assert place.processes() == []
    assert not connection_file.exists()


async def test_a_notebook_runs_in_a_loop_by_the_name_of_a_kernel_that_pip_put_into_its_home(
    place: Place, tmp_path
) -> None:
    folder = place.manager.workspace.loop_home(place.record.id).joinpath(*HOME_KERNELS, "own")
    folder.mkdir(parents=True)
    shutil.copy(SMALL_KERNEL, folder)
    argv = ["python3", "{resource_dir}/small_kernel.py", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Own", "language": "python", "env": {"WHERE": "${HOME}/own"}}
    (folder / "kernel.json").write_text(json.dumps(spec))
    await place.manager.start(place.record)
    name = place.kernel_name.replace("python3", "own")
    client = NotebookClient(
        notebook(WHERE.replace("sys.executable", "os.environ['WHERE']")),
        kernel_name=name,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    try:
        done = await client.async_execute()
    finally:
        shutil.rmtree(folder)
    where = f"{sandbox_workdir(place.record.id)} loop-{place.record.id[:8]}"
    assert done.cells[0].outputs[0].text == f"{where} /loopat/home/loopat/own\n"
    await place.manager.start(place.record)
    assert Registry.of_user().names(place.record.id) == [place.kernel_name]


async def test_a_kernel_that_the_loop_does_not_have_is_refused_with_those_it_has(place: Place, tmp_path) -> None:
    folder = Path(os.environ["JUPYTER_DATA_DIR"]) / "kernels" / "klingon"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({"argv": ["true"], "display_name": "K", "language": "k"}))
    with pytest.raises(KernelNotStarted, match=r"has no kernel 'klingon'\. It has: python3\."):
        await start_new_async_kernel(kernel_name="klingon", cwd=str(place.workdir))
    shutil.rmtree(folder)


async def test_a_kernel_that_ends_at_once_says_why(place: Place) -> None:
    folder = place.manager.workspace.loop_home(place.record.id).joinpath(*HOME_KERNELS, "broken")
    folder.mkdir(parents=True)
    argv = ["python3", "-m", "ipykernel_missing", "-f", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Broken", "language": "python"}))
    await place.manager.start(place.record)
    with pytest.raises(KernelNotStarted, match="ipykernel_missing cannot be imported") as caught:
        await start_new_async_kernel(kernel_name=place.kernel_name.replace("python3", "broken"))
    assert "No module named ipykernel_missing" in str(caught.value)
    assert isinstance(caught.value.error, KernelStartError)
    assert place.run_files() == []
    shutil.rmtree(folder)


@pytest.mark.usefixtures("small_kernels")
async def test_a_link_planted_in_a_loop_never_starts_a_kernel_on_the_host(place: Place) -> None:
    folder = place.workdir / "planted"
    folder.mkdir()
    manager = AsyncKernelManager(kernel_name="python3")
    await manager.start_kernel(cwd=str(folder))
    try:
        folder.rename(folder.with_name("moved"))
        for target in ("/", "/tmp"):
            folder.unlink(missing_ok=True)
            folder.symlink_to(target)
            with pytest.raises(KernelNotStarted, match="leads out of it"):
                await manager.restart_kernel(now=True)
            fresh = AsyncKernelManager(kernel_name="python3")
            with pytest.raises(KernelNotStarted, match="leads out of it"):
                await fresh.start_kernel(cwd=str(folder))
    finally:
        await manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("below", [".", "home", "home/sub", ".claude"])
async def test_a_notebook_beside_a_loops_files_runs_nowhere(place: Place, below: str) -> None:
    folder = place.manager.workspace.loop(place.record.id) / below
    folder.mkdir(exist_ok=True)
    manager = AsyncKernelManager(kernel_name="python3")
    with pytest.raises(KernelNotStarted, match="not to its files"):
        await manager.start_kernel(cwd=str(folder))
