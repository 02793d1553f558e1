"""What a command reads and writes, between whoever runs it and whoever wants it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, cast

from loopat_jupyter.deadlines import deadline

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from loopat_jupyter.sandbox.pipes import Pipes, Reader

PIECE_BYTES = 64 * 1024

_Stream: TypeAlias = Literal["stdout", "stderr"]

Client: TypeAlias = "asyncio.subprocess.Process | Pipes"
"""What runs a command and waits for it."""


class Output(NamedTuple):
    """A piece of what a command wrote."""

    stream: _Stream
    data: bytes


class TimeLeft:
    """A point in time by which something must have ended.

    Args:
        timeout_s: How long from now; None for never.
    """

    def __init__(self, timeout_s: float | None) -> None:
        self._at_s = None if timeout_s is None else time.monotonic() + timeout_s

    def left_s(self) -> float | None:
        """The time that is left; None for any amount.

        Raises:
            TimeoutError: None is left.
        """
        if self._at_s is None:
            return None
        left_s = self._at_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


async def pump(client: Client, stdin: bytes, time_left: TimeLeft) -> AsyncGenerator[Output, None]:
    """Forward standard input and merge both outputs, one piece in flight for each.

    Args:
        client: Runs the command.
        stdin: Standard input, if the client takes any.
        time_left: Until when.

    Raises:
        TimeoutError: No time is left.
    """
    feeding = asyncio.ensure_future(_feed(client, stdin))
    readers: dict[_Stream, asyncio.StreamReader | Reader] = {
        "stdout": cast("asyncio.StreamReader | Reader", client.stdout),
        "stderr": cast("asyncio.StreamReader | Reader", client.stderr),
    }
    pending = {asyncio.ensure_future(reader.read(PIECE_BYTES)): name for name, reader in readers.items()}
    try:
        while pending:
            done, _ = await asyncio.wait(pending, timeout=time_left.left_s(), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                name = pending.pop(task)
                if data := task.result():
                    yield Output(name, data)
                    pending[asyncio.ensure_future(readers[name].read(PIECE_BYTES))] = name
        # A command that has closed its outputs may still read.
        async with deadline(time_left.left_s()):
            await client.wait()
    finally:
        left: list[asyncio.Task[Any]] = [feeding, *pending]
        for task in left:
            task.cancel()
        # None of them may look at a pipe that is closed after this.
        await asyncio.wait(left)


async def _feed(client: Client, stdin: bytes) -> None:
    if client.stdin is None:
        return
    # A command may end without reading everything.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.stdin.write(stdin)
        await client.stdin.drain()
        client.stdin.close()
