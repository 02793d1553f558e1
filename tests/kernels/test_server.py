"""Kernels of loops in a real Jupyter server."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import HTTPClientError

from loopat_jupyter.sandbox.process import innermost_pid
from loopat_jupyter.sandbox.specs import HOME_KERNELS
from tests.jupyter_process import jupyter_server
from tests.kernels.conftest import gone, hears

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.models import LoopEvent
    from tests.kernels.conftest import Place

pytestmark = [pytest.mark.podman, pytest.mark.usefixtures("small_kernels")]


SMALL = f"exec python3 ~/{'/'.join(HOME_KERNELS)}/python3/small_kernel.py $0"


@pytest.fixture
def jp_environ(jp_environ, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders of the shared loop come after those of pytest-jupyter, and win."""
    for name, value in {**place.environ, "HOME": pwd.getpwuid(os.getuid()).pw_dir}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def jp_root_dir(place: Place) -> Path:
    return place.workdir


@pytest.fixture
def jp_server_config() -> dict[str, object]:
    return {
        "ServerApp": {
            "kernel_manager_class": "loopat_jupyter.kernels.mapping.LoopMappingKernelManager",
            "session_manager_class": "loopat_jupyter.kernels.sessions.LoopSessionManager",
        },
        "KernelProvisionerFactory": {"default_provisioner_name": "loopat-provisioner"},
        # Far too seldom to notice anything in these tests: what is noticed is noticed without it.
        "AsyncIOLoopKernelRestarter": {"time_to_dead": 3600.0},
    }


async def start_session(jp_fetch, kernel: str = "python3") -> str:
    """Open a notebook session; the kernel's id."""
    model = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": {"name": kernel}}
    answer = await jp_fetch("api", "sessions", method="POST", body=json.dumps(model))
    return json.loads(answer.body)["kernel"]["id"]


async def refusal(jp_fetch, *route: str, body: dict[str, object]) -> dict[str, object]:
    with pytest.raises(HTTPClientError) as caught:
        await jp_fetch(*route, method="POST", body=json.dumps(body))
    return {"status": caught.value.code, **json.loads(caught.value.response.body)}


def event(kernels, kernel_id: str, name: str) -> asyncio.Event:
    happened = asyncio.Event()
    kernels.add_restart_callback(kernel_id, happened.set, name)
    return happened


async def ready(kernel) -> None:
    """Return when a kernel answers; one whose restart has only been announced is started first."""
    async with asyncio.timeout(60):
        while not await kernel.is_alive():
            await asyncio.sleep(0.01)
    client = kernel.client()
    client.start_channels(hb=False)
    try:
        await hears(client)
    finally:
        client.stop_channels()


async def lose_sandbox(place: Place) -> None:
    """Take a sandbox away as nobody who wants its loop to go on would."""
    name = place.manager.sandboxes.plan(place.record).name
    await place.manager.engine.run("rm", "--force", "--time=0", "--volumes", name)


