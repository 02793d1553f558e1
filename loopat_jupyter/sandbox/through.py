"""A command on the streams of this very process, as what a person typed at a prompt: copied to and from its pipes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import stat
import sys
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.sandbox.readiness import is_writable, until_readable, until_writable
from loopat_jupyter.sandbox.streams import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from loopat_jupyter.sandbox.pipes import Pipes, Reader, Writer

_TERMINAL_PIECE_BYTES = 64
"""What a terminal that says that it can be written almost surely takes at once: it has room for some 4096."""
_PTMX = os.makedev(5, 2)
"""The device that makes another terminal each time it is opened (devices.txt of Linux)."""


class _Stream(NamedTuple):
    """A stream of this process, in which nobody waits.

    Attributes:
        number: Its descriptor.
        piece_bytes: How much may be written at once when it says that it can be written; None where it refuses what
            would have to wait.
    """

    number: int
    piece_bytes: int | None


async def copy_through(pipes: Pipes) -> int:
    """Copy until the command has ended and all that it wrote is written.

    Args:
        pipes: The command's. Where it takes standard input, it gets that of this process.

    Returns:
        Its exit code; negative, as of a client that a broken pipe ended, where nobody reads what it writes any more.
    """
    with contextlib.ExitStack() as stack:
        out, err = (
            None if number is None else stack.enter_context(_unhurried(number, os.O_WRONLY))
            for number in (_number_of(sys.stdout, 1), _number_of(sys.stderr, 2))
        )
        outputs = [asyncio.ensure_future(_copy(pipes.stdout, out)), asyncio.ensure_future(_copy(pipes.stderr, err))]
        tasks = [*outputs]
        if pipes.stdin:
            tasks.append(asyncio.ensure_future(_feed(pipes.stdin, stack.enter_context(_unhurried(0, os.O_RDONLY)))))
        try:
            await asyncio.gather(*outputs)
            # A command that has closed its outputs may still read.
            return await pipes.wait()
        except (BrokenPipeError, ConnectionResetError):
            return -signal.SIGPIPE
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def _number_of(stream: TextIO | None, usual: int) -> int | None:
    """The descriptor of a stream. Python knows which were closed; their usual numbers may be those of anything now."""
    if stream is None:
        return None
    try:
        return stream.fileno()
    except OSError:
        # Somebody has put in place of it what is none.
        return usual


@contextlib.contextmanager
def _unhurried(number: int, mode: int) -> Iterator[_Stream]:
    """A stream of this process, opened anew where that can be: others have the very same one, and may wait in it.

    A socket cannot be opened, nor can what somebody else made (`sudo`, `su`).
    """
    status = os.fstat(number)
    opened = None
    is_device = stat.S_ISCHR(status.st_mode)
    if stat.S_ISFIFO(status.st_mode) or (is_device and status.st_rdev != _PTMX):
        with contextlib.suppress(OSError):
            opened = os.open(f"/proc/self/fd/{number}", mode | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if opened is not None:
        stream = _Stream(opened, None)
    elif stat.S_ISREG(status.st_mode):
        stream = _Stream(number, None)
    else:
        stream = _Stream(number, _TERMINAL_PIECE_BYTES if is_device else select.PIPE_BUF)
    try:
        yield stream
    finally:
        if opened is not None:
            os.close(opened)


async def _copy(reader: Reader, target: _Stream | None) -> None:
    while data := await reader.read(PIECE_BYTES):
        left = memoryview(data if target is not None else b"")
        while left and target is not None:
            # Asked once more when awake: the other output may lead to the same pipe, and have filled it meanwhile.
            while target.piece_bytes is not None and not is_writable(target.number):
                await until_writable(target.number)
            try:
                left = left[os.write(target.number, left[: target.piece_bytes]) :]
            except BlockingIOError:
                await until_writable(target.number)


async def _feed(writer: Writer, source: _Stream) -> None:
    # A command may end without reading everything, and a terminal that is gone has no more to say.
    with contextlib.closing(writer), contextlib.suppress(OSError):
        while True:
            await until_readable(source.number)
            with contextlib.suppress(BlockingIOError):
                data = os.read(source.number, PIECE_BYTES)
                if not data:
                    return
                writer.write(data)
                await writer.drain()
