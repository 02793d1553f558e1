"""Requests of loops are answered one by one, and no loop waits for another. Promotions are tested elsewhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from loopat_jupyter import outgoing
from loopat_jupyter.context.requests import MOST_WAITING
from loopat_jupyter.errors import ConflictError
from loopat_jupyter.models import Promotion
from loopat_jupyter.outgoing import Answering

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord

UNCHANGED = Promotion(kind="notes", outcome="unchanged", commit=None)


class Desk:
    """Promotions that end when they are told to."""

    def __init__(self) -> None:
        self.at_once = self.most_at_once = 0
        self.go = asyncio.Event()
        self.held = ""
        self.error: BaseException | None = None
        self.tasks: list[asyncio.Task[None]] = []

    async def promote(self, _: LoopManager, record: LoopRecord, kind: str, *, message: str) -> Promotion:
        del kind, message
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        if record.id == self.held:
            await self.go.wait()
        self.at_once -= 1
        if self.error:
            raise self.error
        return UNCHANGED

    def spawn(self, work: Coroutine[Any, Any, None], *, loop_id: str) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(work, name=loop_id))
        return self.tasks[-1]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk()
    monkeypatch.setattr(outgoing, "promote", made.promote)
    return made


def started(plain: LoopManager, *requests: bytes) -> tuple[LoopRecord, Path]:
    """A loop that was started, in which somebody asks; and where the answers will be."""
    record = plain.create(title="a")
    run, host = plain.workspace.run(record.id), plain.workspace.host(record.id)
    for folder in (run, host):
        folder.mkdir(parents=True)
    (host / "sandbox.json").touch()
    for number, data in enumerate(requests):
        (run / f"ask-{number:024x}").write_bytes(data)
    return record, run


def said(run: Path) -> list[str]:
    """All answers."""
    return sorted(path.read_text() for path in run.glob("said-*"))


async def test_no_loop_waits_for_another(plain: LoopManager, desk: Desk):
    slow, slow_run = started(plain, b"notes\0", b"notes\0")
    _, quick_run = started(plain, b"notes\0")
    desk.held = slow.id
    answering = Answering(desk.spawn)
    await answering.look(plain)
    await answering.look(plain)
    assert len(desk.tasks) == 2
    [quick] = [task for task in desk.tasks if task.get_name() != slow.id]
    await quick
    assert said(quick_run) == ["0\nThere is nothing new in the notes of this loop.\n"]
    assert said(slow_run) == []
    desk.go.set()
    await asyncio.gather(*desk.tasks)
    assert len(said(slow_run)) == 2
    assert list(slow_run.glob("ask-*")) == []


async def test_one_after_the_other_and_a_flood_is_told_so(plain: LoopManager, desk: Desk):
    _, run = started(plain, *[b"notes\0"] * 50, b"nonsense\0")
    answering = Answering(desk.spawn)
    await answering.look(plain)
    await asyncio.gather(*desk.tasks)
    answers = said(run)
    assert len(answers) == 51
    assert desk.most_at_once == 1
    assert sum(answer.startswith("0\n") for answer in answers) <= MOST_WAITING
    assert sum("wait already" in answer for answer in answers) >= 50 - MOST_WAITING
    assert list(run.glob("ask-*")) == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConflictError("Others were first."), "Others were first."),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("a bug"), "Try again"),
    ],
)
async def test_whatever_happens_who_asked_is_told(plain: LoopManager, desk: Desk, error: BaseException, text: str):
    _, run = started(plain, b"notes\0")
    desk.error = error
    await Answering(desk.spawn).look(plain)
    await asyncio.gather(*desk.tasks, return_exceptions=True)
    [answer] = said(run)
    assert answer.startswith("1\n")
    assert text in answer


async def test_also_when_the_server_ends(plain: LoopManager, desk: Desk):
    record, run = started(plain, b"notes\0")
    desk.held = record.id
    await Answering(desk.spawn).look(plain)
    while not desk.at_once:
        await asyncio.sleep(0)
    desk.tasks[0].cancel()
    await asyncio.gather(*desk.tasks, return_exceptions=True)
    assert said(run)[0].startswith("1\nThis was cancelled on the host")
