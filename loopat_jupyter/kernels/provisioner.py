"""`LoopatProvisioner`: starts a kernel in the loop that its folder or its kernelspec belongs to.

Everywhere else it is the stock local provisioner: each method hands over to it when there is no loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jupyter_client.multikernelmanager import MultiKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_core.utils import ensure_async
from tornado.web import HTTPError
from traitlets import Unicode

from loopat_jupyter.deadlines import deadline
from loopat_jupyter.errors import BadInputError, ConflictError
from loopat_jupyter.kernels.failure import KernelNotStarted, told
from loopat_jupyter.kernels.keeping import KernelKeeper
from loopat_jupyter.kernels.launch import Place, Ready, SandboxKernel
from loopat_jupyter.kernels.meanwhile import undisturbed
from loopat_jupyter.kernels.transports import make_keys
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import LoopEvent
from loopat_jupyter.sandbox.plan import sandbox_workdir
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.whereabouts import Whereabouts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jupyter_client.connect import KernelConnectionInfo

    from loopat_jupyter.kernels.spares import Spares


ENDED = -1
"""What `poll` answers for a kernel that ended: its exit code is known only inside."""
_SETTLE_TIMEOUT_S, _LOOK_S = 3.0, 0.1
"""A manager is done in 10 ms. One that was called off then never says so, or says it of another future."""


class LoopatProvisioner(LocalProvisioner):
    """Kernels of loops run in their sandbox, all others as ever.

    The traits come from a kernelspec that `loopat_jupyter.kernelspecs` wrote; without them the kernel's folder decides.
    """

    loop_id = Unicode("", help="The loop to run in.")
    kernel = Unicode("", help="Name of the kernel inside.")
    workspace = Unicode("", help="Folder of the loop's workspace.")

    _kernel: SandboxKernel | None = None
    _ready: Ready
    _passed: Mapping[str, str]
    _watch: asyncio.Task[None] | None = None

    @property
    def has_process(self) -> bool:
        """Whether a kernel was started and not yet waited for."""
        return super().has_process if self._kernel is None else self._kernel.process is not None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - the contract of the base class
        """Decide where the kernel runs, and get everything ready there.

        Raises:
            LoopatError: Something is in the way; the message says what to do.
        """
        with told():
            found = self._find_place(kwargs.get("cwd"))
            if found is None:
                self._kernel = None
                return await super().pre_launch(**kwargs)
            environ, place = found
            if self._kernel is None or self._kernel.place != place:
                manager, spares = self._loops(environ)
                self._kernel = SandboxKernel(manager, place, spares)
            kernel = self._kernel
            self._ready = await undisturbed(lambda _: kernel.prepare(), lambda: kernel.launchpad)
            spec = self._ready.spec
            self.kernel_spec.interrupt_mode = spec.interrupt_mode
            self._passed = self._kernel.session_env(kwargs.get("env") or {}, os.environ)
            arguments = tuple(kwargs.pop("extra_arguments", ()))
        # The sandbox gets what `_passed` holds; the host's variables end here.
        return {**kwargs, "cmd": [*spec.argv, *arguments], "env": {}, "extra_arguments": arguments}

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:  # noqa: ANN401
        """Start the kernel and return when its sockets are open.

        Raises:
            LoopatError: It did not start; the message says why.
        """
        kernel = self._kernel
        if kernel is None:
            return await super().launch_kernel(cmd, **kwargs)

        async def launch(again: bool) -> None:  # noqa: FBT001
            if again:
                self._ready = await kernel.prepare()
            async with kernel.sockets.claim(self._ready.running) as ends:
                kernel.connection_file = self._connect(ends.host, encrypt=kernel.sockets.needs_encryption)
                connection = {**self.connection_info, **ends.inside, "kernel_name": kernel.place.kernel}
                await kernel.launch(self._ready, connection, self._passed, kwargs.get("extra_arguments", ()))

        with told():
            await undisturbed(launch, lambda: kernel.launchpad)
        self.pid = kernel.process.pid if kernel.process else None
        self.cwd = kwargs.get("cwd")
        return self.connection_info

    async def post_launch(self, **kwargs: Any) -> None:  # noqa: ANN401 - the contract of the base class
        """Begin to watch, for a kernel manager that restarts kernels; write the kernel down for the next server."""
        await super().post_launch(**kwargs)
        self.watch()
        keeper = self._keeper()
        if keeper is not None and self._kernel is not None:
            keeper.started(self._km, self._kernel)
        elif keeper is not None:
            # Its folder may have been in a loop when it was started first.
            keeper.ended(self._km.kernel_id)

    def watch(self) -> None:
        """Notice the end of the kernel at once, for a kernel manager that restarts kernels."""
        if self._kernel is not None and getattr(self.parent, "_restarter", None) is not None:
            self._unwatch()
            self._watch = asyncio.ensure_future(self._watch_end(self._kernel))

    def _keeper(self) -> KernelKeeper | None:
        """Who keeps kernels for the next server; None outside a server."""
        keeper = getattr(getattr(self.parent, "parent", None), "keeper", None)
        return keeper if isinstance(keeper, KernelKeeper) else None

    async def poll(self) -> int | None:
        """None while the kernel runs. Asks no podman."""
        if self._kernel is None:
            return await super().poll()
        process = self._kernel.process
        self._kernel.trim_log()
        self._kernel.watch_stops()
        if process is not None and await process.alive():
            return None
        # Who looks before `_watch_end` has told would call it a death, and perhaps start the sandbox.
        return None if self._watch is not None and self._ended_on_purpose(self._kernel) else ENDED

    async def wait(self) -> int | None:
        """Return when the kernel has ended."""
        if self._kernel is None:
            return await super().wait()
        if self._kernel.process is not None:
            await self._kernel.process.wait()
            self._kernel.close()
        return ENDED

    async def send_signal(self, signum: int) -> None:
        """Send a signal to the kernel and what it started in the foreground: interrupting ends a subprocess too."""
        if self._kernel is None:
            await super().send_signal(signum)
        elif self._kernel.process is not None:
            await self._kernel.process.signal_group(signum)

    async def kill(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 - the contract of the base class
        """End the kernel and all its descendants at once."""
        await self._end(signal.SIGKILL) if self._kernel else await super().kill(restart=restart)

    async def terminate(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002
        """Ask the kernel and all its descendants to end."""
        await self._end(signal.SIGTERM) if self._kernel else await super().terminate(restart=restart)

    async def _end(self, signum: int) -> None:
        self._unwatch()
        if self._kernel is not None and self._kernel.process is not None:
            await self._kernel.process.signal_tree(signum)

    async def shutdown_requested(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002
        """The kernel was asked to end: that it does is no death."""
        self._unwatch()
        await super().shutdown_requested(restart=restart)

    def get_shutdown_wait_time(self, recommended: float = 5.0) -> float:
        """How long the kernel may take to end when asked to; one that was stopped would only let time pass."""
        stopped = self._kernel is not None and self._kernel.stopped
        return 0.0 if stopped else super().get_shutdown_wait_time(recommended)

    async def cleanup(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002
        """Remove the kernel's files and let go of its process."""
        if self._kernel is None:
            await super().cleanup(restart=restart)
            return
        self._unwatch()
        self._kernel.close()
        self._kernel.remove_files()
        keeper = self._keeper()
        if keeper is not None and not restart:
            keeper.ended(self._km.kernel_id)

    async def leave(self) -> None:
        """Let go of a kernel that goes on: another process will take it over."""
        watch = self._watch
        self._unwatch()
        if watch is not None:
            # The event loop may end right after this.
            await asyncio.wait([watch])
        if self._kernel is not None:
            self._kernel.close()

    def resolve_path(self, path_str: str) -> str | None:
        """A file that the kernel names, as the host sees it; None for what the host does not see."""
        if self._kernel is None:
            return super().resolve_path(path_str)
        workdir = self._kernel.manager.workspace.workdir(self._kernel.place.loop_id)
        inside = Path(sandbox_workdir(self._kernel.place.loop_id))
        path = inside / self._kernel.place.folder / path_str
        if not path.is_relative_to(inside):
            return None
        seen = workdir / path.relative_to(inside)
        found = self._kernel.manager.workspace.loop_of(seen)
        in_loop = found is not None and found[0] == self._kernel.place.loop_id
        return seen.as_posix() if in_loop and seen.exists() else None

    async def get_provisioner_info(self) -> dict[str, Any]:
        """What another process needs to find this kernel again."""
        info = await super().get_provisioner_info()
        return info if self._kernel is None else {**info, "pid": self.pid, "loop_kernel": self._kernel.info()}

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        """Take over a kernel that another process started.

        Raises:
            ConfigurationError: The workspace's configuration is broken.
        """
        await super().load_provisioner_info(provisioner_info)
        info = provisioner_info.get("loop_kernel")
        if info is not None:
            self.take_over(info, self.connection_info)

    def take_over(self, info: Mapping[str, Any], connection: KernelConnectionInfo) -> SandboxKernel | None:
        """Take over a kernel that another process started.

        Args:
            info: As `SandboxKernel.info` answered there.
            connection: How the host reaches it.

        Returns:
            The kernel; None when it has ended meanwhile, and what it left is removed.

        Raises:
            ConfigurationError: The workspace's configuration is broken.
        """
        environ = {**os.environ, "LOOPAT_HOME": info["workspace"]}
        manager, spares = self._loops(environ)
        self._kernel = SandboxKernel.taken_over(manager, info, spares)
        self.connection_info = connection
        if self._kernel.process is None:
            self._kernel.remove_files()
            return None
        self.pid = self._kernel.process.pid
        return self._kernel

    def _find_place(self, cwd: str | os.PathLike[str] | None) -> tuple[Mapping[str, str], Place] | None:
        """The environment to look in and the place to run in; None outside every loop."""
        environ = {**os.environ, **({"LOOPAT_HOME": self.workspace} if self.workspace else {})}
        try:
            workspace, folder = Workspace.from_environment(environ), Path(cwd or Path.cwd())
            # Once: what runs in the loop may change its links at any moment.
            seen = workspace.whereabouts(folder)
        except FileNotFoundError:
            # This process runs in a folder that was deleted: it is in no loop any more.
            seen = Whereabouts()
        except BadInputError as error:
            if self.loop_id:
                raise
            self.log.warning("%s Until then kernels run outside all loops.", error.message)
            return None
        here = seen.found
        if seen.left is not None:
            raise ConflictError(
                f"{folder} is in loop {seen.left}, but a symbolic link in the loop's folder leads out of it. "
                "Nothing was started, since it would not run in the loop. Look at the link, and remove it."
            )
        if (beside := seen.beside) is not None and not self.loop_id:
            raise ConflictError(
                f"{folder} belongs to loop {beside} but not to its files, so nothing was started. Notebooks of that "
                f"loop run in {workspace.workdir(beside)}: move it there, or open the loop in the Loops panel."
            )
        if self.loop_id:
            relative = here[1] if here is not None and here[0] == self.loop_id else Path()
            return environ, Place(self.loop_id, self.kernel, relative)
        if here is None:
            return None
        return environ, Place(here[0], self._km.kernel_name, here[1])

    @property
    def _km(self) -> Any:  # noqa: ANN401 - any kernel manager, of whatever package
        return self.parent

    def _loops(self, environ: Mapping[str, str]) -> tuple[LoopManager, Spares | None]:
        """The server's manager of this workspace, so that its events tell of a start; else one of our own."""
        made = Workspace.from_environment(environ)
        owner: Any = self.parent
        while owner is not None:
            service = getattr(getattr(owner, "web_app", None), "settings", {}).get("loopat_service")
            if service is not None and service.manager.workspace.home == made.home:
                return service.manager, service.spares
            owner = getattr(owner, "parent", None)
        return LoopManager.from_environment(environ), None

    def _connect(self, ends: Mapping[str, Any], *, encrypt: bool) -> str:
        """Point the kernel manager at the kernel's sockets and write its connection file; the path of that."""
        km = self._km
        if any(getattr(km, name) != value for name, value in ends.items()):
            km.cleanup_connection_file()
        for name, value in ends.items():
            setattr(km, name, value)
        self._encrypt(needed=encrypt)
        km.write_connection_file(jupyter_session=self._passed.get("JPY_SESSION_NAME", ""))
        self.connection_info = km.get_connection_info()
        return str(Path(km.connection_file).absolute())

    def _encrypt(self, *, needed: bool) -> None:
        """Make keys where the transport or the kernel manager asks for encryption; a restart keeps them."""
        km, spec = self._km, self._ready.spec
        policy = getattr(km, "transport_encryption", "disabled")
        possible = "curve" in str(spec.metadata.get("supported_encryption", "")).lower()
        wanted = needed or policy == "required" or (policy == "auto" and possible)
        if wanted and km.curve_publickey is None:
            km.curve_publickey, km.curve_secretkey = make_keys(spec)

    async def _watch_end(self, kernel: SandboxKernel) -> None:
        """Have the kernel manager restart the kernel as soon as it dies: by itself it looks every few seconds."""
        if kernel.process is not None:
            await kernel.process.wait()
            self._km.loop.add_callback(self._restart)

    async def _restart(self) -> None:
        # Its manager takes no restart before it has ended the one before: it would set one future twice.
        with contextlib.suppress(TimeoutError):
            async with deadline(_SETTLE_TIMEOUT_S):
                while not self._km.shutting_down and not self._km.ready.done():
                    await asyncio.wait([self._km.ready], timeout=_LOOK_S)
        kernel, restarter = self._kernel, self._km._restarter  # noqa: SLF001 - there is no public way to it
        if self._km.shutting_down or restarter is None or kernel is None or self._watch is None:
            return
        restarted = False
        try:
            ended = self._ended_on_purpose(kernel)
            if ended == "stopped":
                self.log.info("The kernel ended with its loop, which was stopped")
                return
            if ended == "replaced":
                await self._restart_as_asked(kernel)
            elif (polled := restarter.poll()) is not None:
                await polled
            restarted = True
        except KernelNotStarted as failure:
            self.log.error("The kernel ended and cannot be restarted: %s", failure)  # noqa: TRY400
        except HTTPError as refusal:
            if refusal.status_code not in (404, 409):
                raise
            # Somebody ends or starts it just now: that is no death.
            restarted = True
        finally:
            if not restarted:
                await self.give_up()

    async def give_up(self) -> None:
        """Have everybody told, once, that the kernel is dead: nobody would try again, whatever was in the way."""
        km, restarter = self._km, self._km._restarter  # noqa: SLF001 - there is no public way to it
        if isinstance(km.parent, MultiKernelManager) and km.kernel_id not in km.parent:
            return
        await self.cleanup()
        km.cleanup_connection_file()
        if restarter is not None:
            restarter.stop()
            restarter._fire_callbacks("dead")  # noqa: SLF001

    async def _restart_as_asked(self, kernel: SandboxKernel) -> None:
        """Restart a kernel whose sandbox somebody made anew: to clients this is no death."""
        self.log.info("The kernel is restarted in the new sandbox of its loop")
        kernel_id = self._km.kernel_id
        await ensure_async(self._km.parent.restart_kernel(kernel_id, now=True))
        kernel.manager.on_event(LoopEvent(action="updated", loop_id=kernel.place.loop_id, kernel_id=kernel_id))

    def _ended_on_purpose(self, kernel: SandboxKernel) -> Literal["stopped", "replaced"] | None:
        """Whether somebody stopped the kernel's loop, which no restart may start then, or made its sandbox anew."""
        files = kernel.manager.sandboxes.state_files(kernel.place.loop_id)
        if files.stopped_on_purpose():
            return "stopped"
        # Without such a manager nobody restarts it as if asked for: then it has died.
        managed = isinstance(self._km.parent, MultiKernelManager)
        return "replaced" if managed and files.replaced_on_purpose() else None

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
