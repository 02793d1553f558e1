from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.errors import BadInputError, ConflictError, EngineError, NotFoundError, UnreadableRecordError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import ExecSpec, LoopConfig, LoopEvent
from loopat_jupyter.sandbox.builders import image_key
from loopat_jupyter.sandbox.execution import Exit, Output
from loopat_jupyter.sandbox.lifecycle import Running
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sandbox.process import is_init
from loopat_jupyter.workspace.config import Config
from loopat_jupyter.workspace.unmade import forget_unmade
from tests.conftest import add_loop, real_manager, start_emptied
from tests.fakes import FakeEngine
from tests.sandbox.saying import occupy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace

pytestmark = pytest.mark.lonely


@pytest.fixture
def events() -> list[LoopEvent]:
    return []


@pytest.fixture
def quiet(workspace: Workspace, events: list[LoopEvent]) -> LoopManager:
    """A manager over a podman that has nothing."""
    engine = FakeEngine(lambda arguments: Completed(int(arguments[:2] == ("container", "exists")), b"[]", ""))
    return LoopManager(workspace, Config(), engine, member="ada", on_event=events.append)


def test_a_new_loop_is_recorded_and_announced(quiet: LoopManager, events: list[LoopEvent]):
    record = quiet.create(title="First", metadata={"ticket": 1})
    assert quiet.store.read(record.id) == record
    assert (record.created_by, record.slug) == ("ada", "first")
    assert events == [LoopEvent(action="created", loop_id=record.id, state="absent")]


@pytest.mark.parametrize(
    "arguments",
    [{"title": ""}, {"title": "a", "image": "--privileged"}, {"title": "a", "metadata": {"x": "y" * 20_000}}],
)
def test_a_refused_loop_leaves_nothing(quiet: LoopManager, events: list[LoopEvent], arguments: dict[str, object]):
    with pytest.raises(BadInputError):
        quiet.create(**arguments)
    assert list(quiet.workspace.loops.iterdir()) == []
    assert events == []


async def test_a_change_is_checked_whole_before_it_is_written(quiet: LoopManager):
    record = quiet.create(title="First")
    with pytest.raises(BadInputError):
        await quiet.update(record.id, {"title": "New", "image": "--privileged"})
    with pytest.raises(BadInputError, match="^id: "):
        await quiet.update(record.id, {"id": "x"})
    # What may not be is refused at once, whoever is busy with the loop.
    async with quiet.sandboxes.lock(record.id):
        with pytest.raises(BadInputError, match=r"^config\.all_loops: "):
            await quiet.update(record.id, {"title": "New", "config": LoopConfig(all_loops=True)})
    assert quiet.store.read(record.id) == record
    changed = await quiet.update(record.id, {"title": " New ", "config": LoopConfig(network="none")})
    assert quiet.store.read(record.id) == changed
    assert changed == msgspec.structs.replace(record, title="New", config=LoopConfig(network="none"))


async def test_changes_of_several_processes_to_one_loop_all_count(quiet: LoopManager, workspace: Workspace):
    record = quiet.create(title="First")
    managers = [LoopManager(workspace, quiet.config, quiet.engine, member="ada") for _ in range(3)]
    changes = [{"title": "New"}, {"metadata": {"a": 1}}, {"config": LoopConfig(network="none")}]
    await asyncio.gather(*(each.update(record.id, change) for each, change in zip(managers, changes, strict=True)))
    wanted = msgspec.structs.replace(record, title="New", metadata={"a": 1}, config=LoopConfig(network="none"))
    assert quiet.store.read(record.id) == wanted


async def test_pages_follow_each_other(quiet: LoopManager):
    records = [quiet.create(title=f"loop {number}") for number in range(5)]
    for number, record in enumerate(records):
        os.utime(quiet.workspace.record(record.id), (1000 + number, 1000 + number))
    seen: list[str] = []
    after = None
    while True:
        page = await quiet.page(limit=2, after=after)
        seen += [loop.id for loop in page.loops]
        after = page.next
        if after is None:
            break
    assert seen == [record.id for record in reversed(records)]


