"""Faults that no single module answers for, on real podman. What else is tested of faults: docs/faults.md."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import psutil
import pytest

from loopat_jupyter.errors import ConflictError, KernelStartError, NotFoundError
from loopat_jupyter.kernels.launch import Place, SandboxKernel
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import ExecSpec, LoopConfig
from loopat_jupyter.sandbox.activity import IdleWatch
from loopat_jupyter.sandbox.entrance import ENTRANCE
from loopat_jupyter.sandbox.execution import Exit, Output
from loopat_jupyter.sandbox.facts import _facts_from_ps
from loopat_jupyter.sandbox.process import exec_roots, is_init
from loopat_jupyter.workspace.paths import Workspace
from tests.conftest import add_loop, end_all, remove_from_podman
from tests.jupyter_process import forked_script, jupyter_server
from tests.sandbox.saying import occupy

if TYPE_CHECKING:
    from loopat_jupyter.models import ContainerFacts, LoopEvent, LoopRecord

pytestmark = pytest.mark.podman


class Scene:
    """A loop to break, with files of a person, and another one that must not notice."""

    def __init__(self, manager: LoopManager, one: LoopRecord, other: LoopRecord) -> None:
        self.manager, self.one, self.other = manager, one, other
        self.name = manager.sandboxes.plan(one).name
        self.steps: list[str] = []
        """What the person was told."""
        manager.on_event = self.note
        workspace = manager.workspace
        for folder in (workspace.workdir(one.id), workspace.loop_home(one.id)):
            folder.joinpath("work").write_bytes(os.urandom(1000))
        self.before = self.files()
        self.other_pid = manager.sandboxes.state_files(other.id).running().pid

    def note(self, event: LoopEvent) -> None:
        if event.progress is not None:
            self.steps.append(event.progress.label)

    def files(self) -> dict[str, str]:
        """Hashes of what the person has."""
        workspace = self.manager.workspace
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for folder in (workspace.workdir(self.one.id), workspace.loop_home(self.one.id))
            for path in folder.rglob("*")
            if path.is_file()
        }

    async def state(self) -> str:
        return (await self.manager.sandboxes.status(self.one)).state

    async def run(self) -> str:
        """What a command prints in the loop, which is brought up for it."""
        events = [event async for event in self.manager.exec(self.one, ExecSpec(argv=("cat", "work")))]
        assert events[-1] == Exit(0)
        return hashlib.sha256(b"".join(event.data for event in events if isinstance(event, Output))).hexdigest()

    async def works(self) -> None:
        """The loop can be used, its files are as they were, nothing is left over, and the other one went on."""
        assert await self.run() == self.before[str(self.manager.workspace.workdir(self.one.id) / "work")]
        assert self.files() == self.before
        # As a kernel or terminal finds it that starts there.
        assert self.manager.sandboxes.known(self.other).init_pid == self.other_pid
        found = await containers(self.manager)
        assert sorted((facts.loop_id, facts.alive) for facts in found) == sorted(
            (record.id, True) for record in (self.one, self.other)
        )
        for facts in found:
            await gone(facts.pid)
        assert [entry.name for entry in self.manager.workspace.run(self.one.id).iterdir()] == [ENTRANCE]


async def gone(init_pid: int) -> None:
    """Return when nothing that was started from outside runs any more."""
    async with asyncio.timeout(60):
        while exec_roots(init_pid):
            await asyncio.sleep(0.01)


async def containers(manager: LoopManager) -> list[ContainerFacts]:
    """All that carry the workspace's label, whatever they are called."""
    ours = f"--filter=label=loopat.workspace={manager.workspace.name}"
    listed = await manager.engine.run("ps", "--all", ours, "--format=json")
    return [_facts_from_ps(entry) for entry in msgspec.json.decode(listed.stdout)]


@pytest.fixture(scope="module")
def workspace(workspace_of_module: Workspace) -> Workspace:
    return workspace_of_module


