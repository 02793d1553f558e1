"""Deadlines that also hold while something called off is being cleaned up, and threads that nobody leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

CLEAN_UP_S = 30.0
"""How long what was called off may take to clean up: more than podman has for that."""

_FIRST_LOOK_S = 0.002
_LATE_PART = 0.02


def until_next_look_s(waited_s: float) -> float:
    """How long to leave alone what starts: the longer it takes, the longer, as a hundred may start at once.

    Args:
        waited_s: How long it has taken.
    """
    return max(_FIRST_LOOK_S, waited_s * _LATE_PART)


async def in_thread(work: Callable[..., _Result], *arguments: Any) -> _Result:  # noqa: ANN401
    """Run something in a thread, which has ended in any case when this returns.

    With `asyncio.to_thread` a caller that is called off goes on at once, to clear away what the thread still makes.

    Args:
        work: What to run.
        arguments: Its arguments.
    """
    return await to_the_end(asyncio.to_thread(work, *arguments))


async def to_the_end(work: Awaitable[_Result]) -> _Result:
    """Wait for something that goes on to its end also when the caller is called off, who then goes no earlier.

    Args:
        work: What to wait for.
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            # Whoever calls off a second time waits, too.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        raise


async def call_off(tasks: Iterable[asyncio.Task[Any]], *, patience_s: float = CLEAN_UP_S) -> None:
    """Call tasks off, and return when they have ended.

    One that is ending already has something to clean up; a second request would cut that short. But a request can get
    lost, where it meets a deadline or an answer that comes at the same time; so it is made again in the end.

    Args:
        tasks: The tasks.
        patience_s: How long they may take to clean up.
    """
    left = set(tasks)
    for task in left:
        if not task.cancelling():
            task.cancel()
    while left:
        _, left = await asyncio.wait(left, timeout=patience_s)
        for task in left:
            _log.warning("Called off again, as it goes on: %r", task)
            task.cancel()


async def side_by_side(*works: Coroutine[Any, Any, _Result]) -> list[_Result]:
    """Run several things at once; all have ended when this returns, the others called off when one fails.

    Args:
        works: What to run.

    Returns:
        What they returned, in their order.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await call_off(tasks)


@contextlib.asynccontextmanager
async def deadline(timeout_s: float | None) -> AsyncIterator[None]:
    """Let a block run for some time at most.

    As `asyncio.timeout`, which before Python 3.11.3 does not notice its own end in a task that was cancelled before
    (gh-102780): who ends processes there, politely and then for sure, would never come to the second.

    Args:
        timeout_s: How long; None for ever.

    Raises:
        TimeoutError: The time is over, and the block was called off.
    """
    task = cast("asyncio.Task[Any]", asyncio.current_task())
    cancelled_before = task.cancelling()
    timeout = asyncio.timeout(timeout_s)
    try:
        async with timeout:
            yield
    except asyncio.CancelledError:
        if timeout.expired() and task.cancelling() <= cancelled_before:
            raise TimeoutError from None
        raise