@pytest.mark.parametrize("arguments", [{"limit": 0}, {"limit": 501}, {"after": "nope"}])
async def test_a_wrong_page_is_refused(quiet: LoopManager, arguments: dict[str, object]):
    with pytest.raises(BadInputError):
        await quiet.page(**arguments)


async def test_an_unreadable_record_is_named_and_the_others_list(quiet: LoopManager, caplog: pytest.LogCaptureFixture):
    good, bad = quiet.create(title="good"), quiet.create(title="bad")
    quiet.workspace.record(bad.id).write_bytes(b"\0")
    assert [loop.id for loop in (await quiet.page()).loops] == [good.id]
    assert bad.id in caplog.text
    with pytest.raises(UnreadableRecordError):
        await quiet.get(bad.id)
    await quiet.delete(bad.id)
    assert not quiet.workspace.loop(bad.id).exists()


async def test_a_deleted_loop_is_gone(quiet: LoopManager, events: list[LoopEvent]):
    record = quiet.create(title="First")
    await quiet.delete(record.id)
    assert list(quiet.workspace.loops.iterdir()) == []
    assert events[-1] == LoopEvent(action="deleted", loop_id=record.id)
    for reading in (quiet.get(record.id), quiet.delete(record.id), quiet.delete("../x")):
        with pytest.raises(NotFoundError):
            await reading


async def test_a_deletion_that_is_called_off_while_the_sandbox_is_removed_goes_to_its_end(
    quiet: LoopManager, events: list[LoopEvent], monkeypatch: pytest.MonkeyPatch
):
    record = quiet.create(title="First")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def remove(_: str, **_options: object) -> None:
        begun.set()
        await go_on.wait()

    monkeypatch.setattr(quiet.sandboxes, "remove", remove)
    deleting = asyncio.ensure_future(quiet.delete(record.id))
    await begun.wait()
    deleting.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await deleting
    assert list(quiet.workspace.loops.iterdir()) == []
    assert events[-1] == LoopEvent(action="deleted", loop_id=record.id)


@pytest.mark.parametrize(
    ("environ", "member"),
    [({"JUPYTERHUB_USER": "hubby"}, "hubby"), ({}, __import__("getpass").getuser())],
)
def test_the_member_is_the_hub_user_or_the_user_of_the_host(workspace: Workspace, environ: dict[str, str], member: str):
    manager = LoopManager.from_environment({"LOOPAT_HOME": str(workspace.home), **environ})
    assert manager.member == member
    assert manager.workspace.home == workspace.home


# --- real podman ------------------------------------------------------------------------------------------------


@pytest.fixture
def manager(workspace_of_module: Workspace, sandbox_image: str) -> LoopManager:
    """These tests share a workspace, in which there is one loop between them."""
    return real_manager(workspace_of_module, sandbox_image)


@pytest.fixture(scope="module")
def shared(workspace_of_module: Workspace) -> LoopRecord:
    return add_loop(workspace_of_module, "shared")


@pytest.fixture
async def running(manager: LoopManager, shared: LoopRecord) -> Running:
    """The sandbox of the shared loop; nothing runs or lies in it, whatever the test before it left."""
    return await start_emptied(manager, shared)


@pytest.fixture
async def own(manager: LoopManager) -> AsyncIterator[LoopRecord]:
    """A loop of one test, which does not run."""
    made = manager.create(title="own")
    yield made
    with contextlib.suppress(NotFoundError):
        await manager.delete(made.id, force=True)


@pytest.mark.podman
async def test_deleting_removes_files_that_root_left_inside(manager: LoopManager, own: LoopRecord):
    command = ("sudo", "bash", "-c", "mkdir -p deep && touch deep/file && chmod 700 deep")
    async for _ in manager.exec(own, ExecSpec(argv=command)):
        pass
    await manager.delete(own.id)
    assert not manager.workspace.loop(own.id).exists()
    assert own.id not in await manager.sandboxes.containers()


