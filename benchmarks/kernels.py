"""Kernels: start to the first reply, round trip, memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from traitlets.config import Configurable

from benchmarks.report import Row
from benchmarks.scene import resident_mib, timed
from loopat_jupyter.kernels.spares import Spares
from loopat_jupyter.sandbox.process import exec_roots, parent_pid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from benchmarks.scene import Scene

TIMEOUT_S = 60
CALM_S = 1.0
"""Pause before a spare is made: the kernel before it has answered by then."""


class Server(Configurable):
    """What kernels see of a server that keeps spare ones.

    Args:
        scene: The loops.
        tasks: What runs in the background.
    """

    def __init__(self, scene: Scene, tasks: asyncio.TaskGroup) -> None:
        super().__init__()
        self.spares = Spares(scene.manager, tasks.create_task, calm_s=CALM_S)
        service = SimpleNamespace(manager=scene.manager, spares=self.spares)
        self.web_app = SimpleNamespace(settings={"loopat_service": service})


@contextlib.asynccontextmanager
async def kernel(provisioner: str, cwd: Path, server: Server | None = None) -> AsyncIterator[Any]:
    """A kernel that has answered once; ended afterwards."""
    KernelProvisionerFactory.instance().default_provisioner_name = provisioner
    manager = AsyncKernelManager(kernel_name="python3", parent=server)
    await manager.start_kernel(cwd=str(cwd))
    client = manager.client()
    client.start_channels()
    try:
        await ask(client)
        yield client
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


async def ask(client: Any) -> None:
    """Send one execute request and wait for its reply; before the kernel is up, the request waits in the socket."""
    sent = client.execute("1", silent=True)
    while True:
        reply = await client.get_shell_msg(timeout=TIMEOUT_S)
        if reply["parent_header"].get("msg_id") == sent:
            return


async def start(scene: Scene, rounds: int) -> Row:
    """From the order to start to the first execute reply, in a warm sandbox."""
    floor: list[float] = []
    ours: list[float] = []
    workdir = scene.manager.workspace.workdir(scene.record.id)
    for number in range(rounds):
        turns = [(floor, "local-provisioner", scene.outside), (ours, "loopat-provisioner", workdir)]
        for samples, provisioner, cwd in turns if number % 2 else reversed(turns):
            stack = contextlib.AsyncExitStack()
            with timed(samples):
                await stack.enter_async_context(kernel(provisioner, cwd))
            await stack.aclose()
    return Row("kernel start to first reply", "local kernel", floor, ours, "ms", "≤ 1.15")


async def start_with_spare(scene: Scene, rounds: int) -> Row:
    """As `start`, with a spare kernel that is ready."""
    floor: list[float] = []
    ours: list[float] = []
    workdir, loop_id = scene.manager.workspace.workdir(scene.record.id), scene.record.id
    async with asyncio.TaskGroup() as tasks:
        server = Server(scene, tasks)
        async with kernel("loopat-provisioner", workdir, server):
            pass
        for number in range(rounds):
            turns = [(floor, "local-provisioner", scene.outside), (ours, "loopat-provisioner", workdir)]
            for samples, provisioner, cwd in turns if number % 2 else reversed(turns):
                if not await server.spares.settled(loop_id):
                    raise RuntimeError("there is no spare kernel")
                stack = contextlib.AsyncExitStack()
                with timed(samples):
                    await stack.enter_async_context(kernel(provisioner, cwd, server))
                await stack.aclose()
        server.spares.close()
    return Row("kernel start to first reply, with a spare", "local kernel", floor, ours, "ms", "≤ 0.25")


async def round_trip(scene: Scene, rounds: int) -> Row:
    """One execute request and its reply."""
    floor: list[float] = []
    ours: list[float] = []
    workdir = scene.manager.workspace.workdir(scene.record.id)
    async with (
        kernel("local-provisioner", scene.outside) as local,
        kernel("loopat-provisioner", workdir) as inside,
    ):
        for _ in range(20):
            await ask(local)
            await ask(inside)
        for number in range(rounds * 40):
            # Whoever answers second finds warm caches, so they take turns.
            turns = [(floor, local), (ours, inside)]
            for samples, client in turns if number % 2 else reversed(turns):
                with timed(samples):
                    await ask(client)
    return Row("execute round trip", "local kernel over TCP", floor, ours, "ms", "≤ 1.0")


async def memory(scene: Scene) -> Row:
    """Memory per kernel beside the kernel itself: whatever else runs on the host because of it."""
    before = set(_pids())
    workdir = scene.manager.workspace.workdir(scene.record.id)
    async with kernel("loopat-provisioner", workdir):
        roots = exec_roots(scene.running.init_pid)
        beside = [parent_pid(root) for root in roots]
        extra = [pid for pid in beside if pid not in before]
        used = resident_mib(extra)
    return Row("memory per kernel beside it", "nothing", [], [used], "MiB", "≤ 4 MiB")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
