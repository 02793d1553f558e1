"""`LoopMappingKernelManager`: the server's kernels, which also find the folders of the drive of loops."""

from __future__ import annotations

import asyncio
import functools
import os
from pathlib import Path
from typing import Any

from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_core.utils import ensure_async
from jupyter_server.prometheus.metrics import KERNEL_CURRENTLY_RUNNING_TOTAL
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from jupyter_server.utils import ApiPath, to_os_path
from tornado.ioloop import IOLoop
from tornado.web import HTTPError

from loopat_jupyter.contents.drive import Drive, in_drive, names_loop
from loopat_jupyter.deadlines import call_off, deadline
from loopat_jupyter.errors import BadInputError, ConflictError, NotFoundError
from loopat_jupyter.kernels.counts import count_by_inner_name
from loopat_jupyter.kernels.failure import KernelNotStarted
from loopat_jupyter.kernels.keeping import KernelKeeper
from loopat_jupyter.kernelspecs import PROVISIONER
from loopat_jupyter.wording import going_on
from loopat_jupyter.workspace.paths import Workspace

SETTLE_TIMEOUT_S = 120.0
"""How long an end waits for a restart that is under way: as long as one change of a sandbox may take."""


class LoopMappingKernelManager(AsyncMappingKernelManager):
    """The stock manager; a path of the drive is a folder of its loop, and kernels in loops may outlive it."""

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - the stock signature
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        count_by_inner_name()

    @functools.cached_property
    def keeper(self) -> KernelKeeper:
        """Who writes down the kernels of loops, and finds them again."""
        return KernelKeeper(self)

    @functools.cached_property
    def _starting(self) -> set[str]:
        """Kernels whose start is under way; with `use_pending_kernels` they are among the others already."""
        return set()

    @functools.cached_property
    def _called_off(self) -> set[str]:
        """Kernels whose start was called off, because the server ends."""
        return set()

    @functools.cached_property
    def _drive(self) -> Drive | None:
        try:
            return Drive(Workspace.from_environment(os.environ))
        except BadInputError as error:
            self.log.warning("%s Until then there are no loops.", error.message)
            return None

    async def _start_inside(self, *, kernel_id: str | None = None, path: str | None = None, **kwargs: Any) -> str:  # noqa: ANN401
        """As stock, and nothing starts in the folder of a loop that would run on the host there.

        Args:
            kernel_id: The id that it gets; by default a new one.
            path: Path of its notebook or folder, as the front end names it.
            kwargs: As the stock manager takes them.

        Raises:
            KernelNotStarted: A kernel of this name does not run inside, or there is no such loop any more.
        """
        if kernel_id is None or kernel_id not in self:
            if path is not None:
                kwargs["cwd"] = self.cwd_for_path(path, env=kwargs.get("env") or {})
            await self._refuse_outside(kwargs.get("kernel_name"), kwargs.get("cwd"))
        started: str = await super()._async_start_kernel(kernel_id=kernel_id, **kwargs)
        return started

    start_kernel: Any = _start_inside

    async def _refuse_outside(self, kernel_name: str | None, cwd: str | None) -> None:
        """Refuse a kernel that another provisioner than ours would start in a loop: what lies there would run outside.

        Args:
            kernel_name: Its kernelspec; by default the server's.
            cwd: The folder that it would start in; by default the server's own.

        Raises:
            KernelNotStarted: It is such a kernel.
        """
        loop_id = self._loop_at(cwd)
        if loop_id is None:
            return
        name = kernel_name or self.default_kernel_name
        specs: Any = self.kernel_spec_manager
        spec = await ensure_async(specs.get_kernel_spec(name))
        own = (spec.metadata.get("kernel_provisioner") or {}).get("provisioner_name")
        provisioner = own or KernelProvisionerFactory.instance(parent=self).default_provisioner_name
        if provisioner != PROVISIONER:
            to_do = (
                "Choose another kernel for this notebook."
                if own
                else f"Set KernelProvisionerFactory.default_provisioner_name to {PROVISIONER} for this server."
            )
            raise KernelNotStarted(
                ConflictError(
                    f"{spec.display_name} was not started, because the kernel provisioner {provisioner} would run it "
                    f"outside of loop {loop_id}. {to_do}"
                )
            )

    def _loop_at(self, cwd: str | None) -> str | None:
        """The loop that a folder belongs to, is in, or goes through as it is written."""
        if self._drive is None:
            return None
        try:
            seen = self._drive.workspace.whereabouts(Path(cwd or Path.cwd()))
        except FileNotFoundError:
            # This process runs in a folder that was deleted: it is in no loop any more.
            return None
        return seen.found[0] if seen.found is not None else seen.crossed or seen.beside

    async def _add_kernel_when_ready(self, kernel_id: str, km: Any, kernel_awaitable: Any) -> None:  # noqa: ANN401
        """As stock, and a kernel that did not start is not waited for any more: the server could not end.

        Raises:
            KernelNotStarted: The start was called off, because the server is stopping.
        """
        self._starting.add(kernel_id)
        try:
            await super()._add_kernel_when_ready(kernel_id, km, kernel_awaitable)
        except asyncio.CancelledError:
            # Whoever asked for a pending kernel has had an answer, and nobody would look at this one.
            if kernel_id not in self._called_off or self._using_pending_kernels():
                raise
            why = "The kernel was not started, because the server is stopping. Start it again later."
            raise KernelNotStarted(ConflictError(why)) from None
        finally:
            self._starting.discard(kernel_id)
        if kernel_id not in self._kernels:
            self._pending_kernels.pop(kernel_id, None)

    def _handle_kernel_died(self, kernel_id: str) -> None:
        """As stock, and what the kernel leaves is removed: nobody asks for its end any more."""
        km: Any = self._kernels.get(kernel_id)
        if km is not None and (stream := getattr(km, "_activity_stream", None)) is not None:
            # Else the server would try to connect to it for as long as it runs.
            if not stream.closed():
                stream.close(linger=0)
            km._activity_stream = None  # noqa: SLF001 - the stock manager looks there
        super()._handle_kernel_died(kernel_id)  # type: ignore[no-untyped-call]
        self.keeper.ended(kernel_id)
        if km is not None:
            IOLoop.current().add_callback(km.cleanup_resources)

    async def _async_shutdown_kernel(self, kernel_id: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """As stock, and a restart that is under way ends first: stock fails then, and the kernel would stay.

        Args:
            kernel_id: The kernel.
            args: As the stock manager takes them.
            kwargs: As the stock manager takes them.
        """
        self._check_kernel_id(kernel_id)  # type: ignore[no-untyped-call]
        km: Any = self.get_kernel(kernel_id)
        km.stop_restarter()
        self._ending.add(kernel_id)
        try:
            if not await self._settled(kernel_id, self._restarts.get(kernel_id)):
                self.log.warning("Kernel %s has been restarting for long, and is not waited for any more", kernel_id)
            if kernel_id in self:
                await super()._async_shutdown_kernel(kernel_id, *args, **kwargs)  # type: ignore[no-untyped-call]
        finally:
            self._ending.discard(kernel_id)

    shutdown_kernel: Any = _async_shutdown_kernel

    async def _settled(self, kernel_id: str, restart: asyncio.Future[Any] | None = None) -> bool:
        """Whether nobody restarts, starts or ends a kernel any more, after a wait for whoever does."""
        km: Any = self.get_kernel(kernel_id)
        try:
            async with deadline(SETTLE_TIMEOUT_S):
                if restart is not None:
                    await asyncio.wait([restart])
                while kernel_id in self and not km.ready.done():
                    await asyncio.wait([km.ready])
        except TimeoutError:
            return False
        return True

    @functools.cached_property
    def _ending(self) -> set[str]:
        """Kernels whose end is under way: no restart of them begins any more."""
        return set()

    @functools.cached_property
    def _restarts(self) -> dict[str, asyncio.Future[Any]]:
        """Restarts that are under way."""
        return {}

    async def _restart_once(self, kernel_id: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """As stock, and who asks during a restart shares it, with its arguments: of two at once stock loses a process.

        Args:
            kernel_id: The kernel.
            args: As the stock manager takes them.
            kwargs: As the stock manager takes them.

        Raises:
            HTTPError: The kernel is being shut down, or has been starting for too long.
        """
        self._check_kernel_id(kernel_id)  # type: ignore[no-untyped-call]
        restart = self._restarts.get(kernel_id)
        if restart is None:
            restart = self._restarts[kernel_id] = asyncio.ensure_future(self._restart(kernel_id, *args, **kwargs))
            restart.add_done_callback(functools.partial(self._restarted, kernel_id))
        return await asyncio.shield(restart)

    restart_kernel: Any = _restart_once

    def _restarted(self, kernel_id: str, restart: asyncio.Future[Any]) -> None:
        del self._restarts[kernel_id]
        if not restart.cancelled():
            # Whoever waited for it may have given up; asyncio would complain of a failure that nobody saw.
            restart.exception()

    async def _restart(self, kernel_id: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        km: Any = self.get_kernel(kernel_id)
        # It may just be restarted because it died.
        settled = await self._settled(kernel_id)
        if kernel_id in self._ending:
            raise HTTPError(409, "Kernel %s is being shut down.", kernel_id)
        if not settled:
            raise HTTPError(409, "Kernel %s is still being started. Try again once it has.", kernel_id)
        if getattr(km, "reason", ""):
            # Why it did not start before; stock would tell that of the new one, too.
            km.execution_state, km.reason = "starting", ""
        try:
            return await super().restart_kernel(kernel_id, *args, **kwargs)  # type: ignore[no-untyped-call]
        except KernelNotStarted:
            # Its process has ended for the restart, and stock would list it for ever.
            await km.provisioner.give_up()
            if kernel_id in self:
                self._handle_kernel_died(kernel_id)
            raise

    async def _async_shutdown_all(self, now: bool = False) -> None:  # noqa: FBT001, FBT002 - the stock signature
        """The server ends: kernels of loops stay where the configuration says so, all others end.

        Args:
            now: As the stock manager takes it.
        """
        self._ending.update(self.list_kernel_ids())
        if self._restarts:
            await asyncio.wait(self._restarts.values(), timeout=SETTLE_TIMEOUT_S)
        staying = [kernel_id for kernel_id in self.list_kernel_ids() if self.keeper.may_stay(kernel_id)]
        left = [await self._leave(kernel_id) for kernel_id in staying].count(True)
        if left:
            self.log.info("%s", going_on(left, "kernel"))
        await self._call_off_starts()
        await super()._async_shutdown_all(now=now)

    shutdown_all: Any = _async_shutdown_all

    def interrupt_kernel(self, kernel_id: str) -> Any:  # noqa: ANN401 - as stock
        """As stock, but no 500 for a kernel of a loop on its way: that may take as long as its sandbox does.

        Raises:
            tornado.web.HTTPError: It is only just starting.
        """
        if kernel_id in self.keeper and not self.get_kernel(kernel_id).ready.done():
            raise HTTPError(409, "The kernel is starting. There is nothing to interrupt yet.")
        return super().interrupt_kernel(kernel_id)

    async def _call_off_starts(self) -> None:
        """End the starts that are under way: stock shuts down what nobody knows yet, fails, and does not end."""
        starts = {
            name: task
            for name, task in self._pending_kernels.items()
            if name not in self._kernels or name in self._starting
        }
        waiting = [self._pending_kernel_tasks.pop(name) for name in starts.keys() & self._pending_kernel_tasks.keys()]
        self._called_off.update(starts)
        await call_off((*starts.values(), *waiting))
        for kernel_id in starts:
            self._pending_kernels.pop(kernel_id, None)
            self.remove_kernel(kernel_id)

    async def _leave(self, kernel_id: str) -> bool:
        """Leave a kernel to the next server; False: it is being restarted, or has ended, and is shut down as stock."""
        km: Any = self.get_kernel(kernel_id)
        km.stop_restarter()
        if not km.ready.done() or km.ready.exception() is not None or not await km.is_alive():
            return False
        self.stop_watching_activity(kernel_id)  # type: ignore[no-untyped-call]
        self.stop_buffering(kernel_id)  # type: ignore[no-untyped-call]
        km._close_control_socket()  # noqa: SLF001 - there is no public way to it
        km.cleanup_connection_file()
        await km.provisioner.leave()
        self.keeper.let_go(kernel_id)
        self.remove_kernel(kernel_id)
        KERNEL_CURRENTLY_RUNNING_TOTAL.labels(type=km.kernel_name).dec()
        return True

    def meant_path(self, path: str) -> Path | None:
        """Where on the host a path of the drive is; None for a path elsewhere.

        Args:
            path: Path of a notebook, console or folder, as the front end names it.
        """
        return None if self._drive is None else self._drive.meant_path(path, Path(self.root_dir).expanduser())

    def _is_lost(self, path: str) -> bool:
        return self._drive is not None and self._drive.is_lost(path, Path(self.root_dir).expanduser())

    def cwd_for_path(self, path: str, **kwargs: Any) -> str:  # noqa: ANN401 - the stock signature
        """The folder of the host that a kernel starts in.

        Args:
            path: Path of a notebook or folder, as the front end names it.
            kwargs: As the stock manager takes them.

        Raises:
            KernelNotStarted: It is in the drive, and there is no such loop any more.
        """
        folder = self.meant_path(path)
        if folder is None or self._drive is None:
            if in_drive(path) is not None or self._is_lost(path):
                raise KernelNotStarted(NotFoundError(_without_loop(path)))
            found: str = super().cwd_for_path(path, **kwargs)  # type: ignore[no-untyped-call]
            # Stock goes up to a folder that is there, and out of the folder of a loop that is gone.
            meant = self._loop_at(to_os_path(ApiPath(path), self.root_dir))
            if meant is not None and self._loop_at(found) != meant:
                raise KernelNotStarted(NotFoundError(_OF_LOST_LOOP))
            return found
        # A folder that is gone, or the notebook itself: the next one above it, within the loop.
        least = len(self._drive.workspace.workdir("any").parts)
        while not os.path.isdir(folder) and len(folder.parts) > least:  # noqa: PTH112 - a name that is too long is none
            folder = folder.parent
        return str(folder)


_OF_LOST_LOOP = (
    "The loop of this notebook or console was deleted, so no kernel starts for it. "
    "What is not saved can be copied into another notebook."
)


def _without_loop(path: str) -> str:
    """What to tell who would run a notebook of the drive that is in no loop."""
    inside = in_drive(path)
    if names_loop((path if inside is None else inside).strip("/").partition("/")[0]):
        return _OF_LOST_LOOP
    return f"{path} is in no loop. The Loops panel shows all loops."