@pytest.fixture(scope="module")
def loops(workspace: Workspace) -> tuple[LoopRecord, LoopRecord]:
    """Both are the same for all tests: the one works after each of them, and the other has not noticed."""
    return add_loop(workspace, "one"), add_loop(workspace, "other")


@pytest.fixture
async def scene(manager: LoopManager, loops: tuple[LoopRecord, LoopRecord]) -> Scene:
    for record in loops:
        await manager.use(record)
    end_all(manager, loops[0])
    return Scene(manager, *loops)


@pytest.mark.fault("F2")
async def test_a_sandbox_goes_on_without_its_monitor_and_can_be_stopped(scene: Scene) -> None:
    (facts,) = msgspec.json.decode((await scene.manager.engine.run("inspect", scene.name)).stdout)
    os.kill(facts["State"]["ConmonPid"], signal.SIGKILL)
    assert await scene.state() == "running"
    await scene.works()
    await scene.manager.stop(scene.one)
    assert await scene.state() == "stopped"
    await scene.works()


@pytest.mark.fault("F2")
@pytest.mark.parametrize("victims", [("Pid",), ("ConmonPid", "Pid")], ids="-".join)
async def test_killed_processes_of_a_container_are_noticed_and_mended(scene: Scene, victims: tuple[str, ...]) -> None:
    (facts,) = msgspec.json.decode((await scene.manager.engine.run("inspect", scene.name)).stdout)
    for victim in victims:
        os.kill(facts["State"][victim], signal.SIGKILL)
    async with asyncio.timeout(60):
        while is_init(facts["State"]["Pid"]):
            await asyncio.sleep(0.01)
    # Podman alone would still say that it runs.
    assert await scene.state() in ("error", "stopped")
    await scene.works()


@pytest.mark.fault("F6")
async def test_a_container_removed_behind_our_back_is_made_again(scene: Scene) -> None:
    await scene.manager.engine.run("rm", "--force", "--time=0", scene.name)
    assert await scene.state() == "absent"
    await scene.works()
    assert scene.steps == ["starting the sandbox"]


@pytest.mark.fault("F6")
async def test_an_image_removed_behind_our_back_is_built_again(scene: Scene, small_image: str) -> None:
    manager = scene.manager
    # An image of this loop alone, as those of others must stay.
    tools = manager.workspace.toolchain(scene.one.id)
    tools.write_text(f"[tools]\n# {scene.one.id}\n")
    lonely = LoopConfig(network="none")
    scene.one = record = await manager.update(scene.one.id, {"image": small_image, "config": lonely})
    for way in ("rmi", "prune"):
        image = (await manager.start(record)).image_id
        # Before the first start it is not known which image lies below.
        tag = manager.toolchains.reference(record)
        assert tag.startswith("localhost/loopat-tools-"), manager.toolchains.problem(record)
        await manager.stop(record)
        if way == "rmi":
            await manager.engine.run("rmi", "--force", tag)
        else:
            # As `podman system prune --all` does, of what is ours.
            await manager.engine.run("container", "prune", "--force", f"--filter=label=loopat.loop-id={record.id}")
            await manager.engine.run("rmi", image)
        assert await scene.state() == "absent"
        scene.steps.clear()
        await scene.works()
        # The person sees why it takes its time.
        assert "toolchain" in scene.steps
    tools.unlink()
    await manager.start(await manager.update(record.id, {"image": None, "config": LoopConfig()}), fresh=True)
    await manager.engine.run("rmi", tag)


STEPS = ("start", "stop", "start", "delete", "start", "stop")

OTHER_PROCESS = """
import asyncio, os, sys
from loopat_jupyter.errors import NotFoundError
from loopat_jupyter.loops import LoopManager

async def main():
    manager = LoopManager.from_environment(os.environ)
    for step in sys.argv[2:]:
        try:
            await getattr(manager, step)(manager.store.read(sys.argv[1]))
        except NotFoundError:
            print("unknown", flush=True)

asyncio.run(main())
"""


