"""A command on the streams of this very process, as what a person typed at a prompt: copied to and from its pipes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopat_jupyter.sandbox.pipes import Pipes, Reader, Writer

_PIECE_BYTES = 64 * 1024


async def copy_through(pipes: Pipes) -> int:
    """Copy until the command has ended and all that it wrote is written.

    Args:
        pipes: The command's. Where it takes standard input, it gets that of this process.

    Returns:
        Its exit code; negative, as of a client that a broken pipe ended, where nobody reads what it writes any more.
    """
    # Python knows which of them were closed; their numbers may be those of anything by now.
    out, err = (None if stream is None else number for number, stream in ((1, sys.stdout), (2, sys.stderr)))
    outputs = [asyncio.ensure_future(_copy(pipes.stdout, out)), asyncio.ensure_future(_copy(pipes.stderr, err))]
    tasks = [*outputs, *([asyncio.ensure_future(_feed(pipes.stdin))] if pipes.stdin else [])]
    try:
        await asyncio.gather(*outputs)
    except BrokenPipeError:
        return -signal.SIGPIPE
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return await pipes.wait()


async def _copy(reader: Reader, target: int | None) -> None:
    while data := await reader.read(_PIECE_BYTES):
        left = memoryview(data if target is not None else b"")
        while left and target is not None:
            await _until_ready(target, asyncio.get_running_loop().add_writer, asyncio.get_running_loop().remove_writer)
            # Somebody who shares it may have made it one that does not wait.
            with contextlib.suppress(BlockingIOError):
                # There is room for so much, and whoever reads it may take any time for more.
                left = left[os.write(target, left[: select.PIPE_BUF]) :]


async def _feed(writer: Writer) -> None:
    loop = asyncio.get_running_loop()
    # A command may end without reading everything.
    with contextlib.closing(writer), contextlib.suppress(BrokenPipeError):
        while True:
            await _until_ready(0, loop.add_reader, loop.remove_reader)
            with contextlib.suppress(BlockingIOError):
                data = os.read(0, _PIECE_BYTES)
                if not data:
                    return
                writer.write(data)
                await writer.drain()


async def _until_ready(
    descriptor: int, add: Callable[[int, Callable[[], None]], None], remove: Callable[[int], bool]
) -> None:
    ready = asyncio.Event()
    try:
        add(descriptor, ready.set)
    except PermissionError:
        # A file always is.
        return
    try:
        await ready.wait()
    finally:
        remove(descriptor)
