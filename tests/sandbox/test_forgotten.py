from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
import pytest

from loopat_jupyter.errors import ConflictError, EngineError, NotFoundError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import ExecSpec, InUse
from loopat_jupyter.sandbox import forgotten
from loopat_jupyter.sandbox.execution import Exit, Output
from loopat_jupyter.sandbox.forgotten import _monitors, corrected, end_init, find_init, monitored_inits
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.sandbox.process import exec_roots, is_init
from loopat_jupyter.sandbox.trees import Known
from loopat_jupyter.workspace.config import Config, ImageConfig
from tests.conftest import add_loop
from tests.sandbox.saying import occupy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.workspace.paths import Workspace


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def loops_on(binary: Path, workspace: Workspace, image: str) -> LoopManager:
    config = Config(image=ImageConfig(use=image), network="none")
    return LoopManager(workspace, config, Podman(str(binary), os.environ), member="ada")


class Forgetful(NamedTuple):
    """Loops on a podman that can be made to take what comes for the time after a reboot."""

    manager: LoopManager
    binary: Path
    alive: Path
    """The file by which podman knows that there was no reboot."""

    def says(self, *arguments: str) -> str:
        command = [str(self.binary), *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=False).stdout.strip()

    async def forgot(self, *, noted: bool) -> tuple[LoopRecord, Running]:
        """A loop with a command in it, of which podman has forgotten that it runs."""
        record = add_loop(self.manager.workspace, "one")
        running = await self.manager.use(record)
        await occupy(self.manager, record)
        self.alive.unlink()
        if not noted:
            shutil.rmtree(self.manager.workspace.host(record.id))
        assert self.says("inspect", "--format={{.State.Running}}", running.name) == "false"
        assert is_init(running.init_pid)
        return record, running


@pytest.fixture(scope="module")
def own_podman(small_image: str) -> Iterator[Path]:
    """One that has a storage of its own, beside it: what it forgets is nobody else's."""
    # Podman takes no path of more than 50 characters for these.
    storage = tempfile.mkdtemp()
    folders = [f"--{option}={storage}/{option}" for option in ("root", "runroot", "tmpdir")]
    binary = script(Path(storage, "podman"), f'exec podman {" ".join(folders)} "$@"')
    subprocess.run(f"podman save {small_image} | {binary} load", shell=True, check=True, timeout=120)
    yield binary
    # A monitor whose container has ended has podman clear up.
    using = [each for each in psutil.process_iter(["cmdline"]) if storage in str(each.info["cmdline"])]
    psutil.wait_procs(using, timeout=60)
    # Podman mounts its storage where all of them see it.
    clear = 'umount --recursive --lazy "$1/root/overlay" 2>/dev/null; rm -rf "$1"'
    subprocess.run(["podman", "unshare", "sh", "-c", clear, "sh", storage], check=True, timeout=60)


@pytest.fixture
def forgetful(workspace: Workspace, small_image: str, own_podman: Path) -> Iterator[Forgetful]:
    yield Forgetful(loops_on(own_podman, workspace, small_image), own_podman, own_podman.parent / "tmpdir" / "alive")
    # Of those that it has forgotten, it may refuse to remove some while they live.
    subprocess.run([str(own_podman), "rm", "--force", "--time=0", "--all"], check=False, timeout=60)
    for init in [find_init(workspace, loop_id) for loop_id in workspace.loop_ids()]:
        asyncio.run(end_init(init, "of the test", grace_s=0))


both = pytest.mark.parametrize("noted", [True, False], ids=["noted", "wiped"])


