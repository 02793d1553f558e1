"""One terminal of a loop."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

from terminado.management import PtyWithClients

from loopat_jupyter.sandbox.process import HostProcess
from loopat_jupyter.sandbox.session import end_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from loopat_jupyter.sandbox.process import Stem
    from loopat_jupyter.sandbox.state import StateFiles

_CLIENT_GRACE_S = 3.0
"""How long podman's client may take to tidy up once its program has ended."""

_EOF_GRACE_S = 2.0


class LoopTerminal(PtyWithClients):
    """A pty on the host whose client process shows a program of a sandbox.

    Args:
        argv: The client: podman, or what makes the sandbox run first and then becomes podman.
        environment: The client's environment; nothing of it reaches the program inside.
        stem: The program's files.
        order: What the client reads its program from; removed at the end.
        state: The loop's notes.
        size: Rows and columns.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        stem: Stem,
        order: Path,
        state: StateFiles,
        size: tuple[int, int],
    ) -> None:
        super().__init__(list(argv), dict(environment), "/")
        # Podman asks for the size just before it starts the program, long after this.
        self.ptyproc.setwinsize(*size)
        # It is closed only after the client ended; the stock pause before looking would hold the server up.
        self.ptyproc.delayafterclose = 0
        self._client = HostProcess(self.ptyproc.pid, os.pidfd_open(self.ptyproc.pid))
        self._stem = stem
        self._order = order
        self._state = state
        self._ending: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    @property
    def stem(self) -> Stem:
        """The program's files."""
        return self._stem

    def end(self) -> asyncio.Task[None]:
        """End the program, what it started, and the client. May be called any number of times."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())
        return self._ending

    def closed(self) -> None:
        """The terminal is off the manager's list."""
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

    async def _end(self) -> None:
        if self._stem.pid_inside() is not None:
            # The client ends by itself and tidies up podman's records, if its program ends first.
            await end_session(self._stem, self._state)
            if not await _within(self._client.wait(), _CLIENT_GRACE_S):
                await self._end_client()
        else:
            await self._end_client()
            # It may have started its program just before.
            await end_session(self._stem, self._state)
        self._order.unlink(missing_ok=True)
        self.ptyproc.isalive()  # takes the exit code, so that no zombie stays
        self._client.close()

    async def _end_client(self) -> None:
        for signum in (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
            self._client.signal(signum)
            if await _within(self._client.wait(), _CLIENT_GRACE_S):
                return


async def _within(waiting: object, timeout_s: float) -> bool:
    """Wait; whether it came in time."""
    try:
        await asyncio.wait_for(waiting, timeout_s)  # type: ignore[arg-type]
    except TimeoutError:
        return False
    return True
