"""Flow in terminals: what is written faster than it is read waits where it comes from, not in this server's memory.

A program's output is read only while all who watch take it; keys are taken from a client only while the program takes
them. Both ends are bounded, and no terminal waits for another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from jupyter_server_terminals.handlers import TermSocket
from tornado.websocket import WebSocketClosedError, WebSocketHandler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terminado.management import PtyWithClients

SCROLLBACK_CHARACTERS = 256 * 1024
"""What a client that comes later is shown: more than the 1000 lines that JupyterLab keeps."""

MOST_UNSENT_BYTES = 1024 * 1024
"""As much may wait for one client before its terminal is read no more. JSON makes up to six bytes of a character."""

FEW_UNSENT_BYTES = 256 * 1024
"""When as little waits, the terminal is read again."""

MOST_KEYS_BYTES = 1024 * 1024
"""When as much waits for a program, its clients have to wait. One message, of 10 MB at most, may be on top."""

PATIENCE_S = 30.0
"""A client that takes nothing for so long, while its terminal waits for it, is let go. It may come again."""

_PIECE_BYTES = 64 * 1024
_RESET = "\x1bc"
_MODE = re.compile(r"\x1b\[\?([\d;]+)([hl])")
_CUT = 32
"""No sequence that sets modes is longer; one may be cut in two."""

_QUESTION = re.compile(
    r"\x1b\[[>=?]?[\d;]*(?:c|n|x)"
    r"|\x1b\[[>?]?[\d;]*\$p"
    r"|\x1b\]\d+;(?:\d+;)?\?(?:\x07|\x1b\\)"
    r"|\x1bP[+$]q[^\x1b]*\x1b\\"
)
"""What a program asks the terminal: a screen that only shows what was would answer, and the answer would be typed."""


class Scrollback(deque[str]):
    """What a terminal wrote last, as much as a client needs that comes later."""

    def __init__(self) -> None:
        super().__init__()
        self._length = 0
        self._modes: dict[str, str] = {}
        self._rest = ""

    def append(self, text: str) -> None:
        """Add what was just written; the oldest goes.

        Args:
            text: Any amount.
        """
        super().append(text)
        self._length += len(text)
        while len(self) > 1 and self._length - len(self[0]) >= SCROLLBACK_CHARACTERS:
            first = self.popleft()
            self._length -= len(first)
            for numbers, letter in _MODE.findall(self._rest + first):
                for number in numbers.split(";"):
                    if len(self._modes) < 100:
                        self._modes[number] = letter
            self._rest = first[-_CUT:]

    def copy(self) -> deque[str]:  # type: ignore[override]
        """All of it, for a screen that may show some of it already."""
        if not self:
            return deque()
        modes = "".join(f"\x1b[?{number}{letter}" for number, letter in self._modes.items())
        return deque([_RESET, modes, _QUESTION.sub("", "".join(self))])


class Feed:
    """Bytes on their way into a descriptor whose other end may not take them. Use it in the event loop.

    Args:
        descriptor: It; not owned. It no longer blocks.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._waiting = bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False

    def put(self, data: bytes) -> None:
        """Add bytes; they go as soon as they can.

        Args:
            data: Any amount.
        """
        if self._closed:
            return
        self._waiting += data
        if self._loop is None:
            self._push()

    async def room(self) -> None:
        """Return when there is room for more, or no need for it any more."""
        await self._room.wait()

    def close(self) -> None:
        """Drop what is left. Before the descriptor is closed."""
        self._closed = True
        self._waiting.clear()
        self._stop()
        self._room.set()

    def _push(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: os.write(self._descriptor, self._waiting[:_PIECE_BYTES])]
        except BlockingIOError:
            pass
        except OSError:
            # The other end is gone; the reader of the descriptor will notice.
            self._waiting.clear()
        if len(self._waiting) > MOST_KEYS_BYTES:
            self._room.clear()
        else:
            self._room.set()
        if self._waiting and self._loop is None:
            self._loop = asyncio.get_event_loop()
            self._loop.add_writer(self._descriptor, self._push)
        elif not self._waiting:
            self._stop()

    def _stop(self) -> None:
        if self._loop is not None:
            self._loop.remove_writer(self._descriptor)
            self._loop = None


