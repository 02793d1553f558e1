"""`ThrottledTerminalManager`: Jupyter's terminals, none of which fills this server's memory or holds up another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from jupyter_server_terminals.terminalmanager import TerminalManager
from tornado.ioloop import IOLoop
from traitlets import Float

from loopat_jupyter.terminals.flow import (
    FEW_UNSENT_BYTES,
    MOST_UNSENT_BYTES,
    PATIENCE_S,
    Feed,
    Scrollback,
    Throttle,
    most_unsent_bytes,
)
from loopat_jupyter.terminals.terminal import LoopTerminal

if TYPE_CHECKING:
    from terminado.management import PtyWithClients


class ThrottledTerminalManager(TerminalManager):
    """The stock terminal manager, with bounds for what is written faster than it is read."""

    patience_s = Float(
        PATIENCE_S,
        help="How many seconds a terminal waits for a client that takes nothing of its output, before that is let go.",
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - the stock signature
        super().__init__(**kwargs)
        self._feeds: dict[PtyWithClients, Feed] = {}
        self._throttles: dict[PtyWithClients, Throttle] = {}

    def new_terminal(self, **kwargs: Any) -> PtyWithClients:  # noqa: ANN401 - the stock signature
        """A terminal whose past is bounded, too."""
        terminal: PtyWithClients = super().new_terminal(**kwargs)
        terminal.read_buffer = Scrollback()
        return terminal

    def pty_read(self, fd: int, events: Any = None) -> None:  # noqa: ANN401
        """Pass on what a program wrote; when a client does not take it, wait for that.

        Args:
            fd: The program's terminal.
            events: As the stock manager takes them.
        """
        super().pty_read(fd, events)
        terminal = self.ptys_by_fd.get(fd)
        if terminal is None or terminal in self._throttles:
            return
        if most_unsent_bytes(terminal) > MOST_UNSENT_BYTES:
            self._pause(terminal)

    def _pause(self, terminal: PtyWithClients) -> None:
        IOLoop.current().remove_handler(terminal.ptyproc.fd)
        throttle = self._throttles[terminal] = Throttle(terminal)
        asyncio.get_running_loop().call_later(self.patience_s, self._lose_patience, throttle, terminal)

    def _lose_patience(self, throttle: Throttle, terminal: PtyWithClients) -> None:
        if self._throttles.get(terminal) is throttle:
            throttle.let_go(self.patience_s)
            self.took(terminal)
            asyncio.get_running_loop().call_later(self.patience_s / 4, self._lose_patience, throttle, terminal)

    def took(self, terminal: PtyWithClients) -> None:
        """Go on reading a terminal if its clients have taken enough.

        Args:
            terminal: One of whose clients took something, or left.
        """
        if terminal in self._throttles and most_unsent_bytes(terminal) <= FEW_UNSENT_BYTES:
            self.resume(terminal)

    def resume(self, terminal: PtyWithClients) -> None:
        """Go on reading a terminal, whoever takes it.

        Args:
            terminal: The terminal.
        """
        if self._throttles.pop(terminal, None) is not None and terminal.ptyproc.fd in self.ptys_by_fd:
            loop = IOLoop.current()
            loop.add_handler(terminal.ptyproc.fd, self.pty_read, loop.READ)

    def client_disconnected(self, websocket: Any) -> None:  # noqa: ANN401
        """Nobody waits for a client that has left.

        Args:
            websocket: The client.
        """
        super().client_disconnected(websocket)
        if websocket.terminal is not None:
            self.took(websocket.terminal)

    async def type(self, terminal: PtyWithClients, text: object) -> None:
        """Pass keys on to a program; returns when it can take more.

        Args:
            terminal: Its terminal.
            text: The keys, as a client sent them.
        """
        if not isinstance(text, str):
            return
        if isinstance(terminal, LoopTerminal):
            await terminal.type(text)
            return
        if terminal not in self._feeds:
            self._feeds[terminal] = Feed(terminal.ptyproc.fd)
        self._feeds[terminal].put(text.encode("utf-8", "replace"))
        await self._feeds[terminal].room()

    async def terminate(self, name: str, force: bool = False) -> None:  # noqa: FBT001, FBT002 - the stock signature
        """End a terminal. That it has ended is read from it, so nobody is waited for any more.

        Args:
            name: The terminal.
            force: As the stock manager takes it.
        """
        terminal = self.terminals.get(name)
        if terminal is not None:
            for client in Throttle(terminal).behind():
                client.let_go()
            self.resume(terminal)
        await super().terminate(name, force=force)

    def on_eof(self, ptywclients: PtyWithClients) -> None:
        """The pty has closed.

        Args:
            ptywclients: The terminal.
        """
        self.forget_flow(ptywclients)
        super().on_eof(ptywclients)

    def forget_flow(self, terminal: PtyWithClients) -> None:
        """A terminal is about to be closed.

        Args:
            terminal: The terminal.
        """
        self._throttles.pop(terminal, None)
        feed = self._feeds.pop(terminal, None)
        if feed is not None:
            feed.close()
