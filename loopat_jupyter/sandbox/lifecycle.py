"""`Sandboxes`: makes the container of a loop what it should be, and says what it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from loopat_jupyter.deadlines import in_thread
from loopat_jupyter.errors import EngineTimeoutError
from loopat_jupyter.models import ContainerFacts, InUse, Progress, Status
from loopat_jupyter.sandbox.builders import noted_image
from loopat_jupyter.sandbox.containers import Containers
from loopat_jupyter.sandbox.drift import decide, drifted, replaced
from loopat_jupyter.sandbox.failures import ended_at_once
from loopat_jupyter.sandbox.judging import judged
from loopat_jupyter.sandbox.machine import noexec_mount
from loopat_jupyter.sandbox.making import Maker
from loopat_jupyter.sandbox.mounting import Extras
from loopat_jupyter.sandbox.plan import HostFacts, config_hash, plan_sandbox
from loopat_jupyter.sandbox.process import exec_roots, is_init
from loopat_jupyter.sandbox.runtime import RuntimeFolders, cut_off, paused, refuse_busy
from loopat_jupyter.sandbox.state import Stamp, StateFiles
from loopat_jupyter.sandbox.template import is_toolchain
from loopat_jupyter.sandbox.usage import in_use, usage
from loopat_jupyter.workspace.fixed import bound
from loopat_jupyter.workspace.locks import loop_lock
from loopat_jupyter.workspace.unmade import forget_unmade, is_unmade

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Iterable, Mapping

    from loopat_jupyter.models import LoopRecord, SandboxSpec, Usage
    from loopat_jupyter.sandbox.images import ImageSource
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.paths import Workspace

LOCK_TIMEOUT_S = 120.0
"""Longer than the slowest single change of a container: a first create copies the image with shifted owners."""

_ATTEMPTS = 3


class Running(NamedTuple):
    """A sandbox that runs.

    Attributes:
        name: Container name.
        init_pid: Its init process on the host.
        image_id: The image it was made from.
        restart_needed: It runs with outdated settings, because replacing it would end somebody's work.
        replaced: What to tell, if it was just recreated without anybody asking for it.
    """

    name: str
    init_pid: int
    image_id: str
    restart_needed: bool
    replaced: str = ""


class Sandboxes:
    """The containers of one workspace.

    Safe to use from any number of threads and processes: every change of one loop's container happens under a
    file lock of that loop.

    Args:
        workspace: Where the loops are.
        config: The workspace's settings.
        engine: Runs podman.
        images: Finds and builds images.
        host: What the host offers.
    """

    def __init__(
        self, workspace: Workspace, config: Config, engine: Engine, images: ImageSource, host: HostFacts
    ) -> None:
        self._workspace = workspace
        self._config = config
        self._engine = engine
        self._images = images
        self._host = host
        self._maker = Maker(workspace, engine, host)
        self._containers = Containers(workspace, engine, self._maker)
        self.folders = RuntimeFolders(workspace, engine)
        self.extras = Extras(workspace, config)

    def plan(self, record: LoopRecord) -> SandboxSpec:
        """The container that a loop should have now."""
        mounts = self.extras.find(record).mounts
        return plan_sandbox(bound(record, self._config), self._config, self._workspace, self._host, mounts)

    def state_files(self, loop_id: str) -> StateFiles:
        """The runtime notes about one loop."""
        return StateFiles(self._workspace.host(loop_id))

    async def ensure(
        self,
        record: LoopRecord,
        on_progress: Callable[[Progress], None],
        *,
        fresh: bool = False,
        before_end: Callable[[], None] = lambda: None,
    ) -> Running:
        """Make the loop's sandbox run, whatever state it is in. Idempotent.

        Args:
            record: The loop.
            on_progress: Told about long work: image build, create, start.
            fresh: Replace the container even if it is as wanted, ending what runs in it.
            before_end: Called right before the present container is replaced.

        Raises:
            UnsafePathError: Something was put in the place of what it mounts.
            ConflictError: Its runtime folder was wiped, and replacing it would end somebody's work.
            EngineError: Podman refused.
            EngineTimeoutError: Podman or another process took too long.
            EngineUnavailableError: There is no usable podman.
            ImageBuildError: The image could not be built.
            StorageFullError: No space.
        """
        spec = self.plan(record)
        self._workspace.prepare()
        for _ in range(_ATTEMPTS):
            began_s, reference = time.monotonic(), self._images.reference(record)
            async with self.lock(record.id):
                if not fresh and (running := self._made_since(record, began_s)) is not None:
                    return running
                forget_unmade(self._workspace, record.id)
                self.folders.make(record.id)
                facts, image_id = await self._containers.look(record.id, reference)
                decision = "replace" if fresh and facts else self._decide(facts, spec, reference, image_id)
                if image_id is None and is_toolchain(reference):
                    decision = "build"
                if facts is not None and facts.paused and not fresh:
                    raise paused(record.title, spec.name)
                if facts is not None and decision in ("nothing", "restart-needed"):
                    if not self.folders.connected(record.id, facts.pid):
                        raise cut_off(record.id)
                    return self._note(record.id, facts, reference, restart_needed=decision == "restart-needed")
                await in_thread(self.extras.make_ready, spec)
                if decision == "start" and facts is not None and await self._start(spec, on_progress):
                    return self._started(record.id, spec, facts.image_id, reference)
                if image_id is not None and self._images.is_ready(reference, image_id):
                    on_progress(Progress(label="starting the sandbox"))
                    if facts is not None:
                        before_end()
                        await self._containers.remove(record.id, replaced=True)
                    await self.folders.clear_run(record.id)
                    await self._create(spec, reference, image_id)
                    started = self._started(record.id, spec, image_id, reference)
                    return started._replace(replaced="" if fresh else replaced(facts, config_hash(spec), image_id))
            # Builds take minutes, so they happen outside the loop's lock, under the lock of the image's tag.
            with self.state_files(record.id).building(lambda: self._noted_image(record)):
                await self._images.ensure(record, on_progress)
        raise EngineTimeoutError(
            f"The image of the sandbox vanished again and again while loop {record.id} was starting. "
            "Look for something that prunes images, then try again."
        )

    def _made_since(self, record: LoopRecord, began_s: float) -> Running | None:
        """The sandbox, if somebody else asked podman about it, or made it, while one waited to do the same."""
        stamp = self.state_files(record.id).running()
        if stamp is None or stamp.used_at_s < began_s or stamp.restart_needed:
            return None
        return self.known(record)

    def known(self, record: LoopRecord) -> Running | None:
        """The sandbox, if it is known without asking podman to run just as wanted; marks it as used.

        What a note says counts only while the very process it names is alive, and only for the image's name and the
        settings of now; that a build gave the name to another image is noticed by `ensure`.

        Args:
            record: The loop.
        """
        files = self.state_files(record.id)
        stamp, reference = files.running(), self._images.reference(record)
        if (
            record.archived
            or stamp is None
            or stamp.restart_needed
            or stamp.config_hash != config_hash(self.plan(record))
            or stamp.reference != reference
            or not self.folders.connected(record.id, stamp.pid)
        ):
            return None
        files.seen(stamp, in_use=True)
        return Running(stamp.name, stamp.pid, stamp.image_id, restart_needed=False)

    def _decide(self, facts: ContainerFacts | None, spec: SandboxSpec, reference: str, image_id: str | None) -> str:
        active = facts is not None and facts.alive and bool(exec_roots(facts.pid))
        decision = decide(facts, config_hash(spec), reference, image_id, active=active)
        if facts is None or decision != "nothing" or active:
            return decision
        return "nothing" if self.folders.connected(spec.loop_id, facts.pid) else "replace"

    async def stop(self, loop_id: str) -> None:
        """Stop a sandbox; files stay. Nothing happens when it does not run.

        Raises:
            EngineError: Podman refused, or it could not be ended.
            EngineTimeoutError: Podman or another process took too long.
        """
        async with self.lock(loop_id):
            await self._stop(loop_id)

    async def stop_if(self, loop_id: str, still_wanted: Callable[[], bool]) -> bool:
        """Stop a sandbox if the reason still holds once nobody else is busy with it.

        Args:
            loop_id: The loop.
            still_wanted: Asked under the loop's lock.

        Returns:
            Whether it was stopped.
        """
        async with self.lock(loop_id):
            if not still_wanted():
                return False
            await self._stop(loop_id)
            return True

    async def _stop(self, loop_id: str) -> None:
        if not is_unmade(self._workspace, loop_id):
            await self._containers.stop(loop_id)

    async def remove(self, loop_id: str, *, force: bool = True, title: str = "") -> None:
        """Remove a sandbox with its processes and anonymous volumes. Nothing happens when there is none.

        Args:
            loop_id: The loop.
            force: Remove it even if somebody's kernel, terminal or command runs in it.
            title: What the loop is called where that is refused; by default its id.

        Raises:
            ConflictError: Something runs in it, and `force` was not given.
            EngineError: Podman refused.
        """
        async with self.lock(loop_id):
            if not force:
                await self.refuse_busy(loop_id, title)
            if not is_unmade(self._workspace, loop_id):
                await self._containers.remove(loop_id)
            await self.folders.remove(self._workspace.host(loop_id).parent)

    async def refuse_busy(self, loop_id: str, title: str) -> None:
        """Refuse what would end somebody's kernel, terminal or command in a sandbox.

        Args:
            loop_id: The loop.
            title: What it is called; empty names its id.

        Raises:
            ConflictError: Something runs in it.
            EngineError: Podman refused.
        """
        if is_unmade(self._workspace, loop_id):
            return
        # Where no note names a living process, podman is asked: a wiped note must not hide somebody's work.
        stamp = self.state_files(loop_id).running()
        facts = stamp.facts if stamp is not None else (await self._containers.look(loop_id))[0]
        refuse_busy(title or loop_id, facts, self._workspace.run(loop_id))

    async def containers(self) -> dict[str, ContainerFacts]:
        """All containers of this workspace, by loop id; one podman call."""
        return await self._containers.all()

    async def corrected(
        self, listed: Mapping[str, ContainerFacts], loop_ids: Iterable[str]
    ) -> Mapping[str, ContainerFacts]:
        """Containers as they are; see `Containers.corrected`."""
        return await self._containers.corrected(listed, loop_ids)

    async def status(self, record: LoopRecord) -> Status:
        """The state of one sandbox, from what podman says and from the processes that are really there."""
        if is_unmade(self._workspace, record.id):
            return self.judge(record, None, None)
        facts, image_id = await self._containers.look(record.id, self._images.reference(record))
        found = self.in_use({record.id: facts}) if facts is not None else {}
        return self.judge(record, facts, image_id, found.get(record.id))

    def status_once_started(self, record: LoopRecord) -> Status | None:
        """The state of a sandbox that was started just now. Asks no podman.

        Args:
            record: The loop.

        Returns:
            The state; None when it does not run any more, or should run another image by now.
        """
        stamp = self.state_files(record.id).running()
        if stamp is None or stamp.reference != self._images.reference(record):
            return None
        found = self.in_use({record.id: stamp.facts})
        status = self.judge(record, stamp.facts, None, found.get(record.id))
        return msgspec.structs.replace(status, restart_needed=status.restart_needed or stamp.restart_needed)

    def in_use(self, containers: Mapping[str, ContainerFacts]) -> dict[str, InUse]:
        """What runs in sandboxes, by loop id; those in which nothing runs are left out.

        Args:
            containers: Some of the workspace's containers, by loop id.
        """
        alive = {facts.pid: loop_id for loop_id, facts in containers.items() if facts.alive}
        found = in_use({pid: self._workspace.run(loop_id) for pid, loop_id in alive.items()})
        return {alive[pid]: counts for pid, counts in found.items()}

    def usage(self, loop_id: str) -> Usage | None:
        """What a sandbox takes of the machine; None when it does not run. Asks no podman.

        Args:
            loop_id: The loop.
        """
        stamp = self.state_files(loop_id).running()
        return None if stamp is None else usage(stamp.pid)

    def judge(
        self, record: LoopRecord, facts: ContainerFacts | None, image_id: str | None, used: InUse | None = None
    ) -> Status:
        """The state that facts amount to.

        Args:
            record: The loop.
            facts: Its container; None when there is none.
            image_id: The image it should run; None when not known.
            used: What runs in it.
        """
        files = self.state_files(record.id)
        outdated = facts is not None and drifted(
            facts, config_hash(self.plan(record)), self._images.reference(record), image_id
        )
        return judged(
            record.title,
            facts,
            progress=files.progress(),
            failed=files.failed_build(lambda: self._noted_image(record)),
            outdated=outdated,
            used=used or InUse(),
        )

    def _noted_image(self, record: LoopRecord) -> str:
        return noted_image(self._workspace, self._images.reference(record))

    def lock(self, loop_id: str) -> contextlib.AbstractAsyncContextManager[None]:
        """The lock under which everything about one loop changes, across processes."""
        return loop_lock(self._workspace, loop_id, timeout_s=LOCK_TIMEOUT_S)

    async def _start(self, spec: SandboxSpec, on_progress: Callable[[Progress], None]) -> bool:
        on_progress(Progress(label="starting the sandbox"))
        await self.folders.clear_run(spec.loop_id)
        return await self._maker.start(spec)

    async def _create(self, spec: SandboxSpec, reference: str, image_id: str) -> None:
        try:
            await self._maker.create(spec, reference, self.state_files(spec.loop_id).pidfile)
        except EngineTimeoutError:
            # An image that went and came back is copied once more.
            self._images.forget_ready(image_id)
            raise

    def _started(self, loop_id: str, spec: SandboxSpec, image_id: str, reference: str) -> Running:
        pid = self.state_files(loop_id).read_pidfile()
        if pid is None or not is_init(pid):
            home, helpers = self._workspace.home, self._workspace.helpers
            raise ended_at_once(loop_id, spec.name, str(home), noexec_mount(helpers))
        facts = ContainerFacts(
            id="",
            name=spec.name,
            loop_id=loop_id,
            config_hash=config_hash(spec),
            image_id=image_id,
            reference=reference,
            running=True,
            pid=pid,
            alive=True,
        )
        return self._note(loop_id, facts, reference, restart_needed=False)

    def _note(self, loop_id: str, facts: ContainerFacts, reference: str, *, restart_needed: bool) -> Running:
        self.state_files(loop_id).stamp(Stamp.of(loop_id, facts, reference, restart_needed=restart_needed))
        return Running(facts.name, facts.pid, facts.image_id, restart_needed)

    def adopt(self, record: LoopRecord, facts: ContainerFacts) -> None:
        """Note a container that runs without a note, as after the runtime directory was wiped."""
        files, stamp = self.state_files(record.id), Stamp.of(record.id, facts, self._images.reference(record))
        # Somebody may have stopped it since it was listed, or be about to.
        if stamp.alive and not files.stamped() and not files.stopped_on_purpose():
            files.stamp(stamp)
