from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pytest

from loopat_jupyter.errors import ConflictError, EngineError, EngineTimeoutError, ImageBuildError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import InUse, LoopConfig, Progress, Status
from loopat_jupyter.sandbox import facts, lifecycle, runtime, state
from loopat_jupyter.sandbox.builders import note_id
from loopat_jupyter.sandbox.host import allowed_open_files
from loopat_jupyter.sandbox.lifecycle import Running, Sandboxes
from loopat_jupyter.sandbox.network import ensure_network
from loopat_jupyter.sandbox.plan import HostFacts, config_hash, network_name
from loopat_jupyter.sandbox.podman import Completed, Podman
from loopat_jupyter.sandbox.process import exec_roots, is_init
from loopat_jupyter.workspace.config import Config, ImageConfig
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.records import LoopStore, new_record
from loopat_jupyter.workspace.unmade import forget_unmade, is_unmade
from tests.conftest import add_loop, end_all, real_manager, remove_from_podman, start_emptied
from tests.fakes import FakeEngine, FakeImages, inspected
from tests.jupyter_process import forked_script
from tests.sandbox.saying import occupy, said

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from loopat_jupyter.models import LoopRecord

PID = 4242


def nothing(_: object) -> None:
    pass


@pytest.fixture
def record(workspace: Workspace) -> LoopRecord:
    import datetime

    made = new_record(title="t", created_by="ada", now=datetime.datetime.now(datetime.UTC))
    LoopStore(workspace).create(made)
    return made


