"""The pipes of a command, with a process of the host in place of what `inside/attach` is in a sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.sandbox.helpers import INSIDE
from loopat_jupyter.sandbox.pipes import Pipes
from loopat_jupyter.sandbox.process import Stem
from loopat_jupyter.sandbox.streams import Output, TimeLeft, pump

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import TypeAlias

    Start: TypeAlias = Callable[..., Awaitable[asyncio.subprocess.Process]]

STEM = "x0123456789ab"


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def stem(tmp_path: Path) -> Stem:
    (tmp_path / "run").mkdir()
    return Stem(tmp_path / "run", STEM)


@pytest.fixture
async def attach(tmp_path: Path, stem: Stem) -> AsyncIterator[Start]:
    """Starts `inside/attach` with a command; its files lie where they are told to."""
    text = (INSIDE / "attach").read_text().replace('"/loopat/run/', f'"{stem.folder}/')
    script = tmp_path / "attach-0"
    script.write_text(text.replace("#!/usr/bin/python3", f"#!{sys.executable}"))
    script.chmod(0o755)
    (tmp_path / "waiting-0").mkdir()
    started: list[asyncio.subprocess.Process] = []

    async def start(*command: str) -> asyncio.subprocess.Process:
        stem.file("argv").write_bytes(b"".join(word.encode() + b"\0" for word in command))
        process = await asyncio.create_subprocess_exec(str(script), STEM, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def outcome(pipes: Pipes, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    """Exit code, standard output and standard error."""
    written: dict[str, bytes] = {"stdout": b"", "stderr": b""}
    with contextlib.closing(pipes):
        await pipes.begin(os.getpid())
        async for stream, data in pump(pipes, stdin, TimeLeft(60)):
            written[stream] += data
        return await pipes.wait(), written["stdout"], written["stderr"]


async def test_streams_and_exit_code_are_the_commands_own(stem: Stem, attach: Start):
    pipes = Pipes(stem, stdin=True)
    await attach("/bin/sh", "-c", "cat; echo problem >&2; exit 7")
    data = bytes(range(256)) * 4000
    assert await outcome(pipes, data) == (7, data, b"problem\n")
    assert list(stem.folder.iterdir()) == []


@pytest.mark.parametrize(("script", "code"), [("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 255", 255)])
async def test_a_signal_is_numbered_as_shells_do(stem: Stem, attach: Start, script: str, code: int):
    pipes = Pipes(stem, stdin=False)
    await attach("/bin/sh", "-c", f"cat; {script}")
    assert await outcome(pipes) == (code, b"", b"")


async def test_what_is_left_in_the_background_keeps_nobody_and_fills_nothing(stem: Stem, attach: Start):
    pipes = Pipes(stem, stdin=False)
    await attach("/bin/sh", "-c", "echo first; yes & exit 3")
    with contextlib.closing(pipes):
        await pipes.begin(os.getpid())
        assert await pipes.wait() == 3
        pieces = []
        while piece := await pipes.stdout.read(1000):
            pieces.append(piece)
        assert pieces[0].startswith(b"first\n")
        assert sum(map(len, pieces)) <= fcntl.fcntl(pipes.stdout.descriptor, fcntl.F_GETPIPE_SZ)


async def test_standard_input_that_is_not_read_keeps_nobody(stem: Stem, attach: Start):
    pipes = Pipes(stem, stdin=True)
    await attach("/bin/sh", "-c", "exec <&-; echo done")
    assert await outcome(pipes, bytes(10**6)) == (0, b"done\n", b"")


async def test_input_reaches_what_has_closed_its_outputs(stem: Stem, attach: Start, tmp_path: Path):
    pipes = Pipes(stem, stdin=True)
    await attach("/bin/sh", "-c", f"exec >/dev/null 2>&1; cat >{tmp_path}/got")
    assert await outcome(pipes, bytes(10**6)) == (0, b"", b"")
    assert (tmp_path / "got").stat().st_size == 10**6


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


async def test_what_cannot_be_run_says_why(stem: Stem, attach: Start):
    pipes = Pipes(stem, stdin=False)
    await attach("/bin/echo", "x" * 200_000)
    told = b"The command could not be started: Argument list too long.\n"
    assert await outcome(pipes) == (125, b"", told)


async def test_nothing_is_read_ahead(stem: Stem, attach: Start):
    pipes = Pipes(stem, stdin=False)
    process = await attach("/bin/sh", "-c", "exec yes")
    with contextlib.closing(pipes):
        await pipes.begin(process.pid)
        size_bytes = fcntl.fcntl(pipes.stdout.descriptor, fcntl.F_GETPIPE_SZ)
        while await pipes.stdout.read(10) == b"":
            pass
        # It waits with a full pipe; a piece of it makes room for no more than that.
        assert len(await pipes.stdout.read(10**6)) <= size_bytes
    # Nobody reads any more, which ends it; its end may still be heard or not.
    assert await process.wait() in (0, -signal.SIGPIPE)


async def test_an_end_that_nobody_saw_is_no_exit_code(stem: Stem, attach: Start):
    pipes = Pipes(stem, stdin=False)
    process = await attach("/bin/sleep", "600")
    await pipes.begin(os.getpid())
    process.kill()
    assert await pipes.wait() == pipes.returncode == -signal.SIGKILL
    await pipes.end()


async def test_what_never_begins_is_noticed(stem: Stem):
    pipes = Pipes(stem, stdin=False)
    # The main process wrote its number, and the process is gone.
    stem.file("pid").write_text("999999999")
    assert not await pipes.begin(os.getpid())
    assert pipes.returncode == -signal.SIGKILL
    await pipes.end()


async def test_a_sandbox_that_has_ended_begins_nothing(stem: Stem):
    pipes = Pipes(stem, stdin=False)
    assert not await pipes.begin(999_999_999)
    await pipes.end()


async def test_whoever_comes_after_it_was_called_off_clears_up(stem: Stem, attach: Start):
    for suffix in ("pid", "taken"):
        stem.file(suffix).touch()
    process = await attach("/bin/touch", str(stem.folder / "ran"))
    assert await process.wait() == 1
    assert list(stem.folder.iterdir()) == []


async def test_a_host_that_was_killed_keeps_nobody(stem: Stem, attach: Start):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stem.folder / f"{stem.name}-a"))
    process = await attach("/bin/sh", "-c", "echo >ran")
    assert await process.wait() == 1
    assert not (stem.folder / "ran").exists()


async def test_a_name_that_is_taken_makes_no_pipes(stem: Stem):
    before = open_descriptors()
    (stem.folder / f"{stem.name}-a").symlink_to("/dev/null")
    with pytest.raises(OSError, match="in use"):
        Pipes(stem, stdin=True)
    assert open_descriptors() == before


@pytest.mark.parametrize("said", [b"256\n", b"99999999999999999999", b"-1\n", b"x\n", b""])
async def test_what_is_no_exit_code_is_nobodys_end(stem: Stem, said: bytes):
    pipes = Pipes(stem, stdin=False)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(stem.folder / f"{stem.name}-a"))
        await pipes.begin(os.getpid())
        _, handed, _, _ = socket.recv_fds(stranger, 1, 4)
    os.write(handed[0], said)
    for descriptor in handed:
        os.close(descriptor)
    assert await pipes.wait() == -signal.SIGKILL
    pipes.close()


async def test_closing_twice_gives_back_once(stem: Stem):
    before = open_descriptors()
    pipes = Pipes(stem, stdin=True)
    pipes.close()
    other = os.open("/dev/null", os.O_RDONLY)
    pipes.close()
    os.close(other)
    assert open_descriptors() == before
    assert list(stem.folder.iterdir()) == []


def test_a_piece_says_where_it_is_from():
    assert Output("stderr", b"x") == ("stderr", b"x")
