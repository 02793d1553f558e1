"""A command on streams of this process that cannot be opened anew, with a process of the host as the command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import select
import selectors
import socket
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from loopat_jupyter.deadlines import deadline
from loopat_jupyter.sandbox.pipes import Pipes
from loopat_jupyter.sandbox.readiness import is_writable
from loopat_jupyter.sandbox.through import copy_through

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopat_jupyter.sandbox.process import Stem
    from tests.sandbox.conftest import Start

    Opened = tuple[int, int]


class Standard(NamedTuple):
    """In place of a standard stream of Python's."""

    number: int

    def fileno(self) -> int:
        return self.number


def a_socket(_: Path) -> Opened:
    """As what Node starts has for a pipe."""
    return tuple(end.detach() for end in socket.socketpair())  # type: ignore[return-value]


def a_pipe_of_somebody_else(folder: Path) -> Opened:
    """It refuses to be opened once more."""
    path = folder / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    os.set_blocking(reader, True)
    path.chmod(0)
    return reader, writer


def a_pipe(_: Path) -> Opened:
    return os.pipe()


@pytest.fixture(params=[a_socket, a_pipe_of_somebody_else, a_pipe], ids=lambda make: make.__name__)
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Where something is read and where it is written."""
    reader, writer = request.param(tmp_path)
    yield reader, writer
    for end in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(end)


async def copied(pipes: Pipes, target: int) -> int:
    """The exit code of a command, after all that it writes was copied to one stream."""
    again = os.dup(target)
    try:
        with pytest.MonkeyPatch.context() as patch, contextlib.closing(pipes):
            patch.setattr(sys, "stdout", Standard(target))
            patch.setattr(sys, "stderr", Standard(again))
            await pipes.begin(os.getpid())
            return await copy_through(pipes)
    finally:
        os.close(again)


def all_of(reader: int) -> bytes:
    pieces = []
    while piece := os.read(reader, 100_000):
        pieces.append(piece)
    return b"".join(pieces)


async def test_everything_arrives(stem: Stem, attach: Start, ends: Opened) -> None:
    reader, writer = ends
    pipes = Pipes(stem, stdin=False)
    await attach("/bin/sh", "-c", "head -c 500000 /dev/zero; echo problem >&2; exit 7")
    reading = asyncio.create_task(asyncio.to_thread(all_of, reader))
    assert await copied(pipes, writer) == 7
    os.close(writer)
    written = await reading
    assert (written.count(0), written.replace(b"\0", b"")) == (500_000, b"problem\n")


async def test_a_deadline_holds_while_nobody_reads(stem: Stem, attach: Start, ends: Opened) -> None:
    pipes = Pipes(stem, stdin=False)
    await attach("/bin/sh", "-c", "yes >&2 & exec yes")
    with pytest.raises(TimeoutError):
        async with deadline(1):
            await copied(pipes, ends[1])


async def test_one_page_that_both_outputs_wait_for_is_filled_by_one(stem: Stem, attach: Start, ends: Opened) -> None:
    reader, writer = ends
    pipes = Pipes(stem, stdin=False)
    await attach("/bin/sh", "-c", "yes >&2 & exec yes")
    copying = asyncio.create_task(copied(pipes, writer))
    await both_wait(writer)
    os.read(reader, select.PIPE_BUF)
    await both_wait(writer)
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying


async def both_wait(writer: int) -> None:
    """Return when nothing more is taken there, and both outputs wait until something is."""
    watched = asyncio.get_running_loop()._selector.get_map()  # type: ignore[attr-defined]
    while True:
        waiting = {key.fd for key in watched.values() if key.events & selectors.EVENT_WRITE}
        leading_there = {end for end in waiting if os.path.sameopenfile(end, writer)}
        if len(leading_there) == 2 and not is_writable(writer):
            return
        await asyncio.sleep(0)


async def test_the_hosts_end_of_a_terminal_is_that_very_terminal(stem: Stem, attach: Start) -> None:
    master, slave = pty.openpty()
    pipes = Pipes(stem, stdin=False)
    await attach("/bin/echo", "x" * 100)
    assert await copied(pipes, master) == 0
    assert os.read(slave, 1000) == b"x" * 100 + b"\n"
    for end in (master, slave):
        os.close(end)
