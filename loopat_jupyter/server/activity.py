"""`ActivityNotes`: that cells ran in a loop, or keys were pressed in its terminals, is noted as its last activity."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any

from loopat_jupyter.errors import LoopatError
from loopat_jupyter.terminals.terminal import LoopTerminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loopat_jupyter.workspace.records import LoopStore

LOOK_S = 30.0
"""Pause between two looks."""

SETTLE_S = 10.0
"""Jupyter takes what outlived the last server for just used, and talks to it; so long that does not count."""


def latest(used: Iterable[tuple[str, dt.datetime]], since: dt.datetime) -> dict[str, dt.datetime]:
    """When each loop was last used.

    Args:
        used: Loop ids, with when something in them was.
        since: What was before does not count.
    """
    found: dict[str, dt.datetime] = {}
    for loop_id, at in used:
        if at >= max(since, found.get(loop_id, since)):
            found[loop_id] = at
    return found


class ActivityNotes:
    """Notes when the kernels and terminals of one server were last used, from what Jupyter itself keeps of them.

    Args:
        store: Where it is noted.
        kernels: The server's manager of kernels.
        terminals: The server's manager of terminals; None without.
        now: When the server began.
    """

    def __init__(
        self,
        store: Callable[[], LoopStore],
        kernels: Any,  # noqa: ANN401 - Jupyter's own is not typed
        terminals: Any,  # noqa: ANN401
        now: dt.datetime,
    ) -> None:
        self._store = store
        self._kernels = kernels
        self._terminals = terminals
        self._since = now + dt.timedelta(seconds=SETTLE_S)

    async def look(self) -> None:
        """Look once; asks the disk only, and podman nothing."""
        used = latest((*self._of_kernels(), *self._of_terminals()), self._since)
        if used:
            await asyncio.to_thread(_note, self._store(), used)

    def _of_kernels(self) -> Iterable[tuple[str, dt.datetime]]:
        keeper = getattr(self._kernels, "keeper", None)
        for kernel_id, loop_id in keeper.loops().items() if keeper is not None else ():
            if kernel_id in self._kernels:
                km = self._kernels.get_kernel(kernel_id)
                # A long computation that prints nothing is activity, too.
                busy = getattr(km, "execution_state", "") == "busy"
                at = dt.datetime.now(dt.UTC) if busy else getattr(km, "last_activity", None)
                if at is not None:
                    yield loop_id, at

    def _of_terminals(self) -> Iterable[tuple[str, dt.datetime]]:
        for terminal in getattr(self._terminals, "terminals", {}).values():
            if isinstance(terminal, LoopTerminal):
                yield terminal.loop_id, terminal.last_activity


def _note(store: LoopStore, used: dict[str, dt.datetime]) -> None:
    for loop_id, at in used.items():
        # It may have been deleted meanwhile, and is not to be written to where the disk is full.
        with contextlib.suppress(LoopatError):
            store.touch(loop_id, at)