@pytest.mark.fault("F10")
@pytest.mark.parametrize("seed", range(2))
async def test_start_stop_and_delete_at_once_come_out_as_in_some_order(
    scene: Scene, sandbox_image: str, tmp_path: Path, seed: int
) -> None:
    manager, record = scene.manager, scene.one
    doomed = manager.create(title="doomed")
    steps = random.Random(seed).sample(STEPS, len(STEPS))

    async def do(step: str) -> None:
        if step == "delete":
            await manager.delete(doomed.id, force=True)
        else:
            await getattr(manager, step)(doomed)

    environ = {**os.environ, "LOOPAT_HOME": str(manager.workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}
    others = ("start", "stop", "start", "stop", "start")
    beside = forked_script(OTHER_PROCESS, doomed.id, *others, environ=environ, log=tmp_path / "log")
    results = await asyncio.gather(*map(do, steps), return_exceptions=True)
    assert await beside.wait() == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "log").read_text().split() in (["unknown"] * count for count in range(6))
    # Whoever came after the delete was told that there is no such loop; everybody else had what was asked for.
    assert {type(result) for result in results} <= {type(None), type(await manager.start(record)), NotFoundError}
    assert not manager.workspace.loop(doomed.id).exists()
    assert not manager.workspace.run(doomed.id).exists()
    assert list(manager.workspace.locks.glob(f"*{doomed.id}*")) == []
    await scene.works()


@pytest.mark.fault("F11")
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
async def test_a_wiped_runtime_directory_costs_no_file(scene: Scene, *, running: bool) -> None:
    if not running:
        await scene.manager.stop(scene.one)
    shutil.rmtree(scene.manager.workspace.run(scene.one.id).parent)
    await scene.works()


@pytest.mark.fault("F11")
async def test_work_in_a_loop_whose_runtime_directory_was_wiped_is_not_ended_without_asking(scene: Scene) -> None:
    running = await scene.manager.use(scene.one)
    await occupy(scene.manager, scene.one)
    # Until then it needs files that are there.
    while [psutil.Process(pid).name() for pid in exec_roots(running.init_pid)] != ["sleep"]:
        await asyncio.sleep(0.01)
    shutil.rmtree(scene.manager.workspace.run(scene.one.id).parent)
    with pytest.raises(ConflictError, match=f"jupyter loopat recreate {scene.one.id[:8]}"):
        await scene.run()
    assert exec_roots(running.init_pid)
    await scene.manager.start(scene.one, fresh=True)
    await scene.works()


WITHOUT = {
    "subordinate ids": ("mount --bind /dev/null /etc/subuid", "sudo usermod --add-subuids"),
    "newuidmap": ("mount --bind /dev/null /usr/bin/newuidmap", "uidmap"),
}


