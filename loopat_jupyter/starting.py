"""`Starter` brings a loop's sandbox up and tells everybody about it; `Underway` can call that off."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Any

from loopat_jupyter.deadlines import call_off
from loopat_jupyter.errors import ConflictError, LoopatError, NotFoundError, UnreadableRecordError
from loopat_jupyter.models import LoopEvent, Progress
from loopat_jupyter.sandbox.usage import in_use, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.lifecycle import Running, Sandboxes
    from loopat_jupyter.workspace.records import LoopStore

_log = logging.getLogger(__name__)


def archived(record: LoopRecord) -> ConflictError:
    """What to tell who would start an archived loop.

    Args:
        record: The loop.
    """
    return ConflictError(f"{record.title!r} is archived. To use it, {way_out_of_archive(record)}")


def way_out_of_archive(record: LoopRecord) -> str:
    """How a person takes a loop out of the archive, where they look at JupyterLab and where they do not.

    Args:
        record: The loop.
    """
    return (
        "choose Unarchive in its menu, below Archived in the Loops panel of JupyterLab, or run "
        f"`jupyter loopat unarchive {record.id[:8]}`."
    )


class Underway:
    """The starts that are under way in this process, so that they can be called off, whoever asked for them."""

    def __init__(self) -> None:
        self._tasks: dict[str, set[asyncio.Task[Running]]] = {}

    async def run(self, record: LoopRecord, start: Coroutine[Any, Any, Running]) -> Running:
        """Start a sandbox.

        Args:
            record: The loop.
            start: What starts it.

        Raises:
            ConflictError: It was called off.
        """
        task = asyncio.ensure_future(start)
        tasks = self._tasks.setdefault(record.id, set())
        tasks.add(task)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            await call_off([task])
            raise
        finally:
            tasks.discard(task)
            if not tasks:
                self._tasks.pop(record.id, None)
        if task.cancelled():
            raise ConflictError(f"The start of loop {record.title!r} was cancelled. Try again when it is needed.")
        return task.result()

    async def call_off(self, loop_id: str) -> None:
        """Call off every start of a loop, and return when they have ended.

        Args:
            loop_id: The loop.
        """
        await call_off(self._tasks.get(loop_id, ()))


class Starter:
    """Starts sandboxes.

    Args:
        store: Records of the loops.
        sandboxes: Their containers.
        on_event: Told about everything that happens.
    """

    def __init__(self, store: LoopStore, sandboxes: Sandboxes, on_event: Callable[[LoopEvent], None]) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._on_event = on_event

    async def start(self, record: LoopRecord, on_progress: Callable[[Progress], None], *, fresh: bool) -> Running:
        """Make the sandbox run.

        Args:
            record: The loop.
            on_progress: Told about each step, as is everybody who follows the events.
            fresh: Make a new container even if the present one is as wanted.

        Raises:
            LoopatError: As `Sandboxes.ensure`; it was told as an event too.
        """
        files = self._sandboxes.state_files(record.id)
        worked = False
        with files.working() as tell_others:

            def tell(progress: Progress) -> None:
                nonlocal worked
                worked = True
                tell_others(progress)
                on_progress(progress)
                self._on_event(LoopEvent(action="progress", loop_id=record.id, state="preparing", progress=progress))

            try:
                announce = functools.partial(self._announce_end, record.id)
                running = await self._sandboxes.ensure(record, tell, fresh=fresh, before_end=announce)
                self._store.touch(record.id)
                await self._stop_if_archived(record.id)
            except (LoopatError, OSError) as error:
                await self._clear_if_deleted(record.id)
                self._on_event(LoopEvent(action="failed", loop_id=record.id, message=str(error)))
                raise
        if running.replaced:
            self._on_event(LoopEvent(action="warning", loop_id=record.id, message=running.replaced))
        if worked:
            self._on_event(LoopEvent(action="state", loop_id=record.id, state="running"))
        return running

    async def _clear_if_deleted(self, loop_id: str) -> None:
        """Somebody deleted the loop while its sandbox was started: what came of that goes too."""
        try:
            self._store.read(loop_id)
        except NotFoundError:
            await self._sandboxes.remove(loop_id)
            raise
        except UnreadableRecordError:
            return

    async def _stop_if_archived(self, loop_id: str) -> None:
        """Somebody archived the loop while its sandbox was started."""
        record = self._store.read(loop_id)
        if record.archived:
            await self._sandboxes.stop(loop_id)
            raise archived(record)

    def _announce_end(self, loop_id: str) -> None:
        stamp = self._sandboxes.state_files(loop_id).running()
        used = in_use({stamp.pid: self._store.workspace.run(loop_id)}) if stamp else {}
        if used:
            (counts,) = used.values()
            message = f"The sandbox is being recreated. This ends {in_words(counts)}; kernels of notebooks start again."
            _log.warning("Loop %s: %s", loop_id, message)
            self._on_event(LoopEvent(action="warning", loop_id=loop_id, message=message))