async def idled(*managers: LoopManager) -> list[str]:
    """What is stopped by the first look, of all who watch, that finds something idle for too long."""
    watches = [each.upkeep.idle_watch() for each in managers]
    for watch in watches:
        watch._idle_timeout_s = 0.2
    while True:
        looks = await asyncio.gather(*(watch.look() for watch in watches))
        if stopped := [loop_id for found in looks for loop_id in found]:
            return stopped
        await asyncio.sleep(0.02)


@pytest.mark.podman
async def test_an_idle_sandbox_is_stopped_once_by_all_who_watch_and_one_in_use_is_not(
    manager: LoopManager, shared: LoopRecord, running: Running, own: LoopRecord
):
    busy = await manager.start(own)
    await occupy(manager, own)
    # A daemon in the background does not keep a loop in use.
    async for _ in manager.exec(shared, ExecSpec(argv=("bash", "-c", "setsid sleep 600 >/dev/null 2>&1 </dev/null &"))):
        pass
    events: list[LoopEvent] = []
    managers = [
        LoopManager(manager.workspace, manager.config, manager.engine, member="ada", on_event=events.append)
        for _ in range(3)
    ]
    assert await idled(*managers) == [shared.id]
    assert [event.state for event in events] == ["stopped"]
    assert is_init(busy.init_pid)
    assert (await manager.sandboxes.status(shared)).state == "stopped"
    assert (await manager.sandboxes.status(own)).state == "running"


WATCH = """
import asyncio, os, sys
from loopat_jupyter.loops import LoopManager

async def main():
    manager = LoopManager.from_environment(os.environ)
    await manager.start(manager.store.read(sys.argv[1]))
    await manager.upkeep.idle_watch().look()
    print("watching", flush=True)
    await manager.upkeep.watch_idle()

asyncio.run(main())
"""