@pytest.fixture
def breakable(place: Place):
    """A kernel that can be broken by removing a file."""
    folder = place.manager.workspace.loop_home(place.record.id).joinpath(*HOME_KERNELS, "breakable")
    folder.mkdir(parents=True)
    command = f"test -e ~/whole || {{ echo lost a part >&2; exit 1; }}; {SMALL}"
    spec = {"argv": ["bash", "-c", command, "{connection_file}"], "display_name": "Breakable", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    part = place.manager.workspace.loop_home(place.record.id) / "whole"
    part.touch()
    yield part
    shutil.rmtree(folder)
    part.unlink(missing_ok=True)


@pytest.mark.fault("F4")
async def test_a_killed_kernel_is_restarted_as_soon_as_it_dies(place: Place, jp_fetch, jp_serverapp) -> None:
    kernels = jp_serverapp.kernel_manager
    kernel_id = await start_session(jp_fetch)
    kernel = kernels.get_kernel(kernel_id)
    for _ in range(2):
        restarting = event(kernels, kernel_id, "restart")
        before = kernel.provisioner.pid
        os.kill(before, signal.SIGKILL)
        await asyncio.wait_for(restarting.wait(), 30)
        await gone(before)
        await ready(kernel)
        assert kernel.provisioner.pid != before
        assert len(place.processes()) == 1


async def test_a_kernel_that_dies_just_after_its_restart_is_restarted_again(
    place: Place, jp_fetch, jp_serverapp
) -> None:
    kernels = jp_serverapp.kernel_manager
    kernel_id = await start_session(jp_fetch)
    kernel, dead = kernels.get_kernel(kernel_id), event(kernels, kernel_id, "dead")
    for _ in range(2):
        before = kernel.provisioner.pid
        os.kill(before, signal.SIGKILL)
        # Its manager says 10 ms later that it has ended this restart.
        async with asyncio.timeout(60):
            while not kernel.has_kernel or kernel.provisioner.pid in (before, None):
                await asyncio.sleep(0)
        assert not kernel.ready.done()
    await ready(kernel)
    assert (dead.is_set(), len(place.processes())) == (False, 1)


async def test_a_kernel_comes_back_after_its_whole_sandbox_went_away(place: Place, jp_fetch, jp_serverapp) -> None:
    kernels = jp_serverapp.kernel_manager
    kernel_id = await start_session(jp_fetch)
    for impatient in (False, True):
        restarting, dead = event(kernels, kernel_id, "restart"), event(kernels, kernel_id, "dead")
        await lose_sandbox(place)
        await asyncio.wait_for(restarting.wait(), 30)
        if impatient:
            path = ("api", "kernels", kernel_id, "restart")
            assert (await jp_fetch(*path, method="POST", body="", request_timeout=60)).code == 200
        await ready(kernels.get_kernel(kernel_id))
        assert (len(place.processes()), dead.is_set()) == (1, False)


async def test_a_kernel_that_cannot_be_restarted_is_dead_to_everybody(
    place: Place, jp_fetch, jp_serverapp, breakable: Path
) -> None:
    await place.manager.start(place.record)
    kernels = jp_serverapp.kernel_manager
    kernel_id = await start_session(jp_fetch, place.kernel_name.replace("python3", "breakable"))
    dead = event(kernels, kernel_id, "dead")
    breakable.unlink()
    os.kill(kernels.get_kernel(kernel_id).provisioner.pid, signal.SIGKILL)
    await asyncio.wait_for(dead.wait(), 30)
    assert kernel_id not in kernels


async def test_a_kernel_that_died_too_often_leaves_nothing(place: Place, jp_fetch, jp_serverapp) -> None:
    kernels = jp_serverapp.kernel_manager
    kernel_id = await start_session(jp_fetch)
    for who in ("the process", "the restarter"):
        kernel = kernels.get_kernel(kernel_id)
        kernel._restarter.restart_limit = 0
        dead = event(kernels, kernel_id, "dead")
        if who == "the restarter":
            kernel.provisioner._watch.cancel()
        os.kill(kernel.provisioner.pid, signal.SIGKILL)
        if who == "the restarter":
            while await kernel.is_alive():
                await asyncio.sleep(0.01)
            await kernel._restarter.poll()
        await asyncio.wait_for(dead.wait(), 30)
        assert kernel_id not in kernels.keeper, who
        assert kernel._activity_stream is None, who
        # The session is still in the table, without a kernel.
        again = await start_session(jp_fetch)
        assert (again != kernel_id, len(place.processes()), len(place.run_files())) == (True, 1, 8), who
        assert kernel.provisioner._kernel.process is None, who
        kernel_id = again
    await jp_fetch("api", "kernels", kernel_id, method="DELETE")


async def test_restarts_over_rest_give_one_fresh_kernel_and_an_end_is_no_death(
    place: Place, jp_fetch, jp_serverapp
) -> None:
    kernels = jp_serverapp.kernel_manager
    kernel_id = await start_session(jp_fetch)
    path = ("api", "kernels", kernel_id)
    before = kernels.get_kernel(kernel_id).provisioner.pid
    # As somebody who wanted to connect while it did not start left it.
    kernels.get_kernel(kernel_id).execution_state, kernels.get_kernel(kernel_id).reason = "dead", "It did not start."
    # Several at once leave one kernel.
    await asyncio.gather(*(jp_fetch(*path, "restart", method="POST", body="") for _ in range(3)))
    assert kernels.get_kernel(kernel_id).provisioner.pid != before
    assert len(place.processes()) == 1
    model = json.loads((await jp_fetch(*path)).body)
    assert (model["execution_state"] in ("starting", "idle"), model.get("reason")) == (True, None)
    restarting = event(kernels, kernel_id, "restart")
    await jp_fetch(*path, method="DELETE")
    assert not restarting.is_set()
    assert (place.processes(), place.run_files()) == ([], [])


async def test_a_restart_whose_kernel_dies_comes_to_its_end(place: Place, jp_fetch, jp_serverapp) -> None:
    kernels = jp_serverapp.kernel_manager
    kernel_id = await start_session(jp_fetch)
    restarted = await kernels.restart_kernel(kernel_id)
    kernel = kernels.get_kernel(kernel_id)
    kernel._restarter.restart_limit = 0
    os.kill(kernel.provisioner.pid, signal.SIGKILL)
    done, _ = await asyncio.wait({restarted}, timeout=30)
    assert done
    # It may have answered just before.
    assert str(restarted.exception() or "Restart failed") == "Restart failed"


async def test_a_start_follows_its_loop_into_a_new_sandbox_and_is_told_of_its_end(
    place: Place, jp_fetch, jp_serverapp, breakable: Path
) -> None:
    spec = place.manager.workspace.loop_home(place.record.id).joinpath(*HOME_KERNELS, "breakable", "kernel.json")
    command = f"test ! -e ~/whole || exec sleep 600; {SMALL}"
    argv = ["bash", "-c", command, "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Slow", "language": "python"}))
    await place.manager.start(place.record)
    name = place.kernel_name.replace("python3", "breakable")
    starting = asyncio.ensure_future(refusal(jp_fetch, "api", "kernels", body={"name": name}))
    await place.wait_for_command("sleep", "600")
    await place.manager.sandboxes.stop(place.record.id)
    stopped = "The kernel did not start, because its loop 'A loop' was stopped meanwhile."
    assert " ".join(str((await starting)["message"]).split()).startswith(stopped)
    await place.manager.start(place.record)
    session = asyncio.ensure_future(start_session(jp_fetch, name))
    await place.wait_for_command("sleep", "600")
    breakable.unlink()
    await place.manager.start(place.record, fresh=True)
    await ready(jp_serverapp.kernel_manager.get_kernel(await session))
    assert len(place.processes()) == 1