@pytest.mark.fault("F12")
@pytest.mark.parametrize("lacking", WITHOUT)
async def test_a_machine_without_ids_for_containers_is_told_what_to_do(workspace: Workspace, lacking: str) -> None:
    hide, fix = WITHOUT[lacking]
    script = f'{hide} && exec "$0" -m jupyter loopat doctor'
    # What is hidden is hidden from this one process and its children.
    namespaces = ("unshare", "--user", "--map-current-user", "--keep-caps", "--mount")
    asked = await asyncio.create_subprocess_exec(
        *(*namespaces, "bash", "-c", script, sys.executable),
        env={**os.environ, "LOOPAT_HOME": str(workspace.home), "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(asked.communicate(), 120)
    assert asked.returncode != 0
    assert f"{lacking}: fix it with" in out.decode(), err
    assert fix in out.decode()


TERMINALS = 100


@pytest.mark.fault("F15")
async def test_a_hundred_terminals_end_with_their_loop(scene: Scene, sandbox_image: str, tmp_path: Path) -> None:
    manager, record = scene.manager, scene.one
    environ = {"LOOPAT_HOME": str(manager.workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}
    workdir = str(manager.workspace.workdir(record.id))
    async with jupyter_server(tmp_path, manager.workspace.home, environ) as server:

        async def open_one(_: int) -> str:
            opened = await server.api("POST", "api/terminals", {"cwd": workdir})
            assert opened.status == 200, server.log.read_text()
            async with server.terminal(opened.body["name"]) as terminal:
                assert "42" in await terminal.run("echo $((6 * 7))")
            return str(opened.body["name"])

        opened = await asyncio.gather(*map(open_one, range(TERMINALS)))
        assert len(set(opened)) == TERMINALS
        assert (await manager.get(record.id)).in_use.terminals == TERMINALS
        began = time.monotonic()
        assert (await server.api("POST", f"loopat/api/loops/{record.id}/stop")).status == 200
        print(f"{TERMINALS} terminals ended within {time.monotonic() - began:.1f} s")
        async with asyncio.timeout(60):
            while (await server.api("GET", "api/terminals")).body:
                await asyncio.sleep(0.02)
            while psutil.Process(server.process.pid).children():
                await asyncio.sleep(0.02)
        (facts,) = msgspec.json.decode((await manager.engine.run("inspect", scene.name)).stdout)
        assert facts["ExecIDs"] in (None, [])
    assert list(manager.workspace.host(record.id).glob("kept/*")) == []
    await scene.works()


@pytest.mark.fault("F19")
async def test_a_runtime_directory_with_too_long_a_name_is_told_and_nothing_hangs(scene: Scene, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "far", tmp_path / ("x" * 100))
    config = msgspec.structs.replace(scene.manager.config, network="none")
    manager = LoopManager(workspace, config, scene.manager.engine, member="ada")
    record = manager.create(title="far")
    try:
        kernel = SandboxKernel(manager, Place(record.id, "python3", Path()))
        ready = await kernel.prepare()
        with pytest.raises(KernelStartError, match="too long a path for sockets"):
            async with kernel.sockets.claim(ready.running):
                pytest.fail("there is no such socket")
        assert exec_roots(ready.running.init_pid) == []
        await manager.delete(record.id)
        assert await containers(manager) == []
    finally:
        remove_from_podman(workspace)
    await scene.works()


@pytest.mark.fault("F20")
@pytest.mark.parametrize("jump_s", [3600, -3600])
async def test_a_clock_that_jumps_stops_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch, jump_s: int) -> None:
    stopped: list[str] = []
    watch = IdleWatch(scene.manager.sandboxes, scene.manager.workspace.started_loops, 1800, stopped.append)
    assert await watch.look() == []
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + jump_s)
        assert await watch.look() == []
        await scene.works()
        assert await watch.look() == []
    assert await watch.look() == stopped == []


@pytest.mark.fault("F20")
async def test_a_server_that_was_suspended_stops_nothing_in_use(
    scene: Scene, sandbox_image: str, tmp_path: Path
) -> None:
    manager = scene.manager
    for record in (scene.one, scene.other):
        await occupy(manager, record)
    one, other = (manager.sandboxes.state_files(record.id) for record in (scene.one, scene.other))
    stamp = one.running()
    environ = {
        "LOOPAT_HOME": str(manager.workspace.home),
        "LOOPAT_SANDBOX_IMAGE": sandbox_image,
        "LOOPAT_IDLE_TIMEOUT_S": "1",
    }
    began = time.monotonic()
    async with jupyter_server(tmp_path, manager.workspace.home, environ) as server, asyncio.timeout(60):
        # It has begun to watch.
        while one.last_use(stamp).used_at_s < began:
            await asyncio.sleep(0.02)
        process = psutil.Process(server.process.pid)
        process.suspend()
        end_all(manager, scene.other)
        while (now := time.monotonic()) < one.last_use(stamp).used_at_s + 1.5:
            await asyncio.sleep(0.1)
        process.resume()
        # It looks again: the loop that nobody uses any more is stopped, and no other.
        while not other.stopped_on_purpose():
            await asyncio.sleep(0.02)
        assert one.last_use(stamp).used_at_s > now
        assert one.running().pid == stamp.pid
        assert exec_roots(stamp.pid)
