"""Standard input and both outputs of a client, a process of the host or the pipes of one."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.sandbox.pipes import Pipes
from loopat_jupyter.sandbox.streams import PIECE_BYTES, Output, TimeLeft, pump

if TYPE_CHECKING:
    from loopat_jupyter.sandbox.process import Stem
    from tests.sandbox.conftest import Start


async def client(script: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec("/bin/sh", "-c", script, stdin=pipe, stdout=pipe, stderr=pipe)


async def pumped(client: asyncio.subprocess.Process, stdin: bytes = b"", timeout_s: float = 60) -> list[Output]:
    return [output async for output in pump(client, stdin, TimeLeft(timeout_s))]


async def test_both_outputs_are_merged_and_input_arrives():
    data = bytes(range(256)) * 4000
    outputs = await pumped(await client("cat; echo problem >&2"), data)
    written = {name: b"".join(data for stream, data in outputs if stream == name) for name in ("stdout", "stderr")}
    assert written == {"stdout": data, "stderr": b"problem\n"}
    assert max(len(output.data) for output in outputs) <= PIECE_BYTES


async def test_input_that_nobody_reads_is_no_failure():
    assert await pumped(await client("exec <&-; echo done"), bytes(10**6)) == [Output("stdout", b"done\n")]


async def test_a_client_without_input_gets_none(stem: Stem, attach: Start):
    pipes = Pipes(stem, stdin=False)
    await attach("/bin/cat")
    await pipes.begin(os.getpid())
    assert [output async for output in pump(pipes, b"lost", TimeLeft(60))] == []
    pipes.close()


async def test_no_time_is_left_for_what_goes_on():
    # Its outputs are closed, it is not.
    process = await client("exec >&- 2>&- sleep 600")
    with pytest.raises(TimeoutError):
        await pumped(process, timeout_s=0.1)
    process.kill()
    await process.wait()


async def test_a_slow_reader_leaves_no_descriptor_watched(stem: Stem, attach: Start):
    pipes = Pipes(stem, stdin=True)
    # Something in the background holds the input, which is never read; the command ends while nobody asks.
    await attach("/bin/sh", "-c", "sleep 600 0<&0 >/dev/null 2>&1 & echo x")
    await pipes.begin(os.getpid())
    written = []
    async for output in pump(pipes, bytes(10**6), TimeLeft(None)):
        written.append(output.data)
        await pipes.wait()
    numbers = {pipes.stdin.descriptor, pipes.stdout.descriptor, pipes.stderr.descriptor}
    pipes.close()
    assert written == [b"x\n"]
    watched = asyncio.get_running_loop()._selector.get_map()
    assert not numbers & set(watched)


def test_a_piece_says_where_it_is_from():
    assert Output("stderr", b"x") == ("stderr", b"x")


def test_time_runs_out(monkeypatch: pytest.MonkeyPatch):
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    time_left = TimeLeft(5)
    assert (time_left.left_s(), TimeLeft(None).left_s()) == (5, None)
    now_s = 105.0
    with pytest.raises(TimeoutError):
        time_left.left_s()
