"""The streams of a command that starts at the entrance: pipes in its loop's runtime directory; see `inside/attach`.

Both ends of each are held here until the command has its own: so neither side waits for the other to open one, and
nobody takes a pipe that is not open yet for one that was closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import stat
import time
from typing import TYPE_CHECKING

from loopat_jupyter.deadlines import deadline, until_next_look_s
from loopat_jupyter.sandbox.process import find_process, stat_fields

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.sandbox.process import Stem

_MOST_OF_END_BYTES = 16
_PATIENCE_S = 0.25
"""How long a start takes at most on a machine that is not busy."""
_LATEST_END_S = 3.0


class _Pipe:
    """One pipe, with the end of the host; both ends until `lead_on`. Close it."""

    def __init__(self, path: Path, mode: int) -> None:
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        os.mkfifo(path, 0o600)
        self._path = path
        self._both = os.open(path, os.O_RDWR | os.O_NOFOLLOW | flags)
        try:
            _check_pipe(self._both, path)
            # By number: what runs inside can put something else under the name.
            self.descriptor = os.open(f"/proc/self/fd/{self._both}", mode | flags)
        except OSError:
            os.close(self._both)
            raise

    def lead_on(self) -> None:
        """The command has its own end, and nobody needs the name any more."""
        if self._both >= 0:
            os.close(self._both)
            self._both = -1
            with contextlib.suppress(OSError):
                self._path.unlink()

    def close(self) -> None:
        """Give it back."""
        self.lead_on()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _check_pipe(descriptor: int, path: Path) -> None:
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "not a pipe any more", str(path))


class Reader(_Pipe):
    """What a command writes. Nothing is read ahead, so whoever reads slowly slows it down."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, os.O_RDONLY)
        self._news = asyncio.Event()
        self._left_bytes: int | None = None

    async def read(self, size_bytes: int) -> bytes:
        """The next piece; empty at the end.

        Args:
            size_bytes: Its largest size.
        """
        while True:
            left_bytes = self._left_bytes
            try:
                data = os.read(self.descriptor, size_bytes if left_bytes is None else min(size_bytes, left_bytes))
            except BlockingIOError:
                if left_bytes is not None:
                    return b""
                await self._wait()
                continue
            if left_bytes is not None:
                self._left_bytes = left_bytes - len(data)
            return data

    def end(self) -> None:
        """The command has ended: what it wrote is in the pipe. What it left in the background may write for ever."""
        self._left_bytes = fcntl.fcntl(self.descriptor, fcntl.F_GETPIPE_SZ)
        self._news.set()

    async def _wait(self) -> None:
        loop, descriptor = asyncio.get_running_loop(), self.descriptor
        self._news.clear()
        loop.add_reader(descriptor, self._news.set)
        try:
            await self._news.wait()
        finally:
            loop.remove_reader(descriptor)


class Writer(_Pipe):
    """What a command reads."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, os.O_WRONLY)
        self._data = memoryview(b"")

    def write(self, data: bytes) -> None:
        """Say what is to be written; `drain` writes it.

        Args:
            data: All of it.
        """
        self._data = memoryview(data)

    async def drain(self) -> None:
        """Write it, as fast as it is read.

        Raises:
            BrokenPipeError: Nobody reads any more.
        """
        while self._data:
            try:
                self._data = self._data[os.write(self.descriptor, self._data) :]
            except BlockingIOError:
                await self._wait()

    async def _wait(self) -> None:
        loop, descriptor = asyncio.get_running_loop(), self.descriptor
        writable = asyncio.Event()
        loop.add_writer(descriptor, writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(descriptor)


class Pipes:
    """What runs a command inside and waits for its end: to the host what a client of podman is. Close it.

    Args:
        stem: The command's files, of which the pipes become some.
        stdin: Whether it gets standard input; else that is empty.

    Attributes:
        stdin: Its standard input; None where that is empty.
        stdout: Its standard output.
        stderr: Its standard error.

    Raises:
        OSError: The folder was locked from inside, or its file system has no pipes.
    """

    def __init__(self, stem: Stem, *, stdin: bool) -> None:
        self.stdin: Writer | None = None
        self._stem = stem
        self._said = b""
        self._begun = asyncio.Event()
        self._exit_code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        with contextlib.ExitStack() as stack:
            if stdin:
                self.stdin = stack.enter_context(contextlib.closing(Writer(stem.file("in"))))
            self.stdout = stack.enter_context(contextlib.closing(Reader(stem.file("out"))))
            self.stderr = stack.enter_context(contextlib.closing(Reader(stem.file("err"))))
            self._end = stack.enter_context(contextlib.closing(Reader(stem.file("end"))))
            asyncio.get_running_loop().add_reader(self._end.descriptor, self._hear)
            stack.callback(self._hear_no_more)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Give the pipes back; a command that still runs finds them closed."""
        self._stack.close()

    async def end(self) -> None:
        """Give them back once what waited for a command that was ended has ended, too: it needs a moment."""
        try:
            with contextlib.suppress(TimeoutError):
                async with deadline(_LATEST_END_S):
                    await self.wait()
        finally:
            self.close()

    @property
    def returncode(self) -> int | None:
        """The command's exit code; None while it runs, negative where nobody saw its end."""
        return self._exit_code.result() if self._exit_code.done() else None

    async def wait(self) -> int:
        """The exit code, once the command has ended."""
        return await asyncio.shield(self._exit_code)

    async def begin(self, init_pid: int) -> bool:
        """Whether the command has begun: True once it has its pipes, False once it is known that it will not.

        Args:
            init_pid: The sandbox's init process on the host.
        """
        began_s = time.monotonic()
        while not self._begun.is_set():
            waited_s = time.monotonic() - began_s
            # What the main process could not start, or what was killed meanwhile, never opens them.
            if waited_s > _PATIENCE_S and await asyncio.to_thread(self._is_gone, init_pid) and not self._begun.is_set():
                self._finish(-signal.SIGKILL)
                return False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._begun.wait(), max(_PATIENCE_S, until_next_look_s(waited_s)))
        return True

    def _is_gone(self, init_pid: int) -> bool:
        pid_inside = self._stem.pid_inside()
        process = None if pid_inside is None else find_process(init_pid, pid_inside)
        if process is not None:
            process.close()
        return not stat_fields(init_pid) or (pid_inside is not None and process is None)

    def _hear(self) -> None:
        """Take what is said of the begin and the end; closed without an exit code, it is nobody's end."""
        data = os.read(self._end.descriptor, _MOST_OF_END_BYTES)
        self._said += data
        if not self._begun.is_set():
            self._begun.set()
            for pipe in (self.stdin, self.stdout, self.stderr, self._end):
                if pipe is not None:
                    pipe.lead_on()
        if not data or len(self._said) > _MOST_OF_END_BYTES:
            code = self._said.strip()
            self._finish(int(code) if code.isdigit() else -signal.SIGKILL)

    def _finish(self, exit_code: int) -> None:
        self._hear_no_more()
        self._exit_code.set_result(exit_code)
        self.stdout.end()
        self.stderr.end()

    def _hear_no_more(self) -> None:
        asyncio.get_running_loop().remove_reader(self._end.descriptor)
