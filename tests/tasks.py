"""What the tasks of a server waited for when a test failed, as a pytest plugin: a part of the report."""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


def places(waiting: object) -> Iterator[str]:
    """Where a coroutine is suspended, from its first function inwards."""
    while waiting is not None:
        if isinstance(waiting, types.CoroutineType):
            frame, waiting = waiting.cr_frame, waiting.cr_await
        elif isinstance(waiting, types.GeneratorType):
            frame, waiting = waiting.gi_frame, waiting.gi_yieldfrom
        elif isinstance(waiting, types.AsyncGeneratorType):
            frame, waiting = waiting.ag_frame, waiting.ag_await
        else:
            yield f"  waits for {type(waiting).__name__}"
            return
        if frame is not None:
            yield f"  {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"


def told(loop: asyncio.AbstractEventLoop) -> str:
    """The tasks of an event loop that have not ended, and where each of them is."""
    return "\n".join(line for task in asyncio.all_tasks(loop) for line in (task.get_name(), *places(task.get_coro())))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[pytest.TestReport]:
    report: pytest.TestReport = yield
    loop = getattr(item, "funcargs", {}).get("loop_of_test")
    if report.failed and report.when == "call" and loop is not None:
        report.sections.append(("Tasks that had not ended", told(loop)))
    return report
