"""Notebooks of the drive run in their loop, whatever folder the server shows."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import json
import os
import pwd
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner
from tornado.httpclient import HTTPClientError

from loopat_jupyter.server.activity import ActivityNotes
from loopat_jupyter.workspace.records import folder_name
from tests.jupyter_process import jupyter_server
from tests.kernels.conftest import hears
from tests.kernels.test_provisioner import run
from tests.small_kernels import SMALL_KERNEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernels.conftest import Place

pytestmark = pytest.mark.podman


@pytest.fixture
def jp_environ(jp_environ, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders of the shared loop come after those of pytest-jupyter, and win."""
    for name, value in {**place.environ, "HOME": pwd.getpwuid(os.getuid()).pw_dir}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def jp_server_config() -> dict[str, object]:
    return {
        "ServerApp": {
            "kernel_manager_class": "loopat_jupyter.kernels.mapping.LoopMappingKernelManager",
            "jpserver_extensions": {"loopat_jupyter": True},
        },
        "KernelProvisionerFactory": {"default_provisioner_name": "loopat-provisioner"},
    }


async def open_session(jp_fetch, path: str, kernel: str = "python3") -> str:
    model = {"path": path, "name": "n", "type": "notebook", "kernel": {"name": kernel}}
    answer = await jp_fetch("api", "sessions", method="POST", body=json.dumps(model))
    return json.loads(answer.body)["kernel"]["id"]


@contextlib.contextmanager
def host_kernel(place: Place, name: str, provisioner: str = "") -> Iterator[None]:
    """A small kernel of the host, with a provisioner of its own if it names one."""
    folder = Path(place.environ["JUPYTER_DATA_DIR"]) / "kernels" / name
    folder.mkdir(parents=True)
    argv = [sys.executable, str(SMALL_KERNEL), "{connection_file}"]
    metadata = {"kernel_provisioner": {"provisioner_name": provisioner}} if provisioner else {}
    spec = {"argv": argv, "display_name": "Small", "language": "none", "metadata": metadata}
    (folder / "kernel.json").write_text(json.dumps(spec))
    try:
        yield
    finally:
        shutil.rmtree(folder)


async def printed(jp_serverapp, kernel_id: str, code: str) -> str:
    client = jp_serverapp.kernel_manager.get_kernel(kernel_id).client()
    client.start_channels(hb=False)
    try:
        await hears(client)
        return await run(client, code)
    finally:
        client.stop_channels()


@pytest.mark.usefixtures("small_kernels")
async def test_a_session_of_the_drive_runs_in_its_loop(place: Place, jp_fetch, jp_serverapp) -> None:
    (place.workdir / "sub").mkdir(exist_ok=True)
    (place.workdir / "n.ipynb").touch()
    inside = f"/loopat/loop/{place.record.id}/workdir"
    kernel_id = await open_session(jp_fetch, f"loops:{folder_name(place.record)}/n.ipynb")
    code = "import os; print(os.getcwd(), os.uname().nodename, os.environ['JPY_SESSION_NAME'])"
    where, host, name = (await printed(jp_serverapp, kernel_id, code)).split()
    assert (where, host) == (inside, f"loop-{place.record.id[:8]}")
    assert name.startswith(inside)
    for path, below in (
        ("loops:{}/sub/n.ipynb", "/sub"),
        ("loops:{}/gone/n.ipynb", ""),
        # JupyterLab leaves the name of the drive out for consoles.
        ("{}/sub/console-1-0a1b", "/sub"),
    ):
        kernel_id = await open_session(jp_fetch, path.format(folder_name(place.record)))
        pid = jp_serverapp.kernel_manager.get_kernel(kernel_id).provisioner.pid
        assert pid in place.processes(), path
        seen = Path(f"/proc/{pid}")
        assert str((seen / "cwd").readlink()) == inside + below, path
        assert f"\0JPY_SESSION_NAME={inside}".encode() in b"\0" + (seen / "environ").read_bytes(), path
    # That a cell ran is noted as the loop's last activity.
    os.utime(place.manager.workspace.record(place.record.id), (1000, 1000))
    long_ago = dt.datetime.fromtimestamp(0, dt.UTC)
    await ActivityNotes(lambda: place.manager.store, jp_serverapp.kernel_manager, None, long_ago).look()
    kernels = map(jp_serverapp.kernel_manager.get_kernel, jp_serverapp.kernel_manager.list_kernel_ids())
    ran = max(kernel.last_activity for kernel in kernels)
    assert place.manager.store.last_activity(place.record.id) >= ran - dt.timedelta(milliseconds=1)


async def test_a_session_of_no_loop_starts_nowhere(place: Place, jp_fetch, jp_serverapp) -> None:
    deleted = (
        "The loop of this notebook or console was deleted, so no kernel starts for it. What is not saved can be copied "
        "into another notebook."
    )
    (Path(jp_serverapp.root_dir) / "all").symlink_to(place.manager.workspace.loops)
    gone = place.manager.create(title="nowhere")
    await place.manager.delete(gone.id)
    for path, message in (
        ("loops:nowhere-00000000/4a13fe60-0000-4000-8000-000000000000", deleted),
        ("loops:0b347d59-0000-4000-8000-000000000000/n.ipynb", deleted),
        # JupyterLab leaves the drive out for consoles, and before 4.5 for notebooks.
        (f"{folder_name(gone)}/console-1", deleted),
        (f"{gone.id}/n.ipynb", deleted),
        # The next folder above that is there is in no loop.
        ("all/0b347d59-0000-4000-8000-000000000000/workdir/n.ipynb", deleted),
        ("all/0b347d59-0000-4000-8000-000000000000/home/n.ipynb", deleted),
        ("loops:", "loops: is in no loop. The Loops panel shows all loops."),
        ("loops:../n.ipynb", "loops:../n.ipynb is in no loop. The Loops panel shows all loops."),
    ):
        with pytest.raises(HTTPClientError) as refused:
            await open_session(jp_fetch, path)
        told = json.loads(refused.value.response.body)["message"].replace("\n", " ")
        assert (refused.value.code, told) == (404, message)
        assert jp_serverapp.kernel_manager.list_kernel_ids() == [], path


