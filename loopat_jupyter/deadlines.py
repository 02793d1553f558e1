"""Deadlines that also hold while something called off is being cleaned up."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
