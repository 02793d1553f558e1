from __future__ import annotations

import asyncio

import pytest

from loopat_jupyter.deadlines import deadline


async def test_a_block_ends_in_time_or_is_called_off() -> None:
    async with deadline(60):
        pass
    async with deadline(None):
        pass
    with pytest.raises(TimeoutError):
        async with deadline(0):
            await asyncio.Event().wait()


async def called_off(task: asyncio.Task[str]) -> str:
    await asyncio.sleep(0)
    task.cancel()
    return await task


async def test_it_holds_in_a_task_that_is_being_cancelled() -> None:
    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                async with deadline(0):
                    await asyncio.Event().wait()
            except TimeoutError:
                return "too late"
        return "not cancelled"

    assert await called_off(asyncio.ensure_future(work())) == "too late"


async def test_a_cancellation_from_outside_stays_one() -> None:
    async def work() -> str:
        async with deadline(60):
            await asyncio.Event().wait()
        return "not cancelled"

    with pytest.raises(asyncio.CancelledError):
        await called_off(asyncio.ensure_future(work()))