class Scene:
    """A manager over a fake podman in which one container may exist."""

    def __init__(self, workspace: Workspace, record: LoopRecord, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace = workspace
        self.record = record
        self.images = FakeImages()
        self.engine = FakeEngine(self.answer)
        self.sandboxes = Sandboxes(workspace, Config(), self.engine, self.images, HostFacts(None))
        self.container: dict[str, Any] | None = None
        self.image_id: str | None = "image-id"
        self.failures: dict[str, list[Exception]] = {}
        self.alive = True
        self.active = False
        for module in (lifecycle, facts, state):
            monkeypatch.setattr(module, "is_init", lambda pid: pid == PID and self.alive)
        monkeypatch.setattr(lifecycle, "exec_roots", lambda pid: [1] if self.active else [])
        in_use = InUse(commands=1)
        monkeypatch.setattr(runtime, "in_use", lambda folders: dict.fromkeys(folders, in_use) if self.active else {})
        self.connected = True
        monkeypatch.setattr(runtime, "has_launcher", lambda pid: True)
        monkeypatch.setattr(runtime, "same_folder", lambda pid, inside, folder: self.connected)

    def answer(self, arguments: tuple[str, ...]) -> Completed:
        verb = arguments[0]
        if self.failures.get(verb):
            raise self.failures[verb].pop(0)
        if verb == "inspect":
            entries = [self.container] if self.container else []
            entries += [{"Id": self.image_id}] if self.image_id else []
            return inspected(*entries, missing=len(entries) < 2)
        if verb in ("run", "start"):
            self.sandboxes.state_files(self.record.id).pidfile.write_text(str(PID))
        return Completed(0, b"[]", "")

    def has(self, *, running: bool, hash_: str | None = None, image: str = "image-id") -> None:
        forget_unmade(self.workspace, self.record.id)
        self.container = {
            "Id": "c",
            "Name": self.sandboxes.plan(self.record).name,
            "Image": image,
            "State": {"Running": running, "Pid": PID if running else 0},
            "Config": {
                "Labels": {
                    "loopat.loop-id": self.record.id,
                    "loopat.reference": "localhost/image:latest",
                    "loopat.config-hash": hash_ or config_hash(self.sandboxes.plan(self.record)),
                }
            },
        }

    async def ensure(self, **options: bool) -> lifecycle.Running:
        return await self.sandboxes.ensure(self.record, nothing, **options)


@pytest.fixture
def scene(workspace: Workspace, record: LoopRecord, monkeypatch: pytest.MonkeyPatch) -> Scene:
    # Some sandbox of the workspace was started before.
    (workspace.locks / "network.lock").touch()
    return Scene(workspace, record, monkeypatch)


async def test_a_missing_container_is_made(scene: Scene):
    running = await scene.ensure()
    assert scene.engine.verbs == ["inspect", "run"]
    assert running == (scene.sandboxes.plan(scene.record).name, PID, "image-id", False, "")


async def test_an_image_is_made_ready_before_a_container_of_it_is_made(scene: Scene):
    scene.images.unready.add("image-id")
    await scene.ensure()
    assert scene.engine.verbs == ["inspect", "inspect", "run"]
    assert scene.images.ensured == [scene.record.id]


async def test_an_image_whose_container_took_too_long_is_made_ready_anew(scene: Scene):
    scene.failures["run"] = [EngineTimeoutError("too long")]
    with pytest.raises(EngineTimeoutError):
        await scene.ensure()
    assert scene.images.unready == {"image-id"}
    await scene.ensure()
    assert scene.images.ensured == [scene.record.id]


async def test_of_those_who_want_a_sandbox_at_once_one_asks_podman(scene: Scene):
    first, *others = await asyncio.gather(*(scene.ensure() for _ in range(3)))
    assert others == [first] * 2
    assert scene.engine.verbs == ["inspect", "run"]
    # Who comes later asks again, as does who wants a new one.
    await scene.ensure()
    scene.has(running=True)
    await asyncio.gather(scene.ensure(fresh=True), scene.ensure(fresh=True))
    assert scene.engine.verbs.count("inspect") == 4


async def test_all_who_want_a_sandbox_at_once_are_told_that_it_is_not_as_wanted(scene: Scene):
    scene.has(running=True, image="old-image")
    scene.active = True
    told = await asyncio.gather(*(scene.ensure() for _ in range(3)))
    assert [running.restart_needed for running in told] == [True] * 3


async def test_a_build_that_failed_is_told_until_the_next_one(
    workspace: Workspace, scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    outcomes = [ImageBuildError("no network"), asyncio.CancelledError("called off"), ImageBuildError("again")]

    async def build(*_: object) -> str:
        raise outcomes.pop(0)

    monkeypatch.setattr(scene.images, "ensure", build)
    scene.image_id = None
    with pytest.raises(ImageBuildError):
        await scene.ensure()
    failed = Status(state="absent", build_failed=True, warnings=("no network",))
    assert await scene.sandboxes.status(scene.record) == failed
    note_id(workspace, scene.images.reference(scene.record), "of-another-loop")
    assert await scene.sandboxes.status(scene.record) == Status(state="absent")
    note_id(workspace, scene.images.reference(scene.record), "")
    assert await scene.sandboxes.status(scene.record) == failed
    with pytest.raises(asyncio.CancelledError):
        await scene.ensure()
    assert await scene.sandboxes.status(scene.record) == Status(state="absent")
    with pytest.raises(ImageBuildError):
        await scene.ensure()
    # Somebody had the image made elsewhere.
    scene.image_id = "image-id"
    await scene.ensure()
    scene.has(running=False)
    scene.alive = False
    assert await scene.sandboxes.status(scene.record) == Status(state="stopped")


async def test_a_build_that_failed_once_the_image_below_was_known_is_told(
    workspace: Workspace, scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    async def build(*_: object) -> str:
        monkeypatch.setattr(scene.images, "reference", lambda _: "localhost/tools-on-what-is-below:latest")
        raise EngineTimeoutError("too long")

    monkeypatch.setattr(scene.images, "ensure", build)
    scene.image_id = None
    with pytest.raises(EngineTimeoutError):
        await scene.ensure()
    failed = Status(state="absent", build_failed=True, warnings=("too long",))
    assert await scene.sandboxes.status(scene.record) == failed


async def test_a_sandbox_that_nobody_ever_wanted_costs_no_call(scene: Scene):
    for _ in range(2):
        assert await scene.sandboxes.status(scene.record) == Status(state="absent")
        await scene.sandboxes.stop(scene.record.id)
    assert not scene.sandboxes.state_files(scene.record.id).stopped_on_purpose()
    assert not await scene.sandboxes.stop_if(scene.record.id, lambda: False)
    await scene.sandboxes.remove(scene.record.id, force=False)
    assert scene.engine.calls == []


@pytest.mark.parametrize("lost", ["nothing", "the runtime folder", "what was noted"])
async def test_one_that_somebody_wanted_is_asked_for(scene: Scene, lost: str):
    note = scene.workspace.loop(scene.record.id) / "unmade"
    noted = note.read_bytes()
    scene.failures["run"] = [EngineError("no")] * 2
    with pytest.raises(EngineError):
        await scene.ensure()
    if lost == "the runtime folder":
        shutil.rmtree(scene.workspace.host(scene.record.id).parent)
    elif lost == "what was noted":
        # The folder came back from a backup.
        note.write_bytes(noted)
    scene.engine.calls.clear()
    assert await scene.sandboxes.status(scene.record) == Status(state="absent")
    await scene.sandboxes.stop(scene.record.id)
    await scene.sandboxes.remove(scene.record.id, force=False)
    assert scene.engine.verbs == ["inspect", "stop", "inspect", "rm"]


async def test_what_was_noted_before_the_machine_started_anew_says_nothing(scene: Scene):
    (scene.workspace.loop(scene.record.id) / "unmade").write_text("another start\n")
    await scene.sandboxes.status(scene.record)
    assert scene.engine.verbs == ["inspect"]


async def test_podman_is_asked_for_nothing_new_while_the_note_stands(scene: Scene):
    noted: list[bool] = []
    answer = scene.answer

    def look(arguments: tuple[str, ...]) -> Completed:
        noted.append(is_unmade(scene.workspace, scene.record.id))
        return answer(arguments)

    scene.engine._answers = look
    assert is_unmade(scene.workspace, scene.record.id)
    await scene.ensure()
    assert noted == [False, False]


async def test_a_running_container_costs_one_call(scene: Scene):
    scene.has(running=True)
    await scene.ensure()
    assert scene.engine.verbs == ["inspect"]


async def test_a_sandbox_known_to_run_as_wanted_costs_no_call(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("loopat_jupyter.sandbox.state.is_init", lambda pid: pid == PID)
    assert scene.sandboxes.known(scene.record) is None
    running = await scene.ensure()
    scene.engine.calls.clear()
    assert scene.sandboxes.known(scene.record) == running
    changed = msgspec.structs.replace(scene.record, config=LoopConfig(network="none"))
    assert scene.sandboxes.known(changed) is None
    assert scene.engine.calls == []


async def test_the_state_of_a_sandbox_that_was_just_started_costs_no_call(scene: Scene):
    assert scene.sandboxes.status_once_started(scene.record) is None
    await scene.ensure()
    scene.has(running=True)
    assert scene.sandboxes.status_once_started(scene.record) == await scene.sandboxes.status(scene.record)
    # In use, it keeps its image; that this is another one by now, only podman knew.
    scene.active = True
    scene.has(running=True, image="older")
    await scene.ensure()
    scene.engine.calls.clear()
    told = scene.sandboxes.status_once_started(scene.record)
    assert (told.state, told.restart_needed, scene.engine.calls) == ("running", True, [])
    assert told == await scene.sandboxes.status(scene.record)
    # Of an image that was chosen meanwhile, podman has to tell.
    scene.images._reference = "localhost/another:latest"
    assert scene.sandboxes.status_once_started(scene.record) is None
    scene.images._reference = "localhost/image:latest"
    assert scene.sandboxes.status_once_started(scene.record) is not None
    scene.alive = False
    assert scene.sandboxes.status_once_started(scene.record) is None


async def test_another_image_is_told_of_before_it_is_there(scene: Scene):
    scene.has(running=True)
    scene.active, scene.image_id = True, None
    assert not (await scene.ensure()).restart_needed
    scene.images._reference = "localhost/another:latest"
    assert (await scene.sandboxes.status(scene.record)).restart_needed
    assert (await scene.ensure()).restart_needed
    assert scene.sandboxes.known(scene.record) is None


async def test_a_stopped_container_is_started(scene: Scene):
    scene.has(running=False)
    await scene.ensure()
    assert scene.engine.verbs == ["inspect", "start"]


async def test_a_stopped_container_that_nothing_can_start_is_made_anew(scene: Scene):
    scene.has(running=False)
    scene.failures["start"] = [EngineError("broken", stderr="Error: container state improper")]
    await scene.ensure()
    assert scene.engine.verbs == ["inspect", "start", "rm", "run"]


async def test_a_stopped_container_that_does_not_start_now_stays(scene: Scene):
    scene.has(running=False)
    scene.failures["start"] = [EngineError("Podman failed: broken.", stderr="broken")] * 3
    what_to_do = rf"Podman failed: broken\. .* .`jupyter loopat recreate {scene.record.id[:8]}`"
    with pytest.raises(EngineError, match=what_to_do):
        await scene.ensure()
    assert scene.engine.verbs == ["inspect", "start", "start", "start"]


async def test_a_stopped_container_whose_network_was_removed_gets_it_back(scene: Scene):
    scene.has(running=False)
    scene.failures["start"] = [EngineError("broken", stderr="Error: unable to find network with name or ID x")]
    await scene.ensure()
    assert scene.engine.verbs == ["inspect", "start", "network", "start"]


async def test_a_stopped_container_that_a_limit_of_this_login_keeps_from_its_start_stays(scene: Scene):
    scene.has(running=False)
    scene.failures["start"] = [EngineError("broken", stderr="crun: setrlimit `RLIMIT_NOFILE`: not permitted")]
    with pytest.raises(EngineError, match="broken"):
        await scene.ensure()
    assert scene.engine.verbs == ["inspect", "start"]


async def test_a_drifted_container_is_replaced_when_nobody_uses_it(scene: Scene):
    for running in (True, False):
        scene.engine.calls.clear()
        scene.has(running=running, hash_="other")
        await scene.ensure()
        assert scene.engine.verbs == ["inspect", "rm", "run"]


async def test_a_drifted_container_in_use_is_left_alone_and_marked(scene: Scene):
    scene.has(running=True, hash_="other")
    scene.active = True
    running = await scene.ensure()
    assert scene.engine.verbs == ["inspect"]
    assert running.restart_needed
    assert (await scene.sandboxes.status(scene.record)).restart_needed


async def test_a_rebuilt_image_replaces(scene: Scene):
    scene.has(running=False, image="older")
    await scene.ensure()
    assert scene.engine.verbs == ["inspect", "rm", "run"]


async def test_a_container_whose_processes_are_gone_is_replaced(scene: Scene):
    scene.has(running=True)
    scene.alive = False
    scene.failures["run"] = []
    status = await scene.sandboxes.status(scene.record)
    assert status.state == "error"
    scene.engine.calls.clear()
    with pytest.raises(EngineError, match="ended as soon as it was started"):
        await scene.ensure()
    assert scene.engine.verbs == ["inspect", "rm", "run"]


@pytest.mark.fault("F11")
async def test_a_sandbox_that_podman_has_forgotten_is_used_as_it_is(scene: Scene):
    started = await scene.ensure()
    scene.active = True
    scene.engine.calls.clear()
    scene.has(running=False)
    assert await scene.ensure() == started
    assert (await scene.sandboxes.status(scene.record)).state == "running"
    with pytest.raises(ConflictError, match="1 command of loop 't' would end"):
        await scene.sandboxes.remove(scene.record.id, force=False, title="t")
    scene.container = None
    assert await scene.ensure() == started
    assert scene.engine.verbs == ["inspect"] * 3
    # Another one is wanted: what runs in this one is not ended for it.
    scene.has(running=False, hash_="other")
    assert (await scene.ensure()).restart_needed
    scene.active = False
    await scene.ensure()
    assert scene.engine.verbs == ["inspect"] * 5 + ["rm", "run"]


@pytest.mark.parametrize(
    ("mount", "told"),
    [("/home", "/home is mounted with noexec, so no program runs"), ("", "`podman start --attach loopat-")],
)
async def test_a_sandbox_that_ends_at_once_is_told_with_what_to_do(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, mount: str, told: str
):
    monkeypatch.setattr(lifecycle, "noexec_mount", lambda path: mount)
    scene.alive = False
    with pytest.raises(EngineError, match="ended as soon as it was started") as caught:
        await scene.ensure()
    assert told in caught.value.message
    assert "podman logs" not in caught.value.message


async def test_a_container_that_was_half_removed_is_replaced(scene: Scene):
    half = Completed(125, b"[]", 'Error: getting container from store "x": container not known')
    answer = scene.answer
    scene.engine._answers = lambda arguments: (
        half
        if arguments[0] == "inspect"
        else Completed(0, b"image-id", "")
        if arguments[0] == "image"
        else answer(arguments)
    )
    await scene.ensure()
    assert scene.engine.verbs == ["inspect", "image", "rm", "run"]


async def test_fresh_replaces_a_container_that_is_as_wanted(scene: Scene):
    scene.has(running=True)
    await scene.ensure(fresh=True)
    assert scene.engine.verbs == ["inspect", "rm", "run"]


async def test_a_missing_image_is_made_outside_the_loops_lock(scene: Scene):
    scene.image_id = None

    async def ensure(record: LoopRecord, on_progress: Callable[[Progress], None]) -> str:
        scene.image_id = "image-id"
        await scene.sandboxes.stop(scene.record.id)
        return "image-id"

    scene.images.ensure = ensure
    await asyncio.wait_for(scene.ensure(), 30)
    assert scene.engine.verbs == ["inspect", "stop", "inspect", "run"]


async def test_the_first_sandbox_of_a_workspace_looks_for_the_network(scene: Scene, workspace: Workspace):
    (workspace.locks / "network.lock").unlink()
    await scene.ensure()
    assert scene.engine.verbs == ["inspect", "network", "run"]


async def test_the_first_sandbox_of_a_workspace_may_have_none(scene: Scene, workspace: Workspace):
    (workspace.locks / "network.lock").unlink()
    scene.record = msgspec.structs.replace(scene.record, config=LoopConfig(network="none"))
    await scene.ensure()
    assert scene.engine.verbs == ["inspect", "run"]


async def test_a_missing_network_is_made_once(scene: Scene):
    scene.failures["run"] = [EngineError("x", stderr="Error: unable to find network with name or ID")]
    scene.failures["network"] = []
    await scene.ensure()
    assert scene.engine.verbs == ["inspect", "run", "rm", "network", "run"]


async def test_a_failing_create_leaves_no_half_made_container(scene: Scene):
    scene.failures["run"] = [EngineError("no", stderr="Error: something else")]
    with pytest.raises(EngineError):
        await scene.ensure()
    assert scene.engine.verbs == ["inspect", "run", "rm"]


async def test_an_engine_that_cannot_inspect_is_not_mistaken_for_a_missing_container(scene: Scene):
    scene.engine._answers = lambda arguments: Completed(125, b"", "Error: database is locked")
    with pytest.raises(EngineError, match="database is locked"):
        await scene.ensure()


async def test_a_sandbox_that_is_being_stopped_is_not_handed_out(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("loopat_jupyter.sandbox.state.is_init", lambda pid: pid == PID)
    await scene.ensure()
    files = scene.sandboxes.state_files(scene.record.id)
    seen: list[object] = []

    def answer(arguments: tuple[str, ...]) -> Completed:
        seen.append((arguments[0], scene.sandboxes.known(scene.record), files.stopped_on_purpose()))
        return Completed(0, b"[]", "")

    scene.engine._answers = answer
    await scene.sandboxes.stop(scene.record.id)
    assert seen == [("stop", None, True)]
    assert files.stopped_on_purpose()
    scene.engine._answers = scene.answer
    await scene.ensure()
    assert not files.stopped_on_purpose()


@pytest.mark.parametrize(
    ("verb", "end"),
    [
        ("stop", lambda scene: scene.sandboxes.stop(scene.record.id)),
        ("rm", lambda scene: scene.sandboxes.remove(scene.record.id)),
        ("rm", lambda scene: scene.ensure(fresh=True)),
    ],
    ids=["stopped", "removed", "replaced"],
)
async def test_one_that_cannot_be_ended_stays_known(
    scene: Scene, verb: str, end: Callable[[Scene], Coroutine[Any, Any, object]]
):
    running = await scene.ensure()
    scene.has(running=True)
    scene.failures[verb] = [EngineError("no")] * 2
    with pytest.raises(EngineError):
        await end(scene)
    assert scene.sandboxes.known(scene.record) == running
    files = scene.sandboxes.state_files(scene.record.id)
    assert not files.stopped_on_purpose()
    assert not files.replaced_on_purpose()


@pytest.mark.parametrize("noted", [True, False])
async def test_podman_is_asked_for_what_runs_only_where_no_note_says_it(scene: Scene, noted: bool):
    await scene.ensure()
    scene.has(running=True)
    scene.active = True
    if not noted:
        scene.sandboxes.state_files(scene.record.id).forget()
    scene.engine.calls.clear()
    asked = [] if noted else ["inspect"]
    with pytest.raises(ConflictError, match="would end"):
        await scene.sandboxes.remove(scene.record.id, force=False)
    assert scene.engine.verbs == asked
    scene.active = False
    await scene.sandboxes.remove(scene.record.id, force=False)
    assert scene.engine.verbs == [*asked * 2, "rm"]


async def test_an_idle_sandbox_that_lost_its_runtime_folder_is_replaced(scene: Scene):
    scene.has(running=True)
    scene.connected = False
    await scene.ensure()
    assert scene.engine.verbs == ["inspect", "rm", "run"]


async def test_one_in_use_that_lost_its_runtime_folder_says_what_to_do(scene: Scene):
    scene.has(running=True)
    scene.connected, scene.active = False, True
    with pytest.raises(ConflictError, match="jupyter loopat recreate"):
        await scene.ensure()
    assert scene.engine.verbs == ["inspect"]
    await scene.ensure(fresh=True)
    assert scene.engine.verbs == ["inspect", "inspect", "rm", "run"]


# --- real podman ------------------------------------------------------------------------------------------------


@pytest.fixture
def manager(workspace_of_module: Workspace, sandbox_image: str) -> LoopManager:
    """These tests share a workspace, and so its network."""
    return real_manager(workspace_of_module, sandbox_image)


@pytest.fixture(scope="module")
def shared(workspace_of_module: Workspace) -> LoopRecord:
    """A loop that tests may do anything to: `running` mends it."""
    return add_loop(workspace_of_module, "Shared")


@pytest.fixture
async def running(manager: LoopManager, shared: LoopRecord) -> Running:
    """The sandbox of the shared loop, as if nothing had ever run in it."""
    if manager.store.read(shared.id).config != shared.config:
        await manager.update(shared.id, {"config": shared.config})
    return await start_emptied(manager, shared)


def interfaces(running: Running) -> set[str]:
    """The network interfaces that a sandbox has."""
    lines = Path(f"/proc/{running.init_pid}/net/dev").read_text().splitlines()
    return {line.partition(":")[0].strip() for line in lines if ":" in line}


@pytest.mark.podman
async def test_the_sandbox_is_what_the_plan_says(manager: LoopManager, shared: LoopRecord, running: Running):
    (inspected,) = msgspec.json.decode((await manager.engine.run("inspect", running.name)).stdout)
    spec = manager.sandboxes.plan(shared)
    assert inspected["Name"] == spec.name
    assert inspected["Config"]["Hostname"] == spec.hostname
    assert inspected["Config"]["Labels"]["loopat.loop-id"] == shared.id
    assert inspected["Config"]["Labels"]["loopat.workspace"] == manager.workspace.name
    assert inspected["HostConfig"]["Privileged"] is False
    assert list(inspected["NetworkSettings"]["Networks"]) == [spec.network]
    limits = {limit["Name"]: (limit["Soft"], limit["Hard"]) for limit in inspected["HostConfig"]["Ulimits"]}
    assert limits["RLIMIT_NOFILE"] == (allowed_open_files(),) * 2
    assert psutil.Process(running.init_pid).rlimit(psutil.RLIMIT_NOFILE) == limits["RLIMIT_NOFILE"]
    mounts = {mount["Destination"]: (mount["Source"], mount["RW"]) for mount in inspected["Mounts"]}
    assert mounts == {mount.target: (mount.source, mount.mode == "rw") for mount in spec.mounts}
    assert is_init(running.init_pid)
    assert psutil.Process(running.init_pid).name() in ("podman-init", "catatonit")


@pytest.mark.podman
async def test_files_survive_stop_start_and_recreation(manager: LoopManager, shared: LoopRecord, running: Running):
    await said(manager, shared, "bash", "-c", "echo work >file; echo home >~/file; echo tmp >/tmp/file")
    await manager.stop(shared)
    assert (await manager.sandboxes.status(shared)).state == "stopped"
    first = await manager.start(shared)
    assert await said(manager, shared, "cat", "/tmp/file", "file") == "tmp\nwork\n"
    second = await manager.start(shared, fresh=True)
    assert second.init_pid != first.init_pid
    assert await said(manager, shared, "bash", "-c", "cat file ~/file; ls /tmp") == "work\nhome\n"


@pytest.mark.podman
async def test_a_login_with_a_smaller_limit_neither_starts_a_sandbox_nor_loses_what_was_installed_in_it(
    manager: LoopManager, shared: LoopRecord, running: Running, tmp_path: Path
):
    await said(manager, shared, "sh", "-c", "echo installed >/tmp/installed")
    await manager.stop(shared)
    most = allowed_open_files()
    smaller = tmp_path / "podman"
    smaller.write_text(f'#!/bin/sh\nexec prlimit --nofile={most // 2}:{most // 2} podman "$@"\n')
    smaller.chmod(0o755)
    config = Config(image=ImageConfig(use=manager.config.image.use), network=manager.config.network)
    login = LoopManager(manager.workspace, config, Podman(str(smaller), os.environ), member="ada")
    with pytest.raises(EngineError, match=r"open files \(`ulimit -Hn`\).* `jupyter loopat recreate LOOP`"):
        await login.start(shared)
    again = await manager.start(shared)
    assert await said(manager, shared, "cat", "/tmp/installed") == "installed\n"
    with pytest.raises(EngineError, match=r"open files \(`ulimit -Hn`\)"):
        await login.engine.run("exec", again.name, "true")


@pytest.mark.podman
async def test_what_is_installed_in_a_sandbox_that_does_not_start_for_now_is_kept(
    manager: LoopManager, shared: LoopRecord, tmp_path: Path
):
    # Podman repeats what the last runtime said of a container that did not start, if this one says nothing.
    await manager.start(shared, fresh=True)
    await said(manager, shared, "sh", "-c", "echo installed >/tmp/installed")
    await manager.stop(shared)
    broken = tmp_path / "containers.conf"
    broken.write_text('[engine.runtimes]\ncrun = ["/bin/false"]\nrunc = ["/bin/false"]\n')
    podman = tmp_path / "podman"
    podman.write_text(f'#!/bin/sh\nCONTAINERS_CONF={broken} exec podman "$@"\n')
    podman.chmod(0o755)
    for_now = LoopManager(manager.workspace, manager.config, Podman(str(podman), os.environ), member="ada")
    with pytest.raises(EngineError, match=rf"`jupyter loopat recreate {shared.id[:8]}`"):
        await for_now.start(shared)
    await manager.start(shared)
    assert await said(manager, shared, "cat", "/tmp/installed") == "installed\n"


@pytest.mark.podman
async def test_a_sandbox_whose_layer_is_lost_is_made_anew(manager: LoopManager, shared: LoopRecord, running: Running):
    layer = await manager.engine.run("inspect", "--format={{.GraphDriver.Data.UpperDir}}", running.name)
    await manager.stop(shared)
    await manager.engine.run("unshare", "rm", "-r", str(Path(layer.stdout.decode().strip()).parent))
    again = await manager.start(shared)
    assert is_init(again.init_pid)
    assert "could not go on as it was" in again.replaced


@pytest.mark.podman
async def test_settings_that_shape_the_container_take_effect_when_nobody_uses_it(
    manager: LoopManager, shared: LoopRecord, running: Running
):
    await occupy(manager, shared)
    changed = await manager.update(shared.id, {"config": LoopConfig(network="none")})
    assert (await manager.sandboxes.status(changed)).restart_needed
    # Not behind the user's back.
    again = await manager.start(changed)
    assert again.restart_needed
    assert again.init_pid == running.init_pid
    assert interfaces(again) > {"lo"}
    end_all(manager, changed)
    unused = await manager.start(changed)
    assert not unused.restart_needed
    assert interfaces(unused) == {"lo"}
    await occupy(manager, changed)
    back = await manager.update(shared.id, {"config": shared.config})
    assert (await manager.start(back)).init_pid == unused.init_pid
    fresh = await manager.start(back, fresh=True)
    assert not fresh.restart_needed
    assert exec_roots(fresh.init_pid) == []
    assert interfaces(fresh) > {"lo"}


@pytest.mark.podman
async def test_loops_of_a_workspace_reach_each_other_by_name(
    manager: LoopManager, shared: LoopRecord, running: Running, monkeypatch: pytest.MonkeyPatch
):
    # What a network of the same name has left, where podman did not learn of the end of its containers.
    network = network_name(manager.workspace.name)
    names = Path(manager.engine.environment()["XDG_RUNTIME_DIR"]) / "containers/networks/aardvark-dns"
    await manager.engine.run("network", "rm", "--force", network)
    left, written = f"10.255.255.1\n{'a' * 64} 10.255.255.2  gone,{'a' * 12}\n", names.with_name(f"{network}.written")
    written.write_text(left)
    # Whole at once: podman's name server ends when it reads half of one.
    written.rename(names / network)
    try:
        await manager.start(shared)
    finally:
        # Left for good, they would keep a name server in a network that is gone, and no loop would find another.
        if (names / network).exists() and (names / network).read_text() == left:
            (names / network).unlink()
    other = manager.create(title="other")
    await manager.start(other)
    name = manager.sandboxes.plan(other).name
    # Podman's name server reads its list of containers anew some time after a start: until then, no such name.
    wait_for_name = 'until getent hosts "$1"; do sleep 0.1; done'
    address, found = (await said(manager, shared, "timeout", "60", "sh", "-c", wait_for_name, "sh", name)).split()
    assert found.startswith(name)
    assert (await said(manager, other, "hostname", "-I")).split() == [address]
    # A podman with another storage does not know the network; its names are those of living containers.
    elsewhere = FakeEngine(lambda arguments: Completed(int(arguments[1] == "exists"), b"", ""))
    monkeypatch.setattr(elsewhere, "environment", manager.engine.environment)
    held = (names / network).read_text()
    await ensure_network(elsewhere, manager.workspace)
    assert (names / network).read_text() == held


@pytest.mark.podman
async def test_a_wiped_runtime_directory_is_made_again(manager: LoopManager, shared: LoopRecord, running: Running):
    await manager.stop(shared)
    shutil.rmtree(manager.workspace.runtime)
    await manager.start(shared)
    assert await said(manager, shared, "sh", "-c", "test -w /loopat/run && echo yes") == "yes\n"


@pytest.mark.podman
async def test_stopping_is_quick_and_repeatable(manager: LoopManager, shared: LoopRecord, running: Running):
    await manager.stop(manager.create(title="never started"))
    await occupy(manager, shared)
    await manager.stop(shared)
    await manager.stop(shared)
    assert not is_init(running.init_pid)


ENSURE = """
import asyncio, os, sys
from loopat_jupyter.loops import LoopManager

async def main():
    manager = LoopManager.from_environment(os.environ)
    record = manager.store.read(sys.argv[1])
    found = await asyncio.gather(*(manager.start(record) for _ in range(25)))
    print(*{running.init_pid for running in found})

asyncio.run(main())
"""


@pytest.mark.fault("F9")
@pytest.mark.podman
async def test_two_processes_that_ensure_fifty_times_get_one_container(
    manager: LoopManager, sandbox_image: str, tmp_path: Path
):
    record, before = manager.create(title="real"), await manager.sandboxes.containers()
    environ = {**os.environ, "LOOPAT_HOME": str(manager.workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}
    logs = [tmp_path / name for name in ("one", "two")]
    processes = [forked_script(ENSURE, record.id, environ=environ, log=log) for log in logs]
    assert [await process.wait() for process in processes] == [0, 0]
    answers = {log.read_bytes().strip() for log in logs}
    containers = await manager.sandboxes.containers()
    assert answers == {str(containers[record.id].pid).encode()}
    assert containers.keys() - before.keys() == {record.id}


@pytest.mark.fault("F10")
@pytest.mark.podman
async def test_ensure_stop_and_delete_may_race(manager: LoopManager):
    record, before = manager.create(title="real"), await manager.sandboxes.containers()
    results = await asyncio.gather(
        manager.start(record),
        manager.stop(record),
        manager.start(record),
        manager.sandboxes.remove(record.id),
        manager.start(record),
        manager.stop(record),
        return_exceptions=True,
    )
    assert [result for result in results if isinstance(result, BaseException)] == []
    containers = await manager.sandboxes.containers()
    assert containers.keys() - before.keys() <= {record.id}
    assert is_init((await manager.start(record)).init_pid)


@pytest.mark.podman
async def test_a_use_while_it_is_being_stopped_starts_it_again(
    manager: LoopManager, shared: LoopRecord, running: Running
):
    stopping = asyncio.create_task(manager.stop(shared))
    while manager.sandboxes.known(shared) is not None:
        await asyncio.sleep(0)
    again = await manager.use(shared)
    await stopping
    assert again.init_pid != running.init_pid
    assert is_init(again.init_pid)


@pytest.mark.podman
async def test_somebodys_container_with_the_name_of_the_image_is_not_taken_for_it(
    manager: LoopManager, sandbox_image: str, request: pytest.FixtureRequest
):
    name = f"loopat-test-{manager.workspace.key}"
    await manager.engine.run("tag", sandbox_image, f"localhost/{name}:latest")
    await manager.engine.run("create", f"--name={name}", "--network=none", sandbox_image, "true")
    try:
        record = manager.create(title="real", image=name)
        assert (await manager.sandboxes.status(record)).state == "absent"
        running = await manager.start(record)
        assert is_init(running.init_pid)
        assert (await manager.sandboxes.status(record)).state == "running"
    finally:
        await manager.engine.run("rm", "--force", name)
        await manager.sandboxes.remove(record.id)
        await manager.engine.run("untag", sandbox_image, f"localhost/{name}:latest")


@pytest.mark.podman
async def test_work_is_not_deleted_without_force_even_when_the_notes_are_gone(manager: LoopManager):
    record = manager.create(title="real")
    running = await manager.start(record)
    await occupy(manager, record)
    manager.sandboxes.state_files(record.id).forget()
    with pytest.raises(ConflictError, match="^1 command of loop"):
        await manager.delete(record.id)
    assert manager.workspace.workdir(record.id).is_dir()
    assert exec_roots(running.init_pid)
    await manager.delete(record.id, force=True)
    assert not manager.workspace.loop(record.id).exists()


async def test_deleting_many_files_does_not_hold_the_event_loop_up(workspace: Workspace, scene: Scene):
    folder = workspace.loop(scene.record.id)
    for number in range(2000):
        (folder / str(number)).touch()
    ticks = 0
    deleting = asyncio.create_task(scene.sandboxes.folders.remove(folder))
    while not deleting.done():
        await asyncio.sleep(0)
        ticks += 1
    assert not folder.exists()
    # Done on the event loop, it would take exactly one turn.
    assert ticks > 2


@pytest.mark.podman
@pytest.mark.serial
async def test_loops_of_another_workspace_are_out_of_reach(workspace: Workspace, sandbox_image: str, tmp_path: Path):
    # Of its own: what others did to the network before, while this was not alone, must not count.
    one = real_manager(workspace, sandbox_image)
    other = real_manager(Workspace(tmp_path / "other", workspace.runtime_root), sandbox_image)
    other.workspace.prepare()
    here, there = one.create(title="here"), other.create(title="there")
    await one.start(here)
    try:
        serve = "import socket, time; server = socket.create_server(('', 8000)); time.sleep(600)"
        await occupy(other, there, "python3", "-c", serve)
        address = (await said(other, there, "hostname", "-I")).split()[0]
        reach = f"for i in $(seq 100); do (echo >/dev/tcp/{address}/8000) 2>/dev/null && exit; sleep 0.1; done; echo no"
        assert await said(other, there, "bash", "-c", reach) == ""
        probe = f"timeout 2 bash -c 'echo >/dev/tcp/{address}/8000' 2>/dev/null && echo reached || echo refused"
        assert await said(one, here, "bash", "-c", probe) == "refused\n"
    finally:
        remove_from_podman(other.workspace)
        shutil.rmtree(other.workspace.runtime, ignore_errors=True)
