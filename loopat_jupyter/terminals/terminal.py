"""One terminal of a loop."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, TypeAlias

from jupyter_server._tz import utcnow
from terminado.management import PtyWithClients

from loopat_jupyter.sandbox.process import HostProcess
from loopat_jupyter.sandbox.session import end_session
from loopat_jupyter.terminals.flow import Feed, Scrollback
from loopat_jupyter.terminals.pty import HeldPty, NoPty

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from loopat_jupyter.models import ExecSpec
    from loopat_jupyter.sandbox.process import Stem
    from loopat_jupyter.sandbox.state import StateFiles

Tidy: TypeAlias = "Callable[[LoopTerminal], Awaitable[None]]"

_CLIENT_GRACE_S = 3.0
"""How long podman's client may take to tidy up once its program has ended."""

_EOF_GRACE_S = 2.0
_REDRAW_S = 0.15
"""How long a program that uses the whole screen sees another size, so that it draws anew; dtach(1) does so, too."""

_EARLY_KEYS_BYTES = 64 * 1024
_INTERRUPT = "\x03"


class LoopTerminal(PtyWithClients):
    """A program of a sandbox on a terminal, and who watches it.

    Its terminal is held inside and outlives this server. Where that cannot be, it is a pty of the host whose client
    process is podman, and ends with it.

    Args:
        loop_id: The loop.
        stem: The program's files.
        state: The loop's notes.
        size: Rows and columns.
        tidy: Removes podman's record of the program.
    """

    def __init__(self, loop_id: str, stem: Stem, state: StateFiles, size: tuple[int, int], tidy: Tidy) -> None:
        # Not the constructor of the base class: it starts a process.
        self.loop_id = loop_id
        self.clients = []
        self.read_buffer = Scrollback()
        self.term_name: str | None = None
        self.last_activity = utcnow()
        self.ptyproc = NoPty(size)
        self.begin: ExecSpec | None = None
        """The program, as long as it does not run yet."""
        self.exec_session = ""
        """Podman's own record of the program; empty while, or because, podman removes that by itself."""
        self._tidy = tidy
        self._stem = stem
        self._state = state
        self._client: HostProcess | None = None
        self._feed: Feed | None = None
        self._keys = ""
        self._again: asyncio.Event | None = None
        self._opening: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._redraw = False
        self._closed = asyncio.Event()

    @property
    def stem(self) -> Stem:
        """The program's files."""
        return self._stem

    @property
    def held(self) -> bool:
        """Whether it outlives this server."""
        return isinstance(self.ptyproc, HeldPty) and self._ending is None

    def opens(self, task: asyncio.Task[None]) -> None:
        """It is being opened; its end calls that off.

        Args:
            task: What opens it.
        """
        self._opening = task

    def write(self, text: str) -> None:
        """Show something to all who watch, while there is no program yet.

        Args:
            text: With plain ends of lines.
        """
        shown = text.replace("\n", "\r\n")
        self.read_buffer.append(shown)
        for client in self.clients:
            client.on_pty_read(shown)

    def flush(self) -> None:
        """Nothing to do: what is written is sent."""

    async def ask_again(self) -> None:
        """Return when a person presses Enter."""
        self._keys = ""
        self._again = asyncio.Event()
        await self._again.wait()
        self._again = None

    def try_again(self) -> None:
        """As if a person who is asked had pressed Enter."""
        if self._again is not None:
            self._again.set()

    def hold(self, connection: socket.socket) -> None:
        """The program runs, and its terminal is held inside.

        Args:
            connection: To its holder.
        """
        pty = HeldPty(connection, self.ptyproc.getwinsize())
        self.ptyproc, self._feed = pty, pty.feed
        self._feed.put(pty.frames(self._keys.encode()))
        self._keys = ""

    def show(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        """The program is about to run, on a pty of the host.

        Args:
            argv: Podman, which shows it.
            environment: Podman's environment; nothing of it reaches the program.
        """
        size, pty = self.ptyproc.getwinsize(), PtyWithClients(list(argv), dict(environment), "/").ptyproc
        # Podman asks for the size just before it starts the program, long after this.
        pty.setwinsize(*size)
        # It is closed only after the client ended; the stock pause before looking would hold the server up.
        pty.delayafterclose = 0
        self.ptyproc, self._feed = pty, Feed(pty.fd)
        self._client = HostProcess(pty.pid, os.pidfd_open(pty.pid))
        self._feed.put(self._keys.encode())
        self._keys = ""

    def found(self, connection: socket.socket) -> None:
        """The terminal was opened by another server, and goes on here.

        Args:
            connection: To its holder.
        """
        self.ptyproc = NoPty((0, 0))
        self.hold(connection)
        self._redraw = True

    def resize_to_smallest(self) -> None:
        """Follow the smallest client. A program that uses the whole screen draws it anew for the first one."""
        super().resize_to_smallest()
        pty = self.ptyproc
        if self._redraw and isinstance(pty, HeldPty) and pty.whole_screen and self.clients:
            self._redraw = False
            rows, columns = pty.getwinsize()
            pty.setwinsize(max(1, rows - 1), columns)
            asyncio.get_running_loop().call_later(_REDRAW_S, self._size_back, rows, columns)

    def _size_back(self, rows: int, columns: int) -> None:
        self.ptyproc.setwinsize(rows, columns)
        super().resize_to_smallest()

    async def type(self, text: str) -> None:
        """Pass keys on to the program; returns when it can take more.

        Args:
            text: The keys.
        """
        if self._feed is None:
            self._type_early(text)
            return
        data = text.encode("utf-8", "replace")
        self._feed.put(self.ptyproc.frames(data) if isinstance(self.ptyproc, HeldPty) else data)
        await self._feed.room()

    def _type_early(self, text: str) -> None:
        if _INTERRUPT in text and self._opening is not None:
            self._opening.cancel()
        elif self._again is None:
            self._keys = (self._keys + text)[:_EARLY_KEYS_BYTES]
        elif "\r" in text or "\n" in text:
            self.try_again()

    def kill(self, sig: int = signal.SIGTERM) -> None:
        """Send a signal to the client process, if there is one.

        Args:
            sig: The signal.
        """
        if self._client is not None:
            self._client.signal(sig)

    def end(self) -> asyncio.Task[None]:
        """End the program, what it started, and the client. May be called any number of times."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())
        return self._ending

    def close(self) -> None:
        """Let go of the terminal. One that is held goes on."""
        if self._feed is not None:
            self._feed.close()
        self.ptyproc.close()
        self._closed.set()

    async def terminate(self, force: bool = False) -> bool:  # noqa: ARG002, FBT001, FBT002 - the stock signature
        """End the terminal and everything in it.

        Args:
            force: Without effect: what does not end is always killed.

        Returns:
            True: it has ended.
        """
        await asyncio.shield(self.end())
        # What it wrote last is still being read; until then it is on the list.
        await _within(self._closed.wait(), _EOF_GRACE_S)
        return True

    async def call_off(self) -> None:
        """End the opening, if it is under way."""
        if self._opening is not None and self._opening is not asyncio.current_task():
            self._opening.cancel()
            await asyncio.wait([self._opening])

    async def _end(self) -> None:
        await self.call_off()
        if self._client is None:
            await end_session(self._stem, self._state)
            await self._tidy(self)
            return
        if self._stem.pid_inside() is not None:
            # The client ends by itself and tidies up podman's records, if its program ends first.
            await end_session(self._stem, self._state)
            if not await _within(self._client.wait(), _CLIENT_GRACE_S):
                await self._end_client(self._client)
        else:
            await self._end_client(self._client)
            # It may have started its program just before.
            await end_session(self._stem, self._state)
        self.ptyproc.isalive()  # takes the exit code, so that no zombie stays
        self._client.close()

    @staticmethod
    async def _end_client(client: HostProcess) -> None:
        for signum in (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
            client.signal(signum)
            if await _within(client.wait(), _CLIENT_GRACE_S):
                return


async def _within(waiting: object, timeout_s: float) -> bool:
    """Wait; whether it came in time."""
    try:
        await asyncio.wait_for(waiting, timeout_s)  # type: ignore[arg-type]
    except TimeoutError:
        return False
    return True
