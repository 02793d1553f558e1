"""Which sandboxes are in use, and when an unused one stops.

In use means: somebody outside runs a kernel, terminal or command in it right now. That is read from the processes
themselves, so it is right for any number of servers and command lines at once and after any of them crashed.
Background daemons do not count. Time is the host's monotonic clock: it neither jumps nor runs while the machine
sleeps.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from typing import TYPE_CHECKING, Literal, TypeAlias

from loopat_jupyter.errors import LoopatError
from loopat_jupyter.sandbox.process import exec_roots, inits_in_use

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopat_jupyter.sandbox.lifecycle import Sandboxes
    from loopat_jupyter.sandbox.state import Stamp

_log = logging.getLogger(__name__)

CHECKS_PER_TIMEOUT = 10
LONGEST_PAUSE_S = 30.0
SHORTEST_PAUSE_S = 0.2

Verdict: TypeAlias = Literal["in-use", "idle", "stop"]


def verdict(*, active: bool, used_at_s: float, now_s: float, idle_timeout_s: float) -> Verdict:
    """What to do with a running sandbox.

    Args:
        active: Something that counts runs in it.
        used_at_s: When it was last seen in use, monotonic.
        now_s: Now, on the same clock. Earlier than `used_at_s` means the machine was restarted in between.
        idle_timeout_s: How long it may idle; 0 for ever.
    """
    if active:
        return "in-use"
    if idle_timeout_s == 0 or now_s < used_at_s:
        return "idle"
    return "stop" if now_s - used_at_s >= idle_timeout_s else "idle"


def pause_s(idle_timeout_s: float) -> float:
    """Time between two looks at the sandboxes.

    Args:
        idle_timeout_s: How long a sandbox may idle; 0 for ever.
    """
    if idle_timeout_s == 0:
        return LONGEST_PAUSE_S
    return min(LONGEST_PAUSE_S, max(SHORTEST_PAUSE_S, idle_timeout_s / CHECKS_PER_TIMEOUT))


class IdleWatch:
    """Stops sandboxes that nobody uses, each time it looks. Any number of processes may watch one workspace.

    Args:
        sandboxes: The workspace's sandboxes.
        loop_ids: Loops to look at.
        idle_timeout_s: How long a sandbox may idle; 0 for ever.
        on_stop: Told the id of a loop that was stopped.
        on_failure: Told the id of a loop that could not be stopped, which the log says too.
    """

    def __init__(
        self,
        sandboxes: Sandboxes,
        loop_ids: Callable[[], list[str]],
        idle_timeout_s: float,
        on_stop: Callable[[str], None],
        on_failure: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._sandboxes = sandboxes
        self._loop_ids = loop_ids
        self._idle_timeout_s = idle_timeout_s
        self._on_stop = on_stop
        self._on_failure = on_failure

    async def look(self) -> list[str]:
        """Look once at every running sandbox.

        Returns:
            Ids of the loops that were stopped.
        """
        stamps = {loop_id: self._sandboxes.state_files(loop_id).running() for loop_id in self._loop_ids()}
        running = {loop_id: stamp for loop_id, stamp in stamps.items() if stamp is not None}
        active = await asyncio.to_thread(inits_in_use, [stamp.pid for stamp in running.values()])
        stopped = []
        for loop_id, stamp in running.items():
            if self._judge(loop_id, stamp, active=stamp.pid in active) != "stop":
                continue
            try:
                # Asked again under the loop's lock: somebody may have come back in between.
                if await self._sandboxes.stop_if(loop_id, functools.partial(self._is_still_due, loop_id)):
                    stopped.append(loop_id)
                    self._on_stop(loop_id)
            except LoopatError as error:
                _log.warning("The idle sandbox of loop %s was not stopped: %s", loop_id, error.message)
                self._on_failure(loop_id)
        return stopped

    def _is_still_due(self, loop_id: str) -> bool:
        stamp = self._sandboxes.state_files(loop_id).running()
        return stamp is not None and self._judge(loop_id, stamp, active=bool(exec_roots(stamp.pid))) == "stop"

    def _judge(self, loop_id: str, stamp: Stamp, *, active: bool) -> Verdict:
        files = self._sandboxes.state_files(loop_id)
        use = files.last_use(stamp)
        if active or use.in_use:
            # Between two looks the last use may have ended at any time: the idle time starts at the later one.
            use = files.seen(stamp, in_use=active)
        return verdict(
            active=active, used_at_s=use.used_at_s, now_s=time.monotonic(), idle_timeout_s=self._idle_timeout_s
        )
