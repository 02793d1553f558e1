"""What somebody did to a loop while a kernel was being started in it, which says more than how the start failed."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from loopat_jupyter.errors import EngineTimeoutError, KernelStartError, LoopatError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord

_log = logging.getLogger(__name__)

Change: TypeAlias = Literal["deleted", "archived", "stopped", "recreated"]

_Result = TypeVar("_Result")

_ADVICE: dict[Change, str] = {
    "deleted": "Choose another loop; the Loops panel shows all loops.",
    "archived": "Take it out of the archive in the Loops panel, then start the kernel again.",
    "stopped": "Start the kernel again when you need it: the loop starts with it.",
    "recreated": "Start the kernel again.",
}


class Launchpad:
    """The sandbox that a kernel is being started in.

    Args:
        manager: The loops.
        record: The loop.
        init_pid: Init process of the sandbox.
    """

    def __init__(self, manager: LoopManager, record: LoopRecord, init_pid: int) -> None:
        self._manager = manager
        self._record = record
        self._init_pid = init_pid

    async def change(self) -> Change | None:
        """What became of it; None when it is still the loop's sandbox, or nobody wanted its end."""
        loop_id = self._record.id
        # Who is just changing it comes to the end first.
        with contextlib.suppress(EngineTimeoutError):
            async with self._manager.sandboxes.lock(loop_id):
                pass
        if not self._manager.workspace.record(loop_id).exists():
            return "deleted"
        with contextlib.suppress(LoopatError):
            if self._manager.store.read(loop_id).archived:
                return "archived"
        files = self._manager.sandboxes.state_files(loop_id)
        if files.stopped_on_purpose():
            return "stopped"
        stamp = files.running()
        return "recreated" if stamp is not None and stamp.pid != self._init_pid else None

    def explain(self, change: Change) -> KernelStartError:
        """Why a kernel did not start in it.

        Args:
            change: What became of it.
        """
        what = f"its loop {self._record.title!r} was {change} meanwhile"
        return KernelStartError(f"The kernel did not start, because {what}. {_ADVICE[change]}")


async def undisturbed(step: Callable[[bool], Awaitable[_Result]], where: Callable[[], Launchpad | None]) -> _Result:
    """Do a step of a kernel's start, and once more if the sandbox was made anew meanwhile.

    Args:
        step: The step; told whether it is done once more.
        where: The sandbox it was done in; None when it came to none.

    Raises:
        KernelStartError: The loop was stopped, deleted, or recreated again meanwhile; says so.
        LoopatError: As the step.
        OSError: As the step.
    """
    again = False
    while True:
        try:
            return await step(again)
        except (LoopatError, OSError) as error:
            launchpad = where()
            change = None if launchpad is None else await launchpad.change()
            if launchpad is None or change is None:
                raise
            if again or change != "recreated":
                raise launchpad.explain(change) from error
            _log.info("A kernel is started once more in the new sandbox of its loop: %s", error)
        again = True
