"""Spare kernels: a Python kernel per running loop that has loaded everything, and becomes the next one that starts.

Most of a kernel's start is the loading of modules. A spare has done that with the command, variables and interpreter of
the kernel that was started last in its loop, and waits inside (`inside/spare`). It is of use to a kernel that differs
in its folder and notebook alone. It belongs to its server, and ends with it: it holds the other end of a connection.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.errors import KernelStartError
from loopat_jupyter.kernels.inside import SeenProcess
from loopat_jupyter.kernels.orders import format_argv
from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.execution import start_detached
from loopat_jupyter.sandbox.owners import own, release
from loopat_jupyter.sandbox.plan import SANDBOX_RUN, SPARE_FOLDER
from loopat_jupyter.sandbox.process import Stem
from loopat_jupyter.sandbox.sockets import connect
from loopat_jupyter.workspace.files import write_new

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from loopat_jupyter.kernels.inside import InsideProcess
    from loopat_jupyter.kernels.orders import Order
    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.sandbox.process import HostProcess

CALM_S = 3.0
"""Pause after the start of a kernel: that has the processor to itself first."""

LOAD_TIMEOUT_S = 60.0
_LOOK_S = 0.05
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group of a peer, see SO_PEERCRED in unix(7)."""


class Spare:
    """One process that waits.

    Args:
        stem: Its files.
        order: What it was started with.
        process: The process.
        connection: To it; both are owned by this object.
    """

    def __init__(self, stem: Stem, order: Order, process: HostProcess, connection: socket.socket) -> None:
        self.stem = stem
        self.order = order
        self._process: HostProcess | None = process
        self._connection = connection

    async def ended(self) -> None:
        """Return when it has ended."""
        if self._process is not None:
            await self._process.wait()

    async def become(self, order: Order) -> InsideProcess:
        """Have it become a kernel, whose process belongs to the caller.

        Args:
            order: The kernel, which is alike.

        Raises:
            KernelStartError: It does not: something was installed since, for instance.
            OSError: It is gone.
        """
        loop = asyncio.get_running_loop()
        # As text of ASCII, in which a variable may hold any bytes.
        message = json.dumps({"cwd": order.cwd, "env": order.late_env}).encode("ascii") + b"\n"
        await loop.sock_sendall(self._connection, message)
        if await loop.sock_recv(self._connection, 1) != b"y" or self._process is None:
            raise KernelStartError("It refused: something was installed since it was started, or its folder is gone.")
        process, self._process = self._process, None
        return SeenProcess(process)

    def let_go(self) -> None:
        """Hang up, and end it unless it has become a kernel."""
        self._connection.close()
        if self._process is not None:
            end(self.stem, self._process)
            self._process = None


class _Kept(NamedTuple):
    order: Order
    task: asyncio.Task[None]


class Spares:
    """The spare kernels of one server.

    Args:
        manager: The loops.
        spawn: Runs something until the server stops.
        calm_s: Pause after the start of a kernel.
    """

    def __init__(
        self,
        manager: LoopManager,
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        *,
        calm_s: float = CALM_S,
    ) -> None:
        self._manager = manager
        self._spawn = spawn
        self._calm_s = calm_s
        self._kept: dict[str, _Kept] = {}
        self._ready: dict[str, Spare] = {}

    def follow(self, loop_id: str, running: Running, order: Order) -> None:
        """A kernel was started: have a spare for the next one like it, and none for the loop used least recently.

        Args:
            loop_id: The loop.
            running: Its sandbox.
            order: The kernel.
        """
        settings = self._manager.config.kernels
        if not settings.spares or settings.transport != "ipc" or not order.may_be_awaited:
            return
        kept = self._kept.pop(loop_id, None)
        if loop_id not in self._ready or kept is None or not kept.order.alike(order):
            if kept is not None:
                kept.task.cancel()
            kept = _Kept(order, self._spawn(self._keep(loop_id, running, order)))
            kept.task.add_done_callback(lambda task: self._forget(loop_id, task))
        while len(self._kept) >= settings.spares:
            self._kept.pop(next(iter(self._kept))).task.cancel()
        self._kept[loop_id] = kept

    def take(self, loop_id: str, order: Order) -> Spare | None:
        """A spare that can become a kernel; it belongs to the caller. One that cannot ends.

        Args:
            loop_id: The loop.
            order: The kernel.
        """
        spare = self._ready.pop(loop_id, None)
        if spare is None:
            return None
        kept = self._kept.pop(loop_id, None)
        # Else it was called off just now.
        if kept is not None:
            kept.task.cancel()
        if spare.order.alike(order):
            return spare
        spare.let_go()
        return None

    async def settled(self, loop_id: str) -> bool:
        """Whether a loop has a spare, once none is being made for it."""
        while (kept := self._kept.get(loop_id)) is not None and loop_id not in self._ready:
            await asyncio.wait([kept.task], timeout=_LOOK_S)
        return loop_id in self._ready

    def close(self) -> None:
        """End all of them."""
        for kept in self._kept.values():
            kept.task.cancel()

    def _forget(self, loop_id: str, task: asyncio.Task[None]) -> None:
        kept = self._kept.get(loop_id)
        if kept is not None and kept.task is task:
            del self._kept[loop_id]

    async def _keep(self, loop_id: str, running: Running, order: Order) -> None:
        """Start a spare, and have it ready until it is taken, has ended or is called off."""
        await asyncio.sleep(self._calm_s)
        stamp = self._manager.sandboxes.state_files(loop_id).running()
        if stamp is None or stamp.pid != order.init_pid:
            return
        spare = await self._start(loop_id, running, order)
        if spare is None:
            return
        self._ready[loop_id] = spare
        try:
            await spare.ended()
        finally:
            # Else it was taken.
            if self._ready.get(loop_id) is spare:
                del self._ready[loop_id]
                spare.let_go()

    async def _start(self, loop_id: str, running: Running, order: Order) -> Spare | None:
        stem = Stem.new(self._manager.workspace.run(loop_id), "k")
        argv = format_argv(order.argv, f"{SANDBOX_RUN}/{stem.name}.json")
        spec = ExecSpec(argv=argv, cwd=SPARE_FOLDER, env=order.lasting_env, detach=True)
        own(stem)
        process = None
        try:
            # Where Python does not look into the folder (PYTHONSAFEPATH), a kernel starts, and ends at this file.
            write_new(stem.file("json"), b"")
            process = (await start_detached(self._manager.engine, running, stem, spec)).process
            connection = None if process is None else await _connected(process, stem)
        except BaseException:
            end(stem, process)
            raise
        if process is None or connection is None:
            end(stem, process)
            return None
        return Spare(stem, order, process, connection)


def end(stem: Stem, process: HostProcess | None) -> None:
    """End a process that waits, and remove what it left.

    Args:
        stem: Its files.
        process: The process, if it came to that.
    """
    if process is not None:
        process.signal(signal.SIGKILL)
        process.close()
    stem.remove()
    release(stem)


async def _connected(process: HostProcess, stem: Stem) -> socket.socket | None:
    """A connection to a process that has loaded everything; None when it does not come to that."""
    ended = asyncio.ensure_future(process.wait())
    deadline_s = time.monotonic() + LOAD_TIMEOUT_S
    try:
        while (connection := connect(stem.socket())) is None:
            await asyncio.wait({ended}, timeout=_LOOK_S)
            if ended.done() or time.monotonic() > deadline_s:
                return None
    finally:
        ended.cancel()
    pid, _, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if pid != process.pid:
        connection.close()
        return None
    return connection
