from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest

from loopat_jupyter.errors import ConflictError, EngineError
from loopat_jupyter.sandbox.lifecycle import Running
from loopat_jupyter.starting import Underway
from loopat_jupyter.workspace.records import new_record

RECORD = new_record(title="Slow", created_by="ada", now=datetime.datetime.now(datetime.UTC))
RUNNING = Running("container", 1, "image", restart_needed=False)


class Start:
    """A start that lasts until it is called off, and then clears up."""

    def __init__(self) -> None:
        self.begun, self.cleared = asyncio.Event(), False

    async def __call__(self) -> Running:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.cleared = True
        return RUNNING


async def begun(underway: Underway) -> tuple[Start, asyncio.Task[Any]]:
    start = Start()
    task = asyncio.create_task(underway.run(RECORD, start()))
    await start.begun.wait()
    return start, task


async def test_a_start_answers_with_what_runs_or_why_not() -> None:
    async def works() -> Running:
        return RUNNING

    async def fails() -> Running:
        raise EngineError("no")

    underway = Underway()
    assert await underway.run(RECORD, works()) == RUNNING
    with pytest.raises(EngineError, match="no"):
        await underway.run(RECORD, fails())
    await underway.call_off(RECORD.id)


async def test_whoever_asked_for_a_start_that_is_called_off_is_told() -> None:
    underway = Underway()
    starts = [await begun(underway), await begun(underway)]
    await underway.call_off("another")
    assert not any(task.done() for _, task in starts)
    await underway.call_off(RECORD.id)
    assert all(start.cleared for start, _ in starts)
    for _, task in starts:
        with pytest.raises(ConflictError, match="'Slow' was cancelled"):
            await task


async def test_a_start_ends_with_whoever_asked_for_it() -> None:
    underway = Underway()
    (start, task), (other, waits) = await begun(underway), await begun(underway)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (start.cleared, other.cleared) == (True, False)
    await underway.call_off(RECORD.id)
    with pytest.raises(ConflictError):
        await waits
