from __future__ import annotations

import asyncio
import threading

import pytest

from loopat_jupyter.deadlines import call_off, deadline, in_thread, side_by_side, until_next_look_s


async def test_a_block_ends_in_time_or_is_called_off() -> None:
    async with deadline(60):
        pass
    async with deadline(None):
        pass
    with pytest.raises(TimeoutError):
        async with deadline(0):
            await asyncio.Event().wait()


def test_who_waits_long_looks_seldom_and_is_late_by_a_small_part() -> None:
    waited_s, looks = 0.0, 0
    while waited_s < 20:
        pause_s = until_next_look_s(waited_s)
        assert pause_s == 0.002 or pause_s < waited_s / 40
        waited_s += pause_s
        looks += 1
    # A hundred that wait at once are little work for the processor.
    assert looks < 400


async def test_what_misses_a_request_is_called_off_again(caplog: pytest.LogCaptureFixture) -> None:
    heard = []

    async def goes_on() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                heard.append("a request")
                if len(heard) > 1:
                    raise

    async def cleans_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            heard.append("clean")

    tasks = [asyncio.create_task(goes_on()), asyncio.create_task(cleans_up())]
    await asyncio.sleep(0)
    await call_off(tasks, patience_s=0.01)
    assert all(task.cancelled() for task in tasks)
    assert heard == ["a request", "clean", "a request"]
    assert ["goes_on" in record.message for record in caplog.records] == [True]


async def test_a_thread_has_ended_before_its_caller_goes_on_however_often_it_is_called_off() -> None:
    goes, ended = threading.Event(), threading.Event()

    def work() -> None:
        goes.wait()
        ended.set()

    task = asyncio.create_task(in_thread(work))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    goes.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


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


async def test_side_by_side_answers_in_order_and_leaves_nobody_behind() -> None:
    ended: list[str] = []

    async def first(other: asyncio.Event) -> str:
        await other.wait()
        return "first"

    async def second(other: asyncio.Event) -> str:
        other.set()
        return "second"

    async def patient() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            ended.append("patient")
            raise
        return ""

    async def failing() -> str:
        await asyncio.sleep(0)
        raise ValueError

    event = asyncio.Event()
    assert await side_by_side(first(event), second(event)) == ["first", "second"]
    with pytest.raises(ValueError, match="^$"):
        await side_by_side(patient(), failing())
    assert ended == ["patient"]
    task = asyncio.ensure_future(side_by_side(patient(), patient()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["patient"] * 3
