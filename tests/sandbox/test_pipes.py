"""The pipes of a command, with a process of the host in place of what `inside/attach` is in a sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import resource
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.sandbox.pipes import Pipes
from loopat_jupyter.sandbox.streams import TimeLeft, pump

if TYPE_CHECKING:
    from loopat_jupyter.sandbox.process import Stem
    from tests.sandbox.conftest import Start


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


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
        assert await pipes.stdout.read(10)
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


async def test_who_goes_at_once_leaves_the_pipes_to_the_next(stem: Stem, attach: Start):
    pipes = Pipes(stem, stdin=False)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(stem.folder / f"{stem.name}-a"))
    await attach("/bin/echo", "hello")
    assert await outcome(pipes) == (0, b"hello\n", b"")


async def test_a_start_that_gets_no_pipes_is_known_to_fail(stem: Stem, attach: Start, monkeypatch: pytest.MonkeyPatch):
    def too_many(*_: object) -> None:
        raise OSError(errno.ETOOMANYREFS, "Too many references")

    monkeypatch.setattr(socket, "send_fds", too_many)
    pipes = Pipes(stem, stdin=False)
    # It was not called off.
    stem.file("env").touch()
    process = await attach("/bin/touch", str(stem.folder / "ran"))
    stem.file("pid").write_text(str(process.pid))
    assert not await pipes.begin(os.getpid())
    assert await process.wait() == 1
    pipes.close()
    assert {path.suffix for path in stem.folder.iterdir()} == {".argv", ".env", ".pid"}


async def test_without_a_free_descriptor_the_event_loop_rests(stem: Stem, monkeypatch: pytest.MonkeyPatch):
    asked, accept = [], socket.socket.accept
    monkeypatch.setattr(socket.socket, "accept", lambda listener: (asked.append(listener), accept(listener))[1])
    pipes = Pipes(stem, stdin=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(stem.folder / f"{stem.name}-a"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            for _ in range(100):
                await asyncio.sleep(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert len(asked) == 1
        assert await pipes.begin(os.getpid())
    pipes.close()


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


async def test_an_exit_code_may_come_in_pieces(stem: Stem):
    pipes = Pipes(stem, stdin=False)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(stem.folder / f"{stem.name}-a"))
        await pipes.begin(os.getpid())
        _, handed, _, _ = socket.recv_fds(stranger, 1, 4)
    for piece in (b"1", b"2", b"\n"):
        assert pipes.returncode is None
        os.write(handed[0], piece)
        await asyncio.sleep(0)
    assert await pipes.wait() == 12
    for descriptor in handed:
        os.close(descriptor)
    pipes.close()


async def test_once_it_has_begun_nobody_else_may_come(stem: Stem, attach: Start):
    pipes = Pipes(stem, stdin=False)
    await attach("/bin/sleep", "600")
    await pipes.begin(os.getpid())
    assert list(stem.folder.iterdir()) == []
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