@pytest.mark.podman
async def test_idling_goes_on_after_the_process_that_watched_was_killed(
    manager: LoopManager, shared: LoopRecord, running: Running, sandbox_image: str
):
    environ = {**os.environ, "LOOPAT_HOME": str(manager.workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WATCH, shared.id, env=environ, stdout=asyncio.subprocess.PIPE
    )
    assert await server.stdout.readline() == b"watching\n"
    server.kill()
    await server.wait()
    assert await idled(manager) == [shared.id]


@pytest.mark.podman
async def test_a_sandbox_that_was_stopped_since_it_was_listed_stays_so_until_a_command_starts_it(
    manager: LoopManager, shared: LoopRecord, running: Running
):
    facts = (await manager.sandboxes.containers())[shared.id]
    await manager.stop(shared)
    manager.sandboxes.adopt(shared, facts)
    assert manager.sandboxes.state_files(shared.id).stopped_on_purpose()
    found = [event async for event in manager.exec(shared, ExecSpec(argv=("hostname",)))]
    assert found == [Output("stdout", f"loop-{shared.id[:8]}\n".encode()), Exit(0)]


async def test_podman_is_asked_for_sandboxes_only_where_there_are_loops(quiet: LoopManager):
    await quiet.upkeep.adopt()
    assert quiet.engine.calls == []
    quiet.create(title="first")
    await quiet.upkeep.adopt()
    assert [call[0] for call in quiet.engine.calls] == ["ps"]


@pytest.mark.podman
async def test_a_sandbox_without_a_note_is_adopted(manager: LoopManager, shared: LoopRecord, running: Running):
    files = manager.sandboxes.state_files(shared.id)
    files.forget()
    await manager.upkeep.adopt()
    stamp = files.running()
    assert stamp is not None
    assert stamp.pid == running.init_pid


@pytest.mark.podman
async def test_stopping_all_leaves_other_workspaces_alone(
    manager: LoopManager, shared: LoopRecord, running: Running, own: LoopRecord, workspace: Workspace
):
    other = LoopManager(workspace, manager.config, manager.engine, member="ada")
    theirs = other.create(title="theirs")
    await occupy(manager, own)
    elsewhere = await other.start(theirs)
    await manager.upkeep.stop_all(sparing=lambda: True)
    assert [(await manager.sandboxes.status(record)).state for record in (shared, own)] == ["stopped", "running"]
    await manager.upkeep.stop_all()
    assert [(await manager.sandboxes.status(record)).state for record in (shared, own)] == ["stopped", "stopped"]
    assert is_init(elsewhere.init_pid)


async def test_an_archived_loop_is_stopped_and_stays_so(quiet: LoopManager, events: list[LoopEvent]):
    record = quiet.create(title="Old")
    forget_unmade(quiet.workspace, record.id)
    archived = await quiet.update(record.id, {"archived": True})
    assert archived.archived
    assert [call[0] for call in quiet.engine.calls] == ["stop"]
    both_ways = rf"is archived\. .* choose Unarchive in its menu.*`jupyter loopat unarchive {record.id[:8]}`"
    for use in (quiet.start, quiet.use):
        with pytest.raises(ConflictError, match=both_ways):
            await use(archived)
    back = await quiet.update(record.id, {"archived": False})
    assert back == record


async def test_tools_that_could_not_be_had_are_tried_again_when_a_loop_is_recreated(
    quiet: LoopManager, monkeypatch: pytest.MonkeyPatch
):
    async def ensure(*_: object, **__: object) -> Running:
        return Running("container", 1, "image", restart_needed=False)

    monkeypatch.setattr(quiet.sandboxes, "ensure", ensure)
    record = quiet.create(title="Tools")
    quiet.workspace.toolchain(record.id).write_text(f"# {record.id}")
    key = image_key(quiet.toolchains.reference(record))
    (quiet.workspace.image_locks / f"{key}.failed").write_text("no network")
    await quiet.start(record)
    assert quiet.toolchains.problem(record) == "no network"
    await quiet.start(record, fresh=True)
    assert quiet.toolchains.problem(record) == ""


@pytest.mark.parametrize("first", ["archive", "start"])
async def test_a_loop_that_is_archived_while_it_starts_does_not_run(
    quiet: LoopManager, monkeypatch: pytest.MonkeyPatch, first: str
):
    record = quiet.create(title="Old")
    running: list[bool] = []

    async def ensure(*_: object, **__: object) -> Running:
        if first == "archive":
            await quiet.update(record.id, {"archived": True})
        running.append(True)
        return Running("container", 1, "image", restart_needed=False)

    async def stop(_: str) -> None:
        running.clear()
        nonlocal first
        if first == "start":
            first = "nothing more"
            with pytest.raises(ConflictError):
                await quiet.start(record)

    monkeypatch.setattr(quiet.sandboxes, "ensure", ensure)
    monkeypatch.setattr(quiet.sandboxes, "stop", stop)
    if first == "start":
        await quiet.update(record.id, {"archived": True})
    else:
        with pytest.raises(ConflictError, match="is archived"):
            await quiet.start(record)
    assert running == []


async def test_a_stop_that_fails_is_announced(workspace: Workspace, events: list[LoopEvent]):
    def fail(arguments: tuple[str, ...]) -> Completed:
        raise EngineError("no")

    manager = LoopManager(workspace, Config(), FakeEngine(fail), member="ada", on_event=events.append)
    record = manager.create(title="First")
    forget_unmade(workspace, record.id)
    with pytest.raises(EngineError):
        await manager.update(record.id, {"archived": True})
    assert LoopEvent(action="updated", loop_id=record.id) in events, "it is archived all the same"
    with pytest.raises(EngineError):
        await manager.stop(record)
    assert events[-1] == LoopEvent(action="failed", loop_id=record.id, message="no")
