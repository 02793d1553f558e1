"""What other processes do, as the event stream tells it."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

from loopat_jupyter.models import LoopEvent, Progress
from loopat_jupyter.sandbox.state import StateFiles
from loopat_jupyter.server.follower import GRACE_LOOKS, Follower, Seen, differences
from tests.conftest import add_loop

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

ONE, TWO = Progress(label="one", step=1, steps=2), Progress(label="two", step=2, steps=2)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (Seen(), Seen(), None),
        (Seen(running=True), Seen(running=True), None),
        (Seen(progress=ONE), Seen(progress=ONE), None),
        (Seen(), Seen(progress=ONE), LoopEvent(action="progress", loop_id="a", state="preparing", progress=ONE)),
        (
            Seen(progress=ONE),
            Seen(progress=TWO),
            LoopEvent(action="progress", loop_id="a", state="preparing", progress=TWO),
        ),
        (Seen(progress=TWO), Seen(running=True), LoopEvent(action="state", loop_id="a", state="running")),
        (Seen(progress=TWO), Seen(), LoopEvent(action="state", loop_id="a")),
        (Seen(running=True), Seen(), LoopEvent(action="state", loop_id="a", state="stopped")),
    ],
)
def test_differences(before: Seen, now: Seen, expected: LoopEvent | None) -> None:
    assert list(differences({"a": before}, {"a": now})) == ([expected] if expected else [])


def test_missing_notes_are_no_notes() -> None:
    assert [event.state for event in differences({"a": Seen(running=True)}, {"b": Seen(running=True)})] == [
        "stopped",
        "running",
    ]


class TestFollower:
    @pytest.fixture
    def told(self) -> list[LoopEvent]:
        return []

    @pytest.fixture
    def follower(self, workspace: Workspace, told: list[LoopEvent]) -> Follower:
        return Follower(told.append)

    def create(self, workspace: Workspace) -> str:
        return add_loop(workspace, "a").id

    async def test_the_first_look_tells_nothing(
        self, workspace: Workspace, follower: Follower, told: list[LoopEvent]
    ) -> None:
        self.create(workspace)
        await follower.look(workspace)
        await follower.look(workspace)
        assert told == []

    async def test_made_and_deleted_elsewhere(
        self, workspace: Workspace, follower: Follower, told: list[LoopEvent]
    ) -> None:
        await follower.look(workspace)
        loop = self.create(workspace)
        await follower.look(workspace)
        shutil.rmtree(workspace.loop(loop))
        await follower.look(workspace)
        await follower.look(workspace)
        assert told == [LoopEvent(action="created", loop_id=loop), LoopEvent(action="deleted", loop_id=loop)]

    async def test_a_loop_in_the_making_is_told_when_it_is_whole(
        self, workspace: Workspace, follower: Follower, told: list[LoopEvent]
    ) -> None:
        await follower.look(workspace)
        loop = self.create(workspace)
        record = workspace.record(loop).read_bytes()
        workspace.record(loop).unlink()
        other = self.create(workspace)
        shutil.rmtree(workspace.loop(other))
        await follower.look(workspace)
        assert told == []
        workspace.record(loop).write_bytes(record)
        await follower.look(workspace)
        await follower.look(workspace)
        assert told == [LoopEvent(action="created", loop_id=loop)]

    async def test_what_a_crash_left_is_no_reason_to_list_all_loops_at_each_look(
        self, workspace: Workspace, follower: Follower, told: list[LoopEvent], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await follower.look(workspace)
        left, scandir, listed = self.create(workspace), os.scandir, []
        workspace.record(left).unlink()
        await follower.look(workspace)

        def counting(path: Path) -> Any:
            listed.append(path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", counting)
        await follower.look(workspace)
        assert workspace.loops not in listed
        shutil.rmtree(workspace.loop(left))
        await follower.look(workspace)
        assert workspace.loops in listed
        assert told == []

    async def test_what_this_process_does_during_a_look_is_not_told_again(
        self, workspace: Workspace, follower: Follower, told: list[LoopEvent]
    ) -> None:
        await follower.look(workspace)
        for _ in range(20):
            looking = asyncio.ensure_future(follower.look(workspace))
            await asyncio.sleep(0)
            loop = self.create(workspace)
            follower.note(LoopEvent(action="created", loop_id=loop, state="absent"))
            await looking
            looking = asyncio.ensure_future(follower.look(workspace))
            await asyncio.sleep(0)
            shutil.rmtree(workspace.loop(loop))
            follower.note(LoopEvent(action="deleted", loop_id=loop))
            await looking
        await follower.look(workspace)
        assert told == []

    async def test_files_are_read_beside_the_event_loop(
        self, workspace: Workspace, follower: Follower, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        readers, scandir = set(), os.scandir

        def noting(path: Path) -> Any:
            readers.add(threading.current_thread())
            return scandir(path)

        monkeypatch.setattr(os, "scandir", noting)
        await follower.look(workspace)
        assert readers
        assert threading.current_thread() not in readers

    async def test_progress_elsewhere(self, workspace: Workspace, follower: Follower, told: list[LoopEvent]) -> None:
        loop = self.create(workspace)
        await follower.look(workspace)
        with StateFiles(workspace.host(loop)).working() as tell:
            tell(ONE)
            await follower.look(workspace)
            await follower.look(workspace)
        await follower.look(workspace)
        assert told == [
            LoopEvent(action="progress", loop_id=loop, state="preparing", progress=ONE),
            LoopEvent(action="state", loop_id=loop),
        ]

    async def test_what_this_process_did_is_not_told_again(
        self, workspace: Workspace, follower: Follower, told: list[LoopEvent]
    ) -> None:
        await follower.look(workspace)
        loop = self.create(workspace)
        follower.note(LoopEvent(action="created", loop_id=loop, state="absent"))
        await follower.look(workspace)
        with StateFiles(workspace.host(loop)).working() as tell:
            tell(ONE)
            follower.note(LoopEvent(action="progress", loop_id=loop, state="preparing", progress=ONE))
            await follower.look(workspace)
        follower.note(LoopEvent(action="failed", loop_id=loop, message="no"))
        await follower.look(workspace)
        shutil.rmtree(workspace.loop(loop))
        follower.note(LoopEvent(action="deleted", loop_id=loop))
        await follower.look(workspace)
        assert told == []

    async def test_work_of_this_process_that_was_cancelled_is_told_in_the_end(
        self, workspace: Workspace, follower: Follower, told: list[LoopEvent]
    ) -> None:
        loop = self.create(workspace)
        await follower.look(workspace)
        with StateFiles(workspace.host(loop)).working() as tell:
            tell(ONE)
            follower.note(LoopEvent(action="progress", loop_id=loop, state="preparing", progress=ONE))
            for _ in range(2 * GRACE_LOOKS):
                await follower.look(workspace)
        for _ in range(GRACE_LOOKS):
            await follower.look(workspace)
        assert told == []
        await follower.look(workspace)
        await follower.look(workspace)
        assert told == [LoopEvent(action="state", loop_id=loop)]

    async def test_no_workspace_yet(self, workspace: Workspace, follower: Follower, told: list[LoopEvent]) -> None:
        workspace.loops.rmdir()
        await follower.look(workspace)
        workspace.loops.mkdir()
        await follower.look(workspace)
        assert told == []


async def test_a_build_log_beside_the_loops_is_no_loop(workspace: Workspace) -> None:
    told: list[LoopEvent] = []
    follower = Follower(told.append)
    (workspace.runtime / "build-x.log").write_text("STEP 1")
    await follower.look(workspace)
    add_loop(workspace, "a")
    await follower.look(workspace)
    assert [event.action for event in told] == ["created"]
