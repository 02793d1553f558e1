"""What podman says of all sandboxes is asked anew when, and only when, it may have changed."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.sandbox.facts import find_container
from loopat_jupyter.sandbox.glance import LONGEST_S, SETTLED_NS, Answer, Glance, is_settled, still_so, storage, stored
from loopat_jupyter.sandbox.plan import LABEL_LOOP
from loopat_jupyter.sandbox.podman import Completed
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord

pytestmark = pytest.mark.lonely


LISTED = {"Id": "abc", "Names": ["box"], "Labels": {LABEL_LOOP: "loop"}, "ImageID": "image", "State": "exited"}
LONG_AGO = (1000, 1000)


class Scripted:
    """A podman with one container, and the folder where it keeps everything."""

    def __init__(self, folder: Path) -> None:
        self.listed = dict(LISTED)
        self.there = True
        self.static = folder / "overlay-containers" / "abc" / "userdata"
        self.static.mkdir(parents=True)
        self.database = folder / "libpod" / "bolt_state.db"
        self.database.parent.mkdir()
        self.write("old", LONG_AGO)
        self.engine = FakeEngine(self._answer)

    def _answer(self, arguments: tuple[str, ...]) -> Completed:
        if arguments[0] == "ps":
            return Completed(0, msgspec.json.encode([self.listed] if self.there else []), "")
        return Completed(0, f"{self.static}\n".encode(), "")

    def write(self, text: str, times: tuple[int, int]) -> None:
        self.database.write_text(text)
        os.utime(self.database, times)


async def test_it_is_asked_again_once_its_database_is_another_one(tmp_path: Path) -> None:
    podman = Scripted(tmp_path)
    glance = Glance(podman.engine, "loopat")
    first = await glance.containers()
    assert podman.engine.verbs == ["ps"]
    for _ in range(3):
        assert await glance.containers() == first
    # The second question is also where its storage is, and the third is the first whose answer can stand.
    assert sorted(podman.engine.verbs) == ["inspect", "ps", "ps", "ps"]
    podman.listed["State"] = "running"
    podman.write("new", (2000, 2000))
    assert (await glance.containers())["loop"].running
    # What it says of one that runs and has no process may not be all yet.
    before = len(podman.engine.calls)
    await glance.containers()
    assert len(podman.engine.calls) == before + 1


async def test_where_its_storage_is_is_asked_of_a_container_that_is_there(tmp_path: Path) -> None:
    podman = Scripted(tmp_path)
    glance = Glance(podman.engine, "loopat")
    await glance.containers()
    podman.there = False
    await glance.containers()
    assert podman.engine.verbs == ["ps", "ps"]
    podman.there = True
    await glance.containers()
    assert podman.engine.verbs == ["ps", "ps", "ps", "inspect"]


@pytest.mark.parametrize("elsewhere", ["", "/nowhere/overlay-containers/abc/userdata", "/proc/self"])
async def test_a_podman_that_keeps_its_database_elsewhere_is_always_asked(tmp_path: Path, elsewhere: str) -> None:
    podman = Scripted(tmp_path)
    podman.static = elsewhere  # type: ignore[assignment]
    glance = Glance(podman.engine, "loopat")
    for _ in range(4):
        await glance.containers()
    assert podman.engine.verbs.count("ps") == 4


async def test_a_storage_without_a_database_that_is_known_is_always_asked(tmp_path: Path) -> None:
    podman = Scripted(tmp_path)
    podman.database.unlink()
    glance = Glance(podman.engine, "loopat")
    for _ in range(4):
        await glance.containers()
    assert podman.engine.verbs.count("ps") == 4


def test_an_answer_stands_while_nothing_can_have_changed(tmp_path: Path) -> None:
    podman = Scripted(tmp_path)
    database = stored(tmp_path)
    (file,) = database
    assert (file.path, file.changed_ns) == (podman.database, 1000 * 10**9)
    answer = Answer(database, 5.0, {})
    assert still_so(answer, stored(tmp_path), 6.0)
    assert not still_so(answer, stored(tmp_path), 5.0 + LONGEST_S)
    assert not still_so(Answer((), 5.0, {}), (), 6.0)
    # SQLite writes beside its file, too.
    (tmp_path / "db.sql-wal").touch()
    assert not still_so(answer, stored(tmp_path), 6.0)
    assert is_settled(database, file.changed_ns + SETTLED_NS + 1)
    assert not is_settled(database, file.changed_ns + SETTLED_NS)
    assert not is_settled(database, 0)


@pytest.mark.podman
async def test_what_happens_behind_our_back_shows_in_the_database_and_in_the_next_list(manager: LoopManager) -> None:
    record, other = manager.create(title="real"), manager.create(title="other")
    running = await manager.start(record)
    facts = await find_container(manager.engine, running.name)
    assert facts is not None
    folder = await storage(manager.engine, facts)

    async def changed(*arguments: str) -> bool:
        before = stored(folder)
        await asyncio.to_thread(subprocess.run, ["podman", *arguments], check=True, capture_output=True, timeout=60)
        return stored(folder) != before

    assert stored(folder)
    # Others write to it, too, but not all the time.
    while await changed("ps", "--all") or await changed("inspect", running.name):
        await asyncio.sleep(0.01)
    for _ in range(3):
        assert await states(manager, record, other) == ["running", "absent"]
    steps = ((("stop", "--time=0"), "stopped"), (("start",), "running"), (("rm", "--force", "--time=0"), "absent"))
    for change, state in steps:
        assert await changed(*change, running.name)
        assert await states(manager, record, other) == [state, "absent"]
    await manager.start(other)
    assert await states(manager, record, other) == ["absent", "running"]


async def states(manager: LoopManager, *records: LoopRecord) -> list[str]:
    listed = {loop.id: loop.state for loop in (await manager.page()).loops}
    return [listed[record.id] for record in records]
