"""`LoopManager`: the verbs that a person knows. REST, the command line, kernels and terminals all call these."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import logging
import os
from typing import TYPE_CHECKING, Any

from loopat_jupyter.cargo import Cargo
from loopat_jupyter.creation import Creation
from loopat_jupyter.deadlines import to_the_end
from loopat_jupyter.errors import BadInputError, ConflictError, LoopatError, UnreadableRecordError
from loopat_jupyter.kernelspecs import LoopKernels, Registry
from loopat_jupyter.listing import DEFAULT_PAGE, Listing
from loopat_jupyter.losses import find_losses
from loopat_jupyter.models import LoopConfig, LoopEvent, Progress
from loopat_jupyter.repos.git import Git
from loopat_jupyter.sandbox.asking import Answered, ask
from loopat_jupyter.sandbox.execution import NotRunError, run_attached
from loopat_jupyter.sandbox.glance import Glance
from loopat_jupyter.sandbox.host import Advice, look_at_host
from loopat_jupyter.sandbox.images import Images
from loopat_jupyter.sandbox.lifecycle import Running, Sandboxes
from loopat_jupyter.sandbox.podman import Engine, Podman
from loopat_jupyter.sandbox.preflight import check_health
from loopat_jupyter.sandbox.specs import KernelspecFinder
from loopat_jupyter.sandbox.toolchain import Toolchains
from loopat_jupyter.sharing.edge import Edge
from loopat_jupyter.starting import Starter, Underway, archived
from loopat_jupyter.upkeep import Upkeep
from loopat_jupyter.vaults import Vaults
from loopat_jupyter.workspace.acceptable import CHECKS
from loopat_jupyter.workspace.config import Config, load_config
from loopat_jupyter.workspace.fixed import amended, check_first_choices
from loopat_jupyter.workspace.member import find_member, prepare_for
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.records import LoopStore, new_record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from loopat_jupyter.models import ExecSpec, Health, Kernelspec, Loop, LoopPage, LoopRecord, NewLoop, Status
    from loopat_jupyter.sandbox.execution import ExecEvent

_log = logging.getLogger(__name__)


def ignore(_: object) -> None:
    """For callers that do not follow progress or events."""


class LoopManager:
    """Loops of one workspace.

    Args:
        workspace: Where the loops are.
        config: The workspace's settings.
        engine: Runs podman.
        member: Who works here: recorded as creator of new loops.
        on_event: Told about everything that happens to a loop through this manager.
        registry: Where the kernels of loops are offered to other Jupyter clients; None offers them to nobody.
        git: Runs git; None runs it in this process's environment.
    """

    def __init__(
        self,
        workspace: Workspace,
        config: Config,
        engine: Engine,
        *,
        member: str,
        on_event: Callable[[LoopEvent], None] = ignore,
        registry: Registry | None = None,
        git: Git | None = None,
    ) -> None:
        self.workspace = workspace
        self.config = config
        self.engine = engine
        self.member = member
        self.store = LoopStore(workspace)
        host = look_at_host(config)
        self.images = Images(workspace, engine, config)
        self.toolchains = Toolchains(workspace, engine, self.images, lambda event: self.on_event(event))  # noqa: PLW0108 - it changes
        self.sandboxes = Sandboxes(workspace, config, engine, self.toolchains, host)
        self.vaults = Vaults(self.sandboxes, self.store, member)
        self.cargo = Cargo(self.store, config, git or Git(os.environ), member=member, plugins=host.plugins)
        self._creation = Creation(self.store, (self.vaults, *self.cargo.steps))
        glance, advice = Glance(engine, workspace.name), Advice(config, host, self.toolchains)
        self._listing = Listing(workspace, self.store, self.sandboxes, glance, advice)
        finder = KernelspecFinder(workspace, engine)
        self.kernels = LoopKernels(finder, registry, workspace.home, self.toolchains.hint)
        self.on_event = on_event
        self.underway = Underway()
        self.edge = Edge(self.store, config, engine, lambda event: self.on_event(event))  # noqa: PLW0108 - it changes

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        *,
        member: str | None = None,
        on_event: Callable[[LoopEvent], None] = ignore,
        load: Callable[..., Config] = load_config,
    ) -> LoopManager:
        """A manager of the workspace that the environment names.

        Args:
            environ: Usually `os.environ`.
            member: Who works here; by default the Hub's user, else as `find_member` says.
            on_event: Told about everything that happens.
            load: Reads the configuration.

        Raises:
            BadInputError: The configuration is wrong.
        """
        workspace = Workspace.from_environment(environ)
        config = load(workspace.config_file, environ)
        engine = Podman(config.podman_bin, environ, parallel=config.podman_parallel)
        who = find_member(workspace, member or environ.get("JUPYTERHUB_USER"))
        return cls(workspace, config, engine, member=who, on_event=on_event, registry=Registry.of_user())

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
        running = self.sandboxes.known(record)
        if running is None:
            return await self.start(record, on_progress)
        self.store.touch(record.id)
        return running

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
        running = self.sandboxes.known(record) or await self.sandboxes.ensure(record, ignore)
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
