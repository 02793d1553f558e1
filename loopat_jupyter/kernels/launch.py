"""`SandboxKernel`: one kernel inside a loop: start it, watch it, end it. Knows nothing of Jupyter's classes.

Host and sandbox see one runtime directory, so the kernel's sockets are plain files in it: no port is opened, and
nothing leaves the machine. The host is told of the end by the process itself (a pidfd).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from loopat_jupyter.deadlines import deadline
from loopat_jupyter.errors import KernelStartError, LoopatError
from loopat_jupyter.kernels.inside import ExecProcess, InsideProcess, SeenProcess
from loopat_jupyter.kernels.meanwhile import Launchpad
from loopat_jupyter.kernels.orders import Order, encode_connection, format_argv, kernel_environment, passed_on
from loopat_jupyter.kernels.transports import FileSockets, PortSockets, Sockets
from loopat_jupyter.models import ExecSpec, LoopEvent
from loopat_jupyter.sandbox.execution import start_detached
from loopat_jupyter.sandbox.owners import own, release
from loopat_jupyter.sandbox.plan import SANDBOX_RUN, inside_path
from loopat_jupyter.sandbox.process import LOG_LIMIT_BYTES, Stem, hold, innermost_pid, pid_namespace
from loopat_jupyter.sandbox.state import start_ticks
from loopat_jupyter.sandbox.usage import is_stopped, unresponsive
from loopat_jupyter.workspace.files import write_new

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from loopat_jupyter.kernels.spares import Spares
    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import Kernelspec, LoopRecord
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.sandbox.process import HostProcess

_log = logging.getLogger(__name__)

READY_TIMEOUT_S = 60.0
"""How long a living kernel may take to open its sockets: far more than any does on a machine under load."""

WAKE_TIMEOUT_S = 5.0
"""How long a spare kernel may take for the same before another is started: far more than it needs."""

_LOG_LINES = 12


class Place(NamedTuple):
    """Where a kernel runs.

    Attributes:
        loop_id: The loop.
        kernel: Name of the kernel inside.
        folder: Its working directory, relative to the loop's workdir.
    """

    loop_id: str
    kernel: str
    folder: Path


class Ready(NamedTuple):
    """What a start needs.

    Attributes:
        running: The sandbox.
        spec: The kernel as it is inside.
    """

    running: Running
    spec: Kernelspec


class SandboxKernel:
    """One kernel of a loop, through all its restarts.

    Args:
        manager: The loops.
        place: Where it runs.
        spares: Spare kernels of the server; None outside one.

    Attributes:
        connection_file: Where this process notes how it is reached, if it does; removed when this process is killed.
        launchpad: The sandbox that `prepare` found, once it did.
    """

    def __init__(self, manager: LoopManager, place: Place, spares: Spares | None = None) -> None:
        self.manager = manager
        self._spares = spares
        self.place = place
        self.process: InsideProcess | None = None
        self._run = manager.workspace.run(place.loop_id)
        self._stem = Stem.new(self._run, "k")
        self._address = self._stem.name
        self._stopped = False
        self.connection_file: str | None = None
        self.launchpad: Launchpad | None = None
        self.sockets = self._make_sockets()

    def _make_sockets(self, ports: Sequence[int] = ()) -> Sockets:
        if self.manager.config.kernels.transport == "ipc":
            return FileSockets(self._run, self._address)
        lock = self.manager.workspace.host(self.place.loop_id) / "ports.lock"
        return PortSockets(self.manager.engine, lock, tuple(ports))

    async def prepare(self) -> Ready:
        """Make the sandbox run and find the kernel in it.

        Raises:
            EngineError: Podman refused, or the image could not be built.
            EngineTimeoutError: Podman took too long.
            EngineUnavailableError: There is no usable podman.
            KernelStartError: The loop has no such kernel.
            NotFoundError: The loop is gone.
            StorageFullError: No space.
        """
        self.launchpad = None
        record = self.manager.store.read(self.place.loop_id)
        running = await self.manager.use(record)
        if not running.restart_needed:
            # The settings may name another transport by now, and the sandbox is as they say.
            self.sockets = self._make_sockets(self.sockets.ports)
        self.launchpad = Launchpad(self.manager, record, running.init_pid)
        return Ready(running, await self._find_spec(record, running))

    async def _find_spec(self, record: LoopRecord, running: Running) -> Kernelspec:
        kernel = self.place.kernel
        spec = await self.manager.kernels.find_one(record, running, kernel)
        if spec is None:
            names = ", ".join(found.name for found in await self.manager.kernels.find(record, running))
            raise KernelStartError(
                f"Loop {record.title!r} has no kernel {kernel!r}. "
                + (f"It has: {names}. Choose one of these, " if names else "It has none. ")
                + "or install the one you want in a terminal of the loop."
            )
        return spec

    async def launch(
        self, ready: Ready, connection: Mapping[str, Any], env: Mapping[str, str], extra: tuple[str, ...] = ()
    ) -> None:
        """Start the kernel and return when its sockets are open.

        Args:
            ready: What `prepare` answered.
            connection: The connection file as the kernel reads it, with the ends that `sockets` claimed for it.
            env: Variables that the caller passed for this kernel.
            extra: Arguments behind those of the kernelspec.

        Raises:
            EngineError: Podman could not start it.
            EngineTimeoutError: Podman took too long.
            KernelStartError: It ended, or opened no sockets; says why, with the end of its log.
            StorageFullError: No space for its files.
        """
        self.remove_files()
        of_vault = await self.manager.vaults.variables_of(self.manager.store.read(self.place.loop_id))
        order = Order(
            ready.running.init_pid,
            (*ready.spec.argv, *extra),
            kernel_environment(ready.spec.env, {**of_vault, **env}),
            inside_path(self.place.loop_id, self.place.folder),
        )
        process = await self._wake(ready, connection, order)
        self.process = process or await self._start(ready, connection, order)
        if self._spares is not None:
            self._spares.follow(self.place.loop_id, ready.running, order)

    async def _wake(self, ready: Ready, connection: Mapping[str, Any], order: Order) -> InsideProcess | None:
        """Have a spare kernel become this one; None when there is none, or it is of no use, which costs little time."""
        spare = None if self._spares is None else self._spares.take(self.place.loop_id, order)
        if spare is None:
            return None
        try:
            async with deadline(WAKE_TIMEOUT_S):
                return await self._bring_up(ready, connection, spare.stem, lambda: spare.become(order))
        except (LoopatError, OSError) as error:
            _log.info(
                "A spare kernel of loop %s was of no use: %s", self.place.loop_id, str(error) or type(error).__name__
            )
            return None
        finally:
            spare.let_go()

    async def _start(self, ready: Ready, connection: Mapping[str, Any], order: Order) -> InsideProcess:
        stem = Stem.new(self._run, "k")
        argv = format_argv(order.argv, f"{SANDBOX_RUN}/{stem.name}.json")
        spec = ExecSpec(argv=argv, cwd=order.cwd, env=dict(order.env), detach=True)

        async def started() -> InsideProcess:
            found = await start_detached(self.manager.engine, ready.running, stem, spec)
            return await self._reach(ready, found.process)

        return await self._bring_up(ready, connection, stem, started)

    async def _bring_up(
        self, ready: Ready, connection: Mapping[str, Any], stem: Stem, started: Callable[[], Awaitable[InsideProcess]]
    ) -> InsideProcess:
        """A kernel whose sockets are open; nothing is left of one that did not come to that."""
        self._stem = stem
        process: InsideProcess | None = None
        try:
            # Until a server writes it down for the next one, the kernel is to end with who starts it.
            own(stem, sockets=self._address, connection_file=self.connection_file)
            # A spare has an empty one.
            stem.file("json").unlink(missing_ok=True)
            write_new(stem.file("json"), encode_connection(connection))
            process = await started()
            await self._wait_for_sockets(process, ready)
        except BaseException:
            if process is not None:
                await process.signal_tree(signal.SIGKILL)
                process.close()
            self.remove_files()
            raise
        return process

    async def _reach(self, ready: Ready, seen: HostProcess | None) -> InsideProcess:
        if seen is not None:
            return SeenProcess(seen)
        found = await ExecProcess.find(self.manager.engine, ready.running.name, self._stem)
        if found is None:
            raise KernelStartError(explain(ready.spec, self._stem.log_tail()))
        return found

    async def _wait_for_sockets(self, process: InsideProcess, ready: Ready) -> None:
        """Return when all sockets are there; nothing sleeps longer than a few milliseconds."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        ended = asyncio.ensure_future(process.wait())
        try:
            while not await self.sockets.open(ready.running, process):
                await asyncio.wait({ended}, timeout=self.sockets.pause_s)
                if ended.done():
                    raise KernelStartError(explain(ready.spec, self._stem.log_tail()))
                if time.monotonic() > deadline:
                    raise KernelStartError(
                        f"{ready.spec.display_name} opened no sockets within {READY_TIMEOUT_S:.0f} s. "
                        f"Does it support the transport {self.manager.config.kernels.transport!r}? "
                        f"The end of its log:\n{last_lines(self._stem.log_tail())}"
                    )
        finally:
            ended.cancel()

    def info(self) -> dict[str, Any]:
        """What another process needs to take this kernel over. Plain JSON, no secret."""
        pid = self.process.pid if self.process is not None else 0
        return {
            "workspace": str(self.manager.workspace.home),
            "loop_id": self.place.loop_id,
            "kernel": self.place.kernel,
            "folder": str(self.place.folder),
            "address": self._address,
            "stem": self._stem.name,
            "ports": list(self.sockets.ports),
            "pid": pid,
            "start_ticks": start_ticks(pid) if pid else 0,
        }

    @classmethod
    def taken_over(cls, manager: LoopManager, info: Mapping[str, Any], spares: Spares | None = None) -> SandboxKernel:
        """A kernel that another process started; without a process when it has ended meanwhile.

        Args:
            manager: The loops.
            info: What `info` answered there.
            spares: Spare kernels of the server; None outside one.
        """
        kernel = cls(manager, Place(info["loop_id"], info["kernel"], Path(info["folder"])), spares)
        kernel._address, kernel._stem = info["address"], Stem(kernel._run, info["stem"])
        kernel.sockets = kernel._make_sockets(info.get("ports", ()))
        namespace = pid_namespace(info["pid"])
        process = hold(info["pid"], namespace) if namespace else None
        if process is not None and start_ticks(info["pid"]) == info["start_ticks"]:
            kernel.process = SeenProcess(process)
            own(kernel._stem, sockets=kernel._address)
        elif process is not None:
            process.close()
        return kernel

    def outlives(self) -> None:
        """The kernel goes on when this process ends: it was written down for the next one."""
        release(self._stem)

    def session_env(self, passed: Mapping[str, str], server: Mapping[str, str]) -> dict[str, str]:
        """Variables that the caller passed for this kernel, as they are inside.

        Args:
            passed: What the kernel manager passed: usually the server's whole environment and a few more.
            server: The server's environment.
        """
        return passed_on(passed, server, self.manager.workspace, self.place.loop_id)

    def trim_log(self) -> None:
        """Empty the log when it has grown too long: what matters of it is read at the start."""
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            descriptor = os.open(self._stem.file("log"), flags)
            try:
                status = os.fstat(descriptor)
                if stat.S_ISREG(status.st_mode) and status.st_size > LOG_LIMIT_BYTES:
                    os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)

    @property
    def stopped(self) -> bool:
        """Whether it was stopped (`kill -STOP`) and hears nothing; one small read."""
        pid = self.process.pid if self.process is not None else 0
        return bool(pid) and is_stopped(pid)

    def watch_stops(self) -> None:
        """Tell everybody when the kernel was stopped, and when it goes on."""
        stopped = self.stopped
        if stopped == self._stopped:
            return
        self._stopped = stopped
        if stopped and self.process is not None:
            message = unresponsive(innermost_pid(self.process.pid) or 0)
            self.manager.on_event(LoopEvent(action="warning", loop_id=self.place.loop_id, message=message))
        else:
            self.manager.on_event(LoopEvent(action="updated", loop_id=self.place.loop_id))

    def close(self) -> None:
        """Let go of the process. It goes on if it still runs."""
        if self.process is not None:
            self.process.close()
            self.process = None

    def remove_files(self) -> None:
        """Remove what the last start left: connection file, log, sockets."""
        self._stem.remove()
        release(self._stem)
        self.sockets.remove()


def last_lines(log: str) -> str:
    """The end of a log, as much as fits a message."""
    return "\n".join(line[:400] for line in log.strip().splitlines()[-_LOG_LINES:])


def explain(spec: Kernelspec, log: str) -> str:
    """Why a kernel ended before it was ready, in words that somebody can act on.

    Args:
        spec: The kernel inside.
        log: The end of its log.
    """
    command = spec.argv[0]
    missing = re.search(r"No module named '?([\w.]+)'?", log)
    if missing and missing[1].split(".")[0] in ("ipykernel", "ipykernel_launcher"):
        why = (
            f"ipykernel is not installed for {command} in this loop. "
            f"Run `{command} -m pip install ipykernel` in a terminal of the loop."
        )
    elif missing:
        why = f"The Python module {missing[1]} cannot be imported. Fix it in a terminal of the loop."
    elif re.search(rf"{re.escape(command)}['\"]?: (No such file|Permission denied)", log):
        why = f"Its command {command!r} cannot be run inside. Install it, or fix the kernel's kernel.json."
    else:
        why = "It ended before it was ready. Try its command in a terminal of the loop."
    tail = last_lines(log)
    return f"{spec.display_name} did not start. {why}" + (f"\n{tail}" if tail else "")
