"""An event loop that ends cleanly on signals."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, TypeVar

from loopat_jupyter.cli.app import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_T = TypeVar("_T")


def run_to_end(work: Coroutine[Any, Any, _T], on_cancel: Callable[[], None]) -> _T:
    """Run something to its end.

    Ctrl-C, a closed terminal and a polite kill cancel it, and it gets the time to end what it started.

    Args:
        work: What to do.
        on_cancel: Told when a signal came.

    Raises:
        Interrupted: A signal came.
    """
    return asyncio.run(_cancellable(work, on_cancel))


async def _cancellable(work: Coroutine[Any, Any, _T], on_cancel: Callable[[], None]) -> _T:
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    caught: list[int] = []

    def cancel(signum: int) -> None:
        if not caught:
            caught.append(signum)
            task.cancel()
            on_cancel()

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            loop.add_signal_handler(signum, cancel, signum)
    try:
        return await task
    except asyncio.CancelledError:
        if caught:
            raise Interrupted(caught[0]) from None
        raise
