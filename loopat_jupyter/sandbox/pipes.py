"""The streams of a command that starts at the entrance: pipes whose other ends go to `inside/attach` over a socket.

They have no names, so a program may open its standard input anew by its own name for it (`/dev/stdin`), which with a
named pipe waits for somebody to write. Whoever inside comes to the socket first gets them all, as whoever is the same
user could take them from the command itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

from loopat_jupyter.deadlines import deadline
from loopat_jupyter.sandbox.process import find_process, stat_fields
from loopat_jupyter.sandbox.readiness import until_readable, until_writable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.sandbox.process import Stem

_MOST_OF_END_BYTES = 16
_LARGEST_EXIT_CODE = 255
_PATIENCE_S = 0.25
"""How long a start takes at most on a machine that is not busy."""
_END_TIMEOUT_S = 3.0


class _Pipe:
    """One pipe, with the end of the host; that of the command, too, until it was handed over. Close it."""

    def __init__(self, *, is_written: bool) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        self.descriptor, self.theirs = (writer, reader) if is_written else (reader, writer)
        os.set_blocking(self.descriptor, False)

    def let_go(self) -> None:
        """The command has its end, or will have none."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1

    def close(self) -> None:
        """Give it back."""
        self.let_go()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Reader(_Pipe):
    """What a command writes. Nothing is read ahead, so whoever reads slowly slows it down."""

    def __init__(self) -> None:
        super().__init__(is_written=False)
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
                self._news.clear()
                await until_readable(self.descriptor, self._news)
                continue
            if left_bytes is not None:
                self._left_bytes = left_bytes - len(data)
            return data

    def end(self) -> None:
        """The command has ended: what it wrote is in the pipe. What it left in the background may write for ever."""
        self._left_bytes = fcntl.fcntl(self.descriptor, fcntl.F_GETPIPE_SZ)
        self._news.set()


class Writer(_Pipe):
    """What a command reads."""

    def __init__(self) -> None:
        super().__init__(is_written=True)
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
                await until_writable(self.descriptor)


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
        OSError: The folder was locked from inside, or its file system has no sockets.
    """

    def __init__(self, stem: Stem, *, stdin: bool) -> None:
        self._stem = stem
        self._said = b""
        self._begun = asyncio.Event()
        self._exit_code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        with contextlib.ExitStack() as stack:
            readers = (stack.enter_context(contextlib.closing(Reader())) for _ in range(3))
            self._verdict, self.stdout, self.stderr = readers
            self.stdin = stack.enter_context(contextlib.closing(Writer())) if stdin else None
            self._listening = stack.enter_context(contextlib.ExitStack())
            self._listener = self._listening.enter_context(_listener(stem))
            # In this order; `inside/attach` names them, too.
            self._all = [self._verdict, self.stdout, self.stderr, *([self.stdin] if self.stdin else [])]
            self._listen()
            stack.callback(self._hear_no_more)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Give the pipes back; a command that still runs finds them closed."""
        self._stack.close()

    async def end(self) -> None:
        """Give them back once what waited for a command that was ended has ended, too: it needs a moment."""
        try:
            # Nothing waits for one that has not begun, and nothing will.
            if self._begun.is_set():
                with contextlib.suppress(TimeoutError):
                    async with deadline(_END_TIMEOUT_S):
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
        beginning = asyncio.ensure_future(self._begun.wait())
        try:
            while not self._begun.is_set():
                waited_s = time.monotonic() - began_s
                # What the main process could not start, or what was killed meanwhile, never opens them.
                if waited_s > _PATIENCE_S and await asyncio.to_thread(self._is_gone, init_pid):
                    if not self._begun.is_set():
                        self._finish(-signal.SIGKILL)
                        return False
                    break
                # Not `wait_for`, which forgets that it was called off if that comes with the beginning (Python 3.11).
                await asyncio.wait({beginning}, timeout=_PATIENCE_S)
        finally:
            beginning.cancel()
        return True

    def _is_gone(self, init_pid: int) -> bool:
        pid_inside = self._stem.pid_inside()
        process = None if pid_inside is None else find_process(init_pid, pid_inside)
        if process is not None:
            process.close()
        return not stat_fields(init_pid) or (pid_inside is not None and process is None)

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._listener, self._hand_over)
        self._listening.callback(loop.remove_reader, self._listener)

    def _hand_over(self) -> None:
        """Give the command its ends. Whoever else inside comes first spoils that command, and no other."""
        loop = asyncio.get_running_loop()
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            # It has gone again.
            return
        except OSError:
            # Without a descriptor to spare the socket would tell of the same one at once.
            loop.remove_reader(self._listener)
            self._listening.callback(loop.call_later(_PATIENCE_S, self._listen).cancel)
            return
        # Where the user has too many on their way (unix(7)), or where it has gone, nothing will come of this start.
        with connection, contextlib.suppress(OSError):
            socket.send_fds(connection, [b"!"], [pipe.theirs for pipe in self._all])
            self._listening.close()
            loop.add_reader(self._verdict.descriptor, self._hear)
            for pipe in self._all:
                pipe.let_go()
            self._begun.set()
            self._stem.file("argv").unlink(missing_ok=True)

    def _hear(self) -> None:
        """Take the exit code, a line; closed without one, nobody saw the end."""
        try:
            data = os.read(self._verdict.descriptor, _MOST_OF_END_BYTES)
        except BlockingIOError:
            return
        self._said += data
        if not data or b"\n" in self._said or len(self._said) > _MOST_OF_END_BYTES:
            line = self._said.partition(b"\n")[0]
            is_code = line.isdigit() and int(line) <= _LARGEST_EXIT_CODE
            self._finish(int(line) if is_code else -signal.SIGKILL)

    def _finish(self, exit_code: int) -> None:
        self._hear_no_more()
        self._exit_code.set_result(exit_code)
        self.stdout.end()
        self.stderr.end()

    def _hear_no_more(self) -> None:
        self._listening.close()
        asyncio.get_running_loop().remove_reader(self._verdict.descriptor)


@contextlib.contextmanager
def _listener(stem: Stem) -> Iterator[socket.socket]:
    """Listens where `inside/attach` comes for the pipes of a command."""
    folder = os.open(stem.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
            # By its descriptor: a path of any length will do.
            listener.bind(f"/proc/self/fd/{folder}/{stem.name}-a")
            try:
                listener.listen(1)
                yield listener
            finally:
                # In a folder that was locked from inside it lies until the next start of the sandbox.
                with contextlib.suppress(OSError):
                    os.unlink(f"{stem.name}-a", dir_fd=folder)
    finally:
        os.close(folder)
