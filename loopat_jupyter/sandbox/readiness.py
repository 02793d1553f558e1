"""Waiting until a descriptor can be read or written. Nothing polls: the kernel tells."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until_readable(descriptor: int, ready: asyncio.Event | None = None) -> None:
    """Return when something can be read; at once for a file, where that is always so.

    Args:
        descriptor: Nobody else of this event loop waits to read it.
        ready: Set then; whoever else sets it ends the waiting, too.
    """
    loop = asyncio.get_running_loop()
    await _until(descriptor, loop.add_reader, loop.remove_reader, ready or asyncio.Event())


async def until_writable(descriptor: int) -> None:
    """Return when something can be written; at once for a file, where that is always so.

    Args:
        descriptor: Nobody else of this event loop waits to write it.
    """
    loop = asyncio.get_running_loop()
    await _until(descriptor, loop.add_writer, loop.remove_writer, asyncio.Event())


def is_writable(descriptor: int) -> bool:
    """Whether something can be written right now, or would fail right now.

    Args:
        descriptor: Any.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


async def _until(
    descriptor: int,
    add: Callable[[int, Callable[[], None]], None],
    remove: Callable[[int], bool],
    ready: asyncio.Event,
) -> None:
    try:
        add(descriptor, ready.set)
    except PermissionError:
        return
    try:
        await ready.wait()
    finally:
        remove(descriptor)