async def test_failed_starts_and_restarts_are_told_and_keep_no_server_from_ending(
    place: Place, tmp_path: Path, breakable: Path
) -> None:
    await place.manager.start(place.record)
    options = ["--KernelProvisionerFactory.default_provisioner_name=loopat-provisioner"]
    environ = {name: value for name, value in place.environ.items() if name != "JUPYTER_RUNTIME_DIR"}
    async with jupyter_server(tmp_path, place.workdir, environ, *options) as server:
        name = place.kernel_name.replace("python3", "breakable")
        session = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": {"name": name}}
        kernel_id = (await server.api("POST", "api/sessions", session)).body["kernel"]["id"]
        breakable.unlink()
        refused = await server.api("POST", f"api/kernels/{kernel_id}/restart", {})
        assert (refused.status, refused.body["reason"]) == (500, "kernel_failed")
        assert refused.body["message"].startswith("Breakable did not start.")
        # Nobody would start it again.
        assert [(await server.api("GET", f"api/{route}")).body for route in ("kernels", "sessions")] == [[], []]
        for route, body in (("kernels", {"name": name}), ("sessions", session)):
            refused = await server.api("POST", f"api/{route}", body)
            assert refused.status == 500
            assert refused.body["message"].startswith("Breakable did not start. It ended before it was ready.")
            assert refused.body["message"].endswith("lost a part")
        assert place.run_files() == []
        server.process.terminate()
        assert await asyncio.wait_for(server.process.wait(), 60) == 0