@pytest.mark.podman
@pytest.mark.lonely
@pytest.mark.fault("F11")
class TestForgotten:
    @both
    async def test_work_in_it_goes_on_and_is_not_ended_without_asking(self, forgetful: Forgetful, *, noted: bool):
        manager = forgetful.manager
        record, running = await forgetful.forgot(noted=noted)
        (loop,) = (await manager.page()).loops
        assert (loop.state, loop.in_use) == ("running", InUse(commands=1))
        assert (await manager.get(record.id)).in_use == InUse(commands=1)
        with pytest.raises(ConflictError, match="1 command of loop 'one' would end"):
            await manager.delete(record.id)
        assert (await manager.start(record)).init_pid == running.init_pid
        assert len(exec_roots(running.init_pid)) == 1

    @both
    async def test_it_is_stopped_and_started_again(self, forgetful: Forgetful, *, noted: bool):
        record, running = await forgetful.forgot(noted=noted)
        await forgetful.manager.stop(record)
        assert not is_init(running.init_pid)
        assert (await forgetful.manager.get(record.id)).state == "stopped"
        again = await forgetful.manager.start(record)
        assert is_init(again.init_pid)
        assert again.name == running.name

    async def test_all_loops_are_stopped(self, forgetful: Forgetful):
        _, running = await forgetful.forgot(noted=False)
        await forgetful.manager.upkeep.stop_all()
        assert not is_init(running.init_pid)

    async def test_it_is_deleted_with_all_that_runs(self, forgetful: Forgetful):
        record, running = await forgetful.forgot(noted=False)
        await forgetful.manager.delete(record.id, force=True)
        assert not is_init(running.init_pid)
        assert forgetful.says("ps", "--all", "--quiet") == ""
        with pytest.raises(NotFoundError):
            await forgetful.manager.get(record.id)

    async def test_a_new_one_takes_its_place(self, forgetful: Forgetful):
        record, running = await forgetful.forgot(noted=True)
        again = await forgetful.manager.start(record, fresh=True)
        assert not is_init(running.init_pid)
        assert is_init(again.init_pid)
        assert forgetful.says("ps", "--quiet").count("\n") == 0

    @both
    async def test_it_is_found_where_podman_lost_the_container_too(self, forgetful: Forgetful, *, noted: bool):
        record, running = await forgetful.forgot(noted=noted)
        forgetful.says("rm", "--force", running.name)
        assert forgetful.says("ps", "--all", "--quiet") == ""
        assert is_init(running.init_pid)
        assert (await forgetful.manager.get(record.id)).state == "running"
        assert exec_roots((await forgetful.manager.start(record)).init_pid)
        await forgetful.manager.stop(record)
        assert not is_init(running.init_pid)


@pytest.mark.podman
@pytest.mark.lonely
@pytest.mark.fault("F11")
async def test_commands_start_in_a_sandbox_that_podman_has_forgotten(
    workspace: Workspace, sandbox_image: str, tmp_path: Path
):
    forgetting = tmp_path / "forgetting"
    lost = 's/"Running": true/"Running": false/; s/"Pid": [0-9]*/"Pid": 0/; s/"State": "running"/"State": "created"/'
    binary = script(
        tmp_path / "podman",
        f"""[ -e {shlex.quote(str(forgetting))} ] || exec podman "$@"
        case $1 in
        inspect | ps) podman "$@" | sed '{lost}' ;;
        stop) ;;
        *) echo "container state improper" >&2; exit 125 ;;
        esac""",
    )
    manager = loops_on(binary, workspace, sandbox_image)
    record = add_loop(workspace, "one")
    running = await manager.use(record)
    forgetting.touch()
    shutil.rmtree(workspace.host(record.id))
    events = [event async for event in manager.exec(record, ExecSpec(argv=("echo", "on")))]
    assert b"".join(event.data for event in events if isinstance(event, Output)) == b"on\n"
    assert events[-1] == Exit(0)
    # As kernels and terminals do.
    await occupy(manager, record)
    assert manager.sandboxes.known(record) == running
    await manager.stop(record)
    assert not is_init(running.init_pid)


def test_containers_are_found_by_their_monitors():
    assert _monitors(b"/usr/bin/conmon\0-c\0abc\0-n\0loopat-a\0--full-attach\0") == "loopat-a"
    assert _monitors(b"conmon\0-n\0") == ""
    assert _monitors(b"conmon\0-c\0abc\0") == ""
    assert _monitors(b"/usr/bin/other\0-n\0loopat-a\0") == ""
    assert _monitors(b"") == ""


def test_what_runs_in_another_namespace_monitors_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(forgotten, "is_init", lambda pid: pid > 0)
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    pretend = 'exec -a conmon bash -c \'sleep 600 & echo >"$2"; wait\' -n "$@"'
    confined = ("unshare", "--user", "--map-root-user", "--pid", "--fork")
    for name, prefix in (("free", ()), ("confined", confined)):
        with subprocess.Popen([*prefix, "bash", "-c", pretend, "bash", name, str(ready)]) as process:
            ready.read_text()
            try:
                assert (name in monitored_inits()) == (name == "free")
            finally:
                for each in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        each.kill()


def test_what_does_not_run_stays_as_podman_says(workspace: Workspace):
    assert corrected(workspace, {}, ["0a1b2c3d-1111-2222-3333-444455556666"]) == {}
    assert find_init(workspace, "0a1b2c3d-1111-2222-3333-444455556666") is None


STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"


@pytest.mark.parametrize("grace_s", [0.0, 0.1])
async def test_what_heeds_no_request_to_end_is_killed(grace_s: float):
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", STUBBORN, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    await end_init(Known.of(process.pid), "l", grace_s=grace_s)
    assert await process.wait() == -signal.SIGKILL


async def test_what_cannot_be_ended_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Known, "signal", lambda self, signum: None)
    monkeypatch.setattr(forgotten, "_KILLED_WITHIN_S", 0.01)
    with pytest.raises(EngineError, match=f"process {os.getpid()} still runs"):
        await end_init(Known.of(os.getpid()), "l", grace_s=0.01)