async def test_everything_else_runs_as_ever(place: Place, jp_fetch, jp_serverapp) -> None:
    with host_kernel(place, "python3"):
        # JupyterLab calls a notebook in the server's root by an id alone.
        kernel_id = await open_session(jp_fetch, "4a13fe60-0000-4000-8000-000000000000")
        where = await printed(jp_serverapp, kernel_id, "import os; print(os.getcwd(), os.uname().nodename)")
        assert where == f"{jp_serverapp.root_dir} {os.uname().nodename}"
        await jp_fetch("api", "kernels", kernel_id, method="DELETE")
        # A day looks like a loop's id.
        kernel_id = await open_session(jp_fetch, "sales-20240115/x.ipynb")
        await jp_fetch("api", "kernels", kernel_id, method="DELETE")


async def test_a_kernel_that_another_provisioner_starts_runs_in_no_loop(
    place: Place, jp_fetch, jp_serverapp, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, loop_id = f"loops:{folder_name(place.record)}", place.record.id
    (place.workdir / "out").unlink(missing_ok=True)
    (place.workdir / "out").symlink_to(jp_serverapp.root_dir)
    (Path(jp_serverapp.root_dir) / "in").symlink_to(place.workdir)
    (Path(jp_serverapp.root_dir) / "home").symlink_to(place.manager.workspace.loop_home(loop_id))
    refusal = (
        "Small was not started, because the kernel provisioner local-provisioner would run it outside of loop "
        f"{loop_id}. "
    )
    with host_kernel(place, "hostpy", "local-provisioner"), host_kernel(place, "python3"):
        kernels = jp_serverapp.kernel_manager
        factory = KernelProvisionerFactory.instance(parent=kernels)
        assert factory.default_provisioner_name == "loopat-provisioner"

        async def refused(path: str, kernel: str) -> str:
            with pytest.raises(HTTPClientError) as caught:
                await open_session(jp_fetch, path, kernel)
            assert (caught.value.code, kernels.list_kernel_ids()) == (409, []), path
            return " ".join(json.loads(caught.value.response.body)["message"].split())

        for path in (f"{own}/n.ipynb", f"{own}/out/n.ipynb", "in/n.ipynb", "in/out/n.ipynb", "home/n.ipynb"):
            assert await refused(path, "hostpy") == f"{refusal}Choose another kernel for this notebook.", path
        monkeypatch.chdir(place.workdir)
        with pytest.raises(HTTPClientError, match="409"):
            await jp_fetch("api", "kernels", method="POST", body=json.dumps({"name": "hostpy"}))
        monkeypatch.chdir(jp_serverapp.root_dir)
        # Elsewhere it starts as ever.
        kernel_id = await open_session(jp_fetch, "n.ipynb", "hostpy")
        assert type(kernels.get_kernel(kernel_id).provisioner) is LocalProvisioner
        (session,) = json.loads((await jp_fetch("api", "sessions")).body)
        change = functools.partial(jp_fetch, "api", "sessions", session["id"], method="PATCH")
        await change(body=json.dumps({"path": f"{own}/n.ipynb"}))
        with pytest.raises(HTTPClientError, match="501"):
            await change(body=json.dumps({"kernel": {"name": "hostpy"}}))
        assert kernels.list_kernel_ids() == [kernel_id]
        await jp_fetch("api", "kernels", kernel_id, method="DELETE")
        factory.default_provisioner_name = "local-provisioner"
        to_do = "Set KernelProvisionerFactory.default_provisioner_name to loopat-provisioner for this server."
        assert await refused(f"{own}/n.ipynb", "python3") == refusal + to_do
    (place.workdir / "out").unlink()


async def test_a_plain_server_runs_notebooks_of_the_drive_in_their_loop(place: Place, tmp_path: Path) -> None:
    environ = {name: value for name, value in place.environ.items() if name in ("LOOPAT_HOME", "LOOPAT_SANDBOX_IMAGE")}
    (tmp_path / "root").mkdir()
    async with jupyter_server(tmp_path, tmp_path / "root", environ) as server:
        model = {"path": f"loops:{folder_name(place.record)}/n.ipynb", "name": "n", "type": "notebook"}
        session = await server.api("POST", "api/sessions", {**model, "kernel": {"name": "python3"}})
        assert session.status == 201
        async with server.kernel(session.body["kernel"]["id"]) as kernel:
            where = await kernel.run("import os; print(os.uname().nodename)")
        assert where.text == f"loop-{place.record.id[:8]}\n"
        (place.workdir / "out").unlink(missing_ok=True)
        (place.workdir / "out").symlink_to("/etc/hostname")
        planted = await server.api("GET", f"loopat/api/contents/{folder_name(place.record)}/out")
        assert planted.status == 403


async def test_what_a_person_configured_stands(place: Place, tmp_path: Path) -> None:
    stock = "jupyter_server.services.contents.largefilemanager.AsyncLargeFileManager"
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to("/etc/hostname")
    option = f"--ServerApp.contents_manager_class={stock}"
    async with jupyter_server(tmp_path, tmp_path / "root", {}, option) as server:
        assert (await server.api("GET", "api/contents/link")).status == 200
