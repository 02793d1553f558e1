"""Sandboxes: start, ensure, list, memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from benchmarks.report import Row
from benchmarks.scene import resident_mib, timed
from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.execution import Exit
from loopat_jupyter.sandbox.host import allowed_open_files
from loopat_jupyter.sandbox.plan import container_name, run_argv
from loopat_jupyter.sandbox.process import parent_pid
from loopat_jupyter.workspace.records import LoopStore, new_record

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.scene import Scene

MANY = 10_000


async def start(scene: Scene, rounds: int) -> Row:
    """Start of a sandbox whose image is ready: raw podman with the same options against ours."""
    floor: list[float] = []
    ours: list[float] = []
    manager = scene.manager
    for _ in range(rounds):
        raw = manager.create(title="raw")
        spec = manager.sandboxes.plan(raw)
        for folder in (manager.workspace.run(raw.id), manager.workspace.host(raw.id)):
            folder.mkdir(parents=True)
        pidfile = manager.workspace.host(raw.id) / "raw.pid"
        whole = run_argv(
            spec, scene.running.image_id, pidfile=pidfile, copies=pidfile.parent, open_files=allowed_open_files()
        )
        create = [argument for argument in whole[1:] if argument != "--detach"]
        with timed(floor):
            await manager.engine.run("create", *create)
            await manager.engine.run("start", spec.name)
        await manager.sandboxes.remove(raw.id)
        record = manager.create(title="ours")
        with timed(ours):
            await manager.start(record)
        await manager.sandboxes.remove(record.id)
    return Row("start of a sandbox", "`podman create` + `start`", floor, ours, "ms", "≤ 1.2")


async def ensure(scene: Scene, rounds: int) -> Row:
    """`ensure` of a loop that runs as wanted."""
    floor: list[float] = []
    ours: list[float] = []
    name = container_name(scene.manager.workspace.name, scene.record.id)
    for _ in range(rounds * 3):
        with timed(floor):
            await scene.manager.engine.run("inspect", name)
        with timed(ours):
            await scene.manager.start(scene.record)
    return Row("`ensure` on a running loop", "`podman inspect`", floor, ours, "ms", "one podman call")


async def command(scene: Scene, rounds: int) -> Row:
    """A command that does nothing, to its exit code."""
    floor: list[float] = []
    ours: list[float] = []
    spec = ExecSpec(argv=("true",))
    for _ in range(rounds * 3):
        with timed(floor):
            await scene.manager.engine.run("exec", scene.running.name, "true")
        with timed(ours):
            assert [event async for event in scene.manager.exec(scene.record, spec)] == [Exit(0)]
    return Row("command in a running loop", "`podman exec … true`", floor, ours, "ms", "≤ 1.2")


async def memory(scene: Scene) -> Row:
    """Memory of an idle loop: its monitor, init and main process."""
    (facts,) = msgspec.json.decode((await scene.manager.engine.run("inspect", scene.running.name)).stdout)
    init = facts["State"]["Pid"]
    pids = [facts["State"]["ConmonPid"], init]
    pids += [int(name) for name in os.listdir("/proc") if name.isdigit() and parent_pid(int(name)) == init]  # noqa: PTH208
    return Row("memory of an idle loop", "nothing", [], [resident_mib(pids)], "MiB", "≤ 8 MiB")


async def first_page(scene: Scene, rounds: int) -> Row:
    """First page of a list of 10,000 loops."""
    manager = scene.manager
    template = new_record(title="many", created_by="bench", now=scene.record.created_at)
    store = LoopStore(manager.workspace)
    made: list[Path] = []
    for number in range(MANY):
        record = msgspec.structs.replace(template, id=f"{number:08x}-0000-4000-8000-000000000000")
        folder = manager.workspace.loop(record.id)
        folder.mkdir()
        manager.workspace.record(record.id).write_bytes(msgspec.json.encode(record))
        made.append(folder)
    ours: list[float] = []
    floor: list[float] = []
    for _ in range(rounds * 3):
        with timed(floor):
            await manager.engine.run("ps", "--all", "--format=json")
        with timed(ours):
            await manager.page()
    for folder in made:
        (folder / "meta.json").unlink()
        folder.rmdir()
    assert len(store.stamps()) >= 1
    return Row(f"first page of {MANY:,} loops", "`podman ps`", floor, ours, "ms", "≤ 30 ms")