class LoopTermSocket(TermSocket):
    """A client of a terminal, which counts what waits for it."""

    _size: tuple[int | None, ...] = (None, None)

    def initialize(self, name: str, **kwargs: Any) -> None:  # type: ignore[override]  # noqa: ANN401
        """As stock, with the terminals of the server.

        Args:
            name: Of the extension.
            kwargs: As the stock class takes them.
        """
        super().initialize(name, self.settings["terminal_manager"], **kwargs)
        self.unsent_bytes = 0
        """How much was written for it and not yet sent."""
        self.moved_at_s = time.monotonic()
        """When it last took something, monotonic."""
        self._sending: set[asyncio.Future[None]] = set()

    def write_message(self, message: Any, binary: bool = False) -> None:  # type: ignore[override]  # noqa: ANN401, FBT001, FBT002
        """Send something.

        Args:
            message: Text, or bytes.
            binary: Whether it is bytes.
        """
        if not self.unsent_bytes:
            self.moved_at_s = time.monotonic()
        # The stock class throws away what tells when it is sent. A client that just left hears nothing.
        with contextlib.suppress(WebSocketClosedError):
            sent = asyncio.ensure_future(WebSocketHandler.write_message(self, message, binary))
            self.unsent_bytes += len(message)
            self._sending.add(sent)
            sent.add_done_callback(lambda done: self._sent(done, len(message)))
        self._update_activity()

    def _sent(self, done: asyncio.Future[None], size_bytes: int) -> None:
        self._sending.discard(done)
        self.unsent_bytes -= size_bytes
        self.moved_at_s = time.monotonic()
        if not done.cancelled():
            # That it left in between is told elsewhere.
            done.exception()
        if self.terminal is not None and hasattr(self.term_manager, "took"):
            self.term_manager.took(self.terminal)

    @property  # type: ignore[override]
    def size(self) -> tuple[int | None, ...]:
        """Rows and columns; None for what it did not tell."""
        return self._size

    @size.setter
    def size(self, told: Sequence[object]) -> None:
        """What makes no sense is ignored: it would end the connections of all who watch the terminal."""
        if len(told) == 2 and all(cells is None or (type(cells) is int and 0 < cells < 65_536) for cells in told):
            self._size = tuple(told)  # type: ignore[arg-type]

    def let_go(self) -> None:
        """End the connection at once: what waits for it is dropped."""
        if self.ws_connection is not None and self.ws_connection.stream is not None:
            self.ws_connection.stream.close()

    async def stdin_to_ptyproc(self, text: str) -> None:
        """Pass keys on.

        Args:
            text: The keys.
        """
        if self.terminal is None:
            return
        if hasattr(self.term_manager, "type"):
            await self.term_manager.type(self.terminal, text)
        else:
            await super().stdin_to_ptyproc(text)


class Throttle:
    """One terminal whose clients do not take what it writes.

    Args:
        terminal: The terminal.
    """

    def __init__(self, terminal: PtyWithClients) -> None:
        self._terminal = terminal
        self.since_s = time.monotonic()

    def behind(self) -> list[Any]:
        """Clients that much waits for."""
        return [client for client in self._terminal.clients if unsent_bytes(client) > FEW_UNSENT_BYTES]

    def let_go(self, patience_s: float) -> None:
        """Let clients go that have taken nothing for long.

        Args:
            patience_s: How long.
        """
        latest_s = time.monotonic() - patience_s
        for client in self.behind():
            if client.moved_at_s <= latest_s and self.since_s <= latest_s:
                client.let_go()


def unsent_bytes(client: Any) -> int:  # noqa: ANN401 - of whatever class the server was configured with
    """How much waits for a client of a terminal; 0 for one that does not count."""
    count: int = getattr(client, "unsent_bytes", 0)
    return count


def most_unsent_bytes(terminal: PtyWithClients) -> int:
    """How much waits for that client of a terminal that most waits for."""
    return max(map(unsent_bytes, terminal.clients), default=0)
