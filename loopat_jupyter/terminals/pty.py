"""What stands where a terminal of terminado has its pty: nothing yet, or the socket of one that is held inside."""

from __future__ import annotations

import codecs
import struct
from typing import TYPE_CHECKING

from loopat_jupyter.terminals.flow import Feed

if TYPE_CHECKING:
    import socket

_GREETING = struct.Struct("!HH?")
_FRAME = struct.Struct("!cI")
_SIZE = struct.Struct("!HH")
_KEYS_BYTES = 32 * 1024
"""What one frame holds at most; the holder takes no frame of more than twice as much."""


class NoPty:
    """The pty of a terminal whose program does not run yet: it keeps the size, and there is nothing to read.

    Args:
        size: Rows and columns.
    """

    fd = -1

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size

    def getwinsize(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._size

    def setwinsize(self, rows: int, columns: int) -> None:
        """Set rows and columns."""
        self._size = rows, columns

    def close(self, force: bool = True) -> None:  # noqa: FBT001, FBT002 - the signature of ptyprocess
        """Nothing to close."""

    def isalive(self) -> bool:
        """Whether there is a client process of ours."""
        return False


class HeldPty(NoPty):
    """A terminal that is held inside, over the socket of its holder.

    Args:
        connection: Connected; owned by this object.
        size: Rows and columns, until the holder says them.
    """

    def __init__(self, connection: socket.socket, size: tuple[int, int]) -> None:
        super().__init__(size)
        connection.setblocking(False)  # noqa: FBT003 - the only way to say it
        self._connection = connection
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._greeting: bytes | None = b""
        self.whole_screen = False
        """Whether the program used the whole screen when this connection was made."""
        self.fd = connection.fileno()
        self.feed = Feed(self.fd)

    def read(self, size: int = 65_536) -> str:
        """What is there.

        Args:
            size: Bytes at most.

        Raises:
            EOFError: The holder is gone.
        """
        try:
            data = self._connection.recv(size)
        except BlockingIOError:
            return ""
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        if self._greeting is not None:
            data = self._greet(data)
        return self._decoder.decode(data)

    def _greet(self, data: bytes) -> bytes:
        greeting = (self._greeting or b"") + data
        if len(greeting) < _GREETING.size:
            self._greeting = greeting
            return b""
        rows, columns, self.whole_screen = _GREETING.unpack_from(greeting)
        wanted, self._size, self._greeting = self._size, (rows, columns), None
        if wanted not in (self._size, (0, 0)):
            self.setwinsize(*wanted)
        return greeting[_GREETING.size :]

    def write(self, text: str) -> None:
        """Pass keys on, whether or not there is room.

        Args:
            text: The keys.
        """
        self.feed.put(self.frames(text.encode("utf-8", "replace")))

    def frames(self, data: bytes) -> bytes:
        """Keys, as the holder takes them.

        Args:
            data: The keys.
        """
        pieces = (data[start : start + _KEYS_BYTES] for start in range(0, len(data), _KEYS_BYTES))
        return b"".join(_FRAME.pack(b"i", len(piece)) + piece for piece in pieces)

    def setwinsize(self, rows: int, columns: int) -> None:
        """Set rows and columns of the terminal inside."""
        super().setwinsize(rows, columns)
        if self._greeting is None:
            self.feed.put(_FRAME.pack(b"s", _SIZE.size) + _SIZE.pack(rows, columns))

    def close(self, force: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002
        """Let go. The program goes on."""
        self.feed.close()
        self._connection.close()