async def test_a_start_that_the_end_of_the_server_calls_off_is_answered_in_a_sentence(
    place: Place, tmp_path: Path, breakable: Path
) -> None:
    spec = place.manager.workspace.loop_home(place.record.id).joinpath(*HOME_KERNELS, "breakable", "kernel.json")
    argv = ["bash", "-c", "exec sleep 600", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Slow", "language": "x"}))
    await place.manager.start(place.record)
    options = ["--KernelProvisionerFactory.default_provisioner_name=loopat-provisioner"]
    environ = {name: value for name, value in place.environ.items() if name != "JUPYTER_RUNTIME_DIR"}
    name = place.kernel_name.replace("python3", "breakable")
    session = {"path": "a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": {"name": name}}
    for route, body in (("sessions", session), ("kernels", {"name": name})):
        async with jupyter_server(tmp_path / route, place.workdir, environ, *options) as server:
            start = asyncio.ensure_future(server.api("POST", f"api/{route}", body))
            kernel = await place.wait_for_command("sleep", "600")
            server.process.terminate()
            answer = await start
            assert (answer.status, answer.body["reason"]) == (409, "conflict"), route
            assert " ".join(answer.body["message"].split()) == (
                "The kernel was not started, because the server is stopping. Start it again later."
            )
            assert await server.process.wait() == 0
            assert "Traceback" not in server.log.read_text()
        await gone(kernel)
    assert place.run_files() == []


class TestPending:
    """Where starts are answered before they are done."""

    @pytest.fixture
    def jp_server_config(self) -> dict[str, object]:
        return {
            "ServerApp": {"kernel_manager_class": "loopat_jupyter.kernels.mapping.LoopMappingKernelManager"},
            "LoopMappingKernelManager": {"use_pending_kernels": True},
            "KernelProvisionerFactory": {"default_provisioner_name": "loopat-provisioner"},
        }

    async def test_kernels_start_restart_and_end(self, place: Place, jp_fetch, jp_serverapp) -> None:
        kernels = jp_serverapp.kernel_manager
        kernel_id = await start_session(jp_fetch)
        kernel = kernels.get_kernel(kernel_id)
        assert not kernel.ready.done()
        await ready(kernel)
        before = kernel.provisioner.pid
        await jp_fetch("api", "kernels", kernel_id, "restart", method="POST", body="")
        assert kernel.provisioner.pid != before
        assert len(place.processes()) == 1
        restarting = event(kernels, kernel_id, "restart")
        os.kill(kernel.provisioner.pid, signal.SIGKILL)
        await asyncio.wait_for(restarting.wait(), 30)
        await ready(kernel)
        assert (await jp_fetch("api", "kernels", kernel_id, method="DELETE")).code == 204
        async with asyncio.timeout(60):
            while kernel_id in kernels:
                await asyncio.sleep(0.01)
        assert place.processes() == place.run_files() == []

    async def test_a_failed_start_is_told_to_who_connects(
        self, place: Place, jp_fetch, jp_ws_fetch, jp_serverapp, breakable: Path
    ) -> None:
        await place.manager.start(place.record)
        breakable.unlink()
        kernels = jp_serverapp.kernel_manager
        kernel_id = await start_session(jp_fetch, place.kernel_name.replace("python3", "breakable"))
        with pytest.raises(HTTPClientError, match="500"):
            await jp_ws_fetch("api", "kernels", kernel_id, "channels")
        model = json.loads((await jp_fetch("api", "kernels", kernel_id)).body)
        assert model["execution_state"] == "dead"
        assert model["reason"].startswith("Breakable did not start. It ended before it was ready.")
        assert model["reason"].endswith("lost a part")
        assert (await jp_fetch("api", "kernels", kernel_id, method="DELETE")).code == 204
        assert kernel_id not in kernels
        assert place.run_files() == []

    async def test_a_start_that_is_under_way_does_not_keep_the_server_from_ending(
        self, place: Place, jp_fetch, jp_serverapp, breakable: Path
    ) -> None:
        spec = place.manager.workspace.loop_home(place.record.id).joinpath(*HOME_KERNELS, "breakable", "kernel.json")
        argv = ["bash", "-c", "exec sleep 600", "{connection_file}"]
        spec.write_text(json.dumps({"argv": argv, "display_name": "Slow", "language": "x"}))
        await place.manager.start(place.record)
        kernels = jp_serverapp.kernel_manager
        kernel_id = await start_session(jp_fetch, place.kernel_name.replace("python3", "breakable"))
        kernel = await place.wait_for_command("sleep", "600")
        await asyncio.wait_for(kernels.shutdown_all(), 30)
        await gone(kernel)
        assert kernel_id not in kernels


class TestPolledAllTheTime:
    """With a restarter that looks again and again, as the stock one does every three seconds."""

    @pytest.fixture
    def jp_server_config(self) -> dict[str, object]:
        return {
            "KernelProvisionerFactory": {"default_provisioner_name": "loopat-provisioner"},
            "AsyncIOLoopKernelRestarter": {"time_to_dead": 0.02},
        }

    @pytest.mark.fault("F4")
    async def test_a_kernel_that_answers_nothing_is_reported_until_it_goes_on(
        self, place: Place, jp_fetch, jp_serverapp
    ) -> None:
        kernel = jp_serverapp.kernel_manager.get_kernel(await start_session(jp_fetch))
        events: asyncio.Queue[LoopEvent] = asyncio.Queue()
        kernel.provisioner._kernel.manager.on_event = events.put_nowait
        pid = kernel.provisioner.pid
        os.kill(pid, signal.SIGSTOP)
        told = await asyncio.wait_for(events.get(), 30)
        shown = await place.manager.get(place.record.id)
        assert (told.action, told.loop_id, told.message) == ("warning", place.record.id, shown.warnings[-1])
        assert f"`kill -CONT {innermost_pid(pid)}`" in told.message
        assert shown.in_use.unresponsive == (innermost_pid(pid),)
        listed = {loop.id: loop for loop in (await place.manager.page()).loops}
        assert told.message in listed[place.record.id].warnings
        os.kill(pid, signal.SIGCONT)
        assert (await asyncio.wait_for(events.get(), 30)).action == "updated"
        assert told.message not in (await place.manager.get(place.record.id)).warnings
        assert kernel.provisioner.get_shutdown_wait_time(5.0) == 5.0
        await ready(kernel)
        # One that is stopped for good gives way to a fresh one, and nobody waits for it.
        os.kill(pid, signal.SIGSTOP)
        assert (await asyncio.wait_for(events.get(), 30)).action == "warning"
        assert kernel.provisioner.get_shutdown_wait_time(5.0) == 0.0
        await jp_fetch("api", "kernels", kernel.kernel_id, "restart", method="POST", body="", request_timeout=60)
        assert (await asyncio.wait_for(events.get(), 30)).action == "updated"
        assert kernel.provisioner.pid != pid
        assert len(place.processes()) == 1
        await jp_fetch("api", "kernels", kernel.kernel_id, method="DELETE")

    async def test_an_end_of_the_loop_is_an_end_and_a_new_sandbox_no_death(
        self, place: Place, jp_fetch, jp_serverapp
    ) -> None:
        await place.manager.start(place.record)
        kernels = jp_serverapp.kernel_manager
        kernel_id = await start_session(jp_fetch)
        dead, restarting = event(kernels, kernel_id, "dead"), event(kernels, kernel_id, "restart")
        events: asyncio.Queue[LoopEvent] = asyncio.Queue()
        provisioner = kernels.get_kernel(kernel_id).provisioner
        provisioner._kernel.manager.on_event = events.put_nowait
        before = provisioner.pid
        await place.manager.start(place.record, fresh=True)
        while (told := await asyncio.wait_for(events.get(), 30)).action != "updated":
            pass
        assert told.kernel_id == kernel_id
        await ready(kernels.get_kernel(kernel_id))
        assert kernels.get_kernel(kernel_id).provisioner.pid != before
        assert len(place.processes()) == 1
        for end, state in (("stop", "stopped"), ("remove", "absent")):
            await getattr(place.manager.sandboxes, end)(place.record.id)
            await asyncio.wait_for(dead.wait(), 30)
            assert not restarting.is_set()
            assert kernel_id not in kernels
            assert (await place.manager.sandboxes.status(place.record)).state == state
            if end == "stop":
                kernel_id = await start_session(jp_fetch)
                dead, restarting = event(kernels, kernel_id, "dead"), event(kernels, kernel_id, "restart")
