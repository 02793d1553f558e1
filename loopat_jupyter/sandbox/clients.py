"""Processes of podman's: what they write."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from loopat_jupyter.deadlines import side_by_side
from loopat_jupyter.errors import EngineError

if TYPE_CHECKING:
    import asyncio

PIPE_BUFFER_BYTES = 64 * 1024
"""How much output waits here before podman itself has to wait: a slow reader holds the writer up, not memory."""

LARGEST_ANSWER_BYTES = 64 * 2**20
"""Ten thousand containers are listed in less than half of this."""


async def collect(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    """Everything that a process writes, to its end, and no more than fits.

    Args:
        process: The process, with pipes.

    Raises:
        EngineError: It wrote more than any answer of podman's is long.
    """
    streams = (cast("asyncio.StreamReader", process.stdout), cast("asyncio.StreamReader", process.stderr))
    stdout, stderr = await side_by_side(*map(_read_all, streams))
    await process.wait()
    return stdout, stderr


async def _read_all(stream: asyncio.StreamReader) -> bytes:
    whole = bytearray()
    while piece := await stream.read(PIPE_BUFFER_BYTES):
        whole += piece
        if len(whole) > LARGEST_ANSWER_BYTES:
            raise EngineError(
                f"Podman answered with more than {LARGEST_ANSWER_BYTES // 2**20} MiB. "
                "Run `jupyter loopat doctor`: is the configured command really podman?"
            )
    return bytes(whole)
