"""`LoopManager`: the verbs that a person knows. REST, the command line, kernels and terminals all call these."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import logging
from typing import TYPE_CHECKING, Any

from loopat_jupyter.deadlines import to_the_end
from loopat_jupyter.errors import BadInputError, ConflictError, LoopatError, UnreadableRecordError
from loopat_jupyter.household import Household, ignore
from loopat_jupyter.listing import DEFAULT_PAGE
from loopat_jupyter.losses import find_losses
from loopat_jupyter.models import LoopConfig, LoopEvent, Progress
from loopat_jupyter.sandbox.asking import Answered, ask
from loopat_jupyter.sandbox.execution import NotRunError, run_attached
from loopat_jupyter.sandbox.preflight import check_health
from loopat_jupyter.starting import Starter, archived
from loopat_jupyter.upkeep import Upkeep
from loopat_jupyter.workspace.acceptable import CHECKS
from loopat_jupyter.workspace.fixed import amended, check_first_choices
from loopat_jupyter.workspace.member import prepare_for
from loopat_jupyter.workspace.records import new_record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from loopat_jupyter.models import ExecSpec, Health, Kernelspec, Loop, LoopPage, LoopRecord, NewLoop, Status
    from loopat_jupyter.sandbox.execution import ExecEvent
    from loopat_jupyter.sandbox.lifecycle import Running

_log = logging.getLogger(__name__)


class LoopManager(Household):
    """Loops of one workspace."""

    @property
    def upkeep(self) -> Upkeep:
        """What keeps the workspace in order, with nobody asking for one loop in particular."""
        return Upkeep(self)

    async def health(self, *, noted: bool = False) -> Health:
        """Whether the machine offers what loops need; `noted`: as far as podman said so before."""
        return await check_health(self.engine, self.workspace, self.config, noted=noted)

    async def make(self, new: NewLoop, on_progress: Callable[[Progress], None] = ignore) -> LoopRecord:
        """Make a loop with what it carries. Its sandbox is made at the first use.

        What cannot be had, such as a repo that is out of reach, becomes a warning of a loop that is usable.

        Args:
            new: What is asked for.
            on_progress: Told about long work, such as a first clone.

        Raises:
            BadInputError: A value is not acceptable; nothing was made.
            StorageFullError: No space; nothing was made.
        """
        record = self._new_record(new.title, new.image, new.config, new.metadata)
        await asyncio.to_thread(self._creation.check, new)
        prepare_for(self.workspace, self.member)
        record = await self._creation.make(new, record, on_progress)
        return self._made(record)

    def create(
        self,
        *,
        title: str,
        image: str | None = None,
        config: LoopConfig | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> LoopRecord:
        """Make an empty loop at once. Its sandbox is made at the first use.

        Raises:
            BadInputError: A value is not acceptable; nothing was made.
            StorageFullError: No space; nothing was made.
        """
        record = self._new_record(title, image, config, metadata)
        prepare_for(self.workspace, self.member)
        self.store.create(record)
        return self._made(record)

    def _new_record(
        self, title: str, image: str | None, config: LoopConfig | None, metadata: dict[str, Any] | None
    ) -> LoopRecord:
        check_first_choices(config or LoopConfig(), image, self.config)
        now = datetime.datetime.now(datetime.UTC)
        return new_record(title=title, created_by=self.member, now=now, image=image, config=config, metadata=metadata)

    def _made(self, record: LoopRecord) -> LoopRecord:
        self.kernels.offer_known(record)
        self.on_event(LoopEvent(action="created", loop_id=record.id, state="absent"))
        return record

    async def update(self, loop_id: str, changes: Mapping[str, Any]) -> LoopRecord:
        """Change title, image, vault, metadata or settings of a loop. Its slug stays: kernels are named after it.

        A sandbox that runs with other settings is marked "recreate needed", never replaced behind anybody's back. That
        of a loop that becomes archived is stopped.

        Args:
            loop_id: The loop.
            changes: New values by field. `config` may be an `Amend`: a function of the present settings.

        Raises:
            BadInputError: A value is not acceptable; nothing was changed.
            NotFoundError: There is no such loop.
        """
        checks = {**CHECKS, "config": lambda config: config, "vault": self.vaults.check_choice}
        if unknown := changes.keys() - checks:
            raise BadInputError(min(unknown), "cannot be changed")
        checked = {field: checks[field](value) for field, value in changes.items()}
        # What may not be is refused before anybody waits for the lock.
        amended(self.store.read(loop_id), checked, self.config)
        # Read again under the lock, so that two who change different things at once both succeed.
        async with self.sandboxes.lock(loop_id):
            changed = amended(self.store.read(loop_id), checked, self.config)
            self.store.write(changed)
        self.kernels.offer_known(changed)
        self.on_event(LoopEvent(action="updated", loop_id=loop_id))
        # Only now: whoever starts it meanwhile sees that it is archived, or is stopped here.
        await (self.stop(changed) if checked.get("archived") else self.edge.follow(loop_id))
        return changed

    async def get(self, loop_id: str, *, started: bool = False) -> Loop:
        """One loop with its state.

        Args:
            loop_id: The loop.
            started: It was started just now, so podman need not be asked for it again.

        Raises:
            NotFoundError: There is no such loop.
            UnreadableRecordError: Its record is damaged.
        """
        record = self.store.read(loop_id)
        status = self.sandboxes.status_once_started(record) if started else None
        return await asyncio.to_thread(self.describe, record, status or await self.sandboxes.status(record))

    async def page(self, *, limit: int = DEFAULT_PAGE, after: str | None = None, archived: bool = False) -> LoopPage:
        """One page of loops, newest activity first.

        Args:
            limit: How many at most.
            after: `next` of the page before.
            archived: Show the archived ones in place of the others.

        Raises:
            BadInputError: `limit` is out of range, or `after` names no loop.
        """
        return await self._listing.page(limit=limit, after=after, archived=archived)

    def describe(self, record: LoopRecord, status: Status) -> Loop:
        """A loop as it is shown. May wait for a keyring, so it is not for the event loop."""
        return self._listing.describe(record, status)

    async def start(
        self, record: LoopRecord, on_progress: Callable[[Progress], None] = ignore, *, fresh: bool = False
    ) -> Running:
        """Make the loop's sandbox run; the first time this builds the image.

        Args:
            record: The loop.
            on_progress: Told about each step, as is everybody who follows the events.
            fresh: Make a new container even if the present one is as wanted. What runs in it ends.

        Raises:
            ConflictError: The loop is archived, or the start was called off.
            EngineError: Podman refused, or the image could not be built.
            EngineTimeoutError: Podman or another process took too long.
            EngineUnavailableError: There is no usable podman.
            StorageFullError: No space.
        """
        if record.archived:
            raise archived(record)
        return await self.underway.run(record, self._start(record, on_progress, fresh=fresh))

    async def _start(self, record: LoopRecord, on_progress: Callable[[Progress], None], *, fresh: bool) -> Running:
        self.refresh()
        self.workspace.prepare()
        if fresh:
            self.toolchains.retry(record)
        await self.cargo.restore(record, on_progress)
        starter = Starter(self.store, self.sandboxes, self.on_event)
        running = await starter.start(record, on_progress, fresh=fresh)
        await self.edge.follow(record.id)
        await self.kernels.offer(record, running)
        return running

    async def use(self, record: LoopRecord, on_progress: Callable[[Progress], None] = ignore) -> Running:
        """The loop's running sandbox, for something that is about to start in it.

        Like `start`, but asks podman nothing while the sandbox is known to run just as wanted.

        Args:
            record: The loop.
            on_progress: Told about each step, if it has to be started.

        Raises:
            LoopatError: As `start`.
        """
        running = self.known(record)
        if running is None:
            return await self.start(record, on_progress)
        self.store.touch(record.id)
        return running

    def known(self, record: LoopRecord) -> Running | None:
        """The sandbox, if it is known to run just as wanted by the settings of now; see `Sandboxes.known`."""
        self.refresh()
        return self.sandboxes.known(record)

    async def stop(self, record: LoopRecord) -> None:
        """Stop the loop's sandbox; its files stay.

        Raises:
            EngineError: Podman refused.
            EngineTimeoutError: Podman or another process took too long.
        """
        try:
            await self.sandboxes.stop(record.id)
        except LoopatError as error:
            self.on_event(LoopEvent(action="failed", loop_id=record.id, message=error.message))
            raise
        await self.edge.follow(record.id)
        self.on_event(LoopEvent(action="state", loop_id=record.id, state="stopped"))

    async def delete(self, loop_id: str, *, force: bool = False, end: bool = False) -> None:
        """Delete a loop: its sandbox, then its files. Works for a damaged record too.

        Once that has begun, it goes to its end, also if the caller is called off meanwhile.

        Args:
            loop_id: The loop.
            force: Delete it even with unsaved work, or if somebody's kernel, terminal or command runs in it.
            end: Delete it even if something runs in it; unsaved work is still refused.

        Raises:
            ConflictError: There is work in it that is nowhere else, something runs in it, or a server is rooted in it.
            NotFoundError: There is no such loop.
            EngineError: Podman refused; the files are still there.
        """
        title = await self.refuse_loss(loop_id, force=force)
        # Whoever is changing it comes to the end first; only this wait may take long.
        async with self.sandboxes.lock(loop_id):
            pass
        await to_the_end(self._remove(loop_id, title, force=force or end))

    async def _remove(self, loop_id: str, title: str, *, force: bool) -> None:
        await self.sandboxes.remove(loop_id, force=force, title=title)
        self.kernels.withdraw(loop_id)
        left = self.store.put_away(loop_id)
        await self.edge.follow(loop_id)
        async with self.sandboxes.lock(loop_id):
            await self.sandboxes.folders.remove(left)
        self.on_event(LoopEvent(action="deleted", loop_id=loop_id))

    async def refuse_loss(self, loop_id: str, *, force: bool = False) -> str:
        """A loop's title, if any; refuses what `delete` would, except for what runs in it: see `losses.find_losses`."""
        try:
            record = self.store.read(loop_id)
        except UnreadableRecordError as error:
            _log.warning("Nobody can tell what is lost with this loop. %s", error.message)
            return ""
        opened = functools.partial(self.opened, record)
        if not force and (lost := await find_losses(self.workspace, record, opened)):
            to_do = "Commit and push it, or promote it, or force it (`--force`)."
            raise ConflictError(f"What is only in it would be lost: {lost}. {to_do}")
        return record.title

    async def opened(self, record: LoopRecord) -> Callable[..., Awaitable[Answered]]:
        """`inside` for a loop whose sandbox may have to be started first; that does not count as use of it."""
        running = self.known(record) or await self.sandboxes.ensure(record, ignore)
        return self.inside(record, running)

    def inside(self, record: LoopRecord, running: Running) -> Callable[..., Awaitable[Answered]]:
        """Runs short commands in a running sandbox; see `loopat_jupyter.sandbox.asking.ask`."""
        return functools.partial(ask, self.engine, running, self.workspace.run(record.id))

    async def exec(
        self, record: LoopRecord, spec: ExecSpec, *, stdin: bytes = b"", timeout_s: float | None = None
    ) -> AsyncGenerator[ExecEvent, None]:
        """Run a command in the loop, starting its sandbox if need be.

        Args:
            record: The loop.
            spec: The command.
            stdin: Its standard input.
            timeout_s: Deadline; None for none.

        Raises:
            EngineError: Podman could not run it; its own failure is its exit code.
            TimeoutError: The deadline passed; the command was ended.
        """
        running = await self.use(record)
        spec = await self.vaults.equipped(record, spec)
        run_folder = self.workspace.run(record.id)
        for attempt in range(2):
            events = run_attached(self.engine, running, run_folder, spec, stdin=stdin, timeout_s=timeout_s)
            try:
                # Whoever leaves the iteration early waits until the command has ended.
                async with contextlib.aclosing(events):
                    async for event in events:
                        yield event
            except NotRunError:
                # The sandbox was stopped just then; nothing of the command has run.
                if attempt:
                    raise
                running = await self.start(record)
            else:
                return

    async def kernelspecs(self, record: LoopRecord) -> tuple[Kernelspec, ...]:
        """Kernels that the loop's image and home offer, starting its sandbox if need be."""
        return await self.kernels.find(record, await self.use(record))
