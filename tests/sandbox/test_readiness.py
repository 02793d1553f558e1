"""Waiting for descriptors of the host."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.sandbox.readiness import is_writable, until_readable, until_writable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Empty."""
    ends = os.pipe2(os.O_NONBLOCK)
    yield ends
    for end in ends:
        os.close(end)


def is_watched(descriptor: int) -> bool:
    return descriptor in asyncio.get_running_loop()._selector.get_map()


async def test_what_is_written_can_be_read(pipe: tuple[int, int]):
    reader, writer = pipe
    waiting = asyncio.create_task(until_readable(reader))
    await asyncio.sleep(0)
    assert is_watched(reader)
    os.write(writer, b"x")
    await waiting
    assert not is_watched(reader)


async def test_what_was_full_can_be_written_once_it_is_read(pipe: tuple[int, int]):
    reader, writer = pipe
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    waiting = asyncio.create_task(until_writable(writer))
    await asyncio.sleep(0)
    assert is_watched(writer)
    assert not is_writable(writer)
    os.read(reader, 10**6)
    assert is_writable(writer)
    await waiting
    assert not is_watched(writer)


async def test_somebody_else_may_end_the_waiting(pipe: tuple[int, int]):
    ready = asyncio.Event()
    waiting = asyncio.create_task(until_readable(pipe[0], ready))
    await asyncio.sleep(0)
    ready.set()
    await waiting
    assert not is_watched(pipe[0])


async def test_called_off_nothing_is_watched(pipe: tuple[int, int]):
    waiting = asyncio.create_task(until_readable(pipe[0]))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not is_watched(pipe[0])


async def test_nobody_waits_for_a_file(tmp_path: Path):
    with (tmp_path / "file").open("w+") as file:
        await until_readable(file.fileno())
        await until_writable(file.fileno())


async def test_what_nobody_can_read_fails_at_once():
    reader, writer = os.pipe()
    os.close(reader)
    assert is_writable(writer)
    os.close(writer)
