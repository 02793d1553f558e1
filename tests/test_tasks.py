from __future__ import annotations

import asyncio

from tests.tasks import told


async def test_where_a_task_waits_is_told_from_its_first_function_inwards():
    async def inner() -> None:
        await asyncio.Event().wait()

    async def outer() -> None:
        await inner()

    task = asyncio.create_task(outer(), name="waiting")
    await asyncio.sleep(0)
    text = told(asyncio.get_running_loop())
    task.cancel()
    lines = text.partition("waiting\n")[2].splitlines()
    assert [line.rpartition(".")[2] for line in lines[:3]] == ["outer", "inner", "wait"]
    assert lines[3] == "  waits for Future" or "Future" in lines[3]
