"""A kernel of a loop as a plain command, for clients that start kernels without provisioners, such as editors.

    python -m loopat_jupyter.kernels -f CONNECTION_FILE --workspace FOLDER --loop ID --kernel NAME

It opens the sockets of the connection file and passes every message on to the kernel inside and back. Messages stay
signed with the client's own key all the way. It ends with the kernel, and the kernel with it or with the client.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import zmq

from loopat_jupyter.errors import KernelStartError, LoopatError
from loopat_jupyter.kernels.launch import Place, SandboxKernel
from loopat_jupyter.kernels.transports import CHANNELS, make_keys
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.sandbox.process import HostProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_END_GRACE_S = 3.0


class Pair(NamedTuple):
    """What a channel is to the client and to the kernel."""

    front: int
    back: int


SOCKETS: Mapping[str, Pair] = {
    "shell_port": Pair(zmq.ROUTER, zmq.DEALER),
    "iopub_port": Pair(zmq.XPUB, zmq.XSUB),
    "stdin_port": Pair(zmq.ROUTER, zmq.DEALER),
    "hb_port": Pair(zmq.ROUTER, zmq.DEALER),
    "control_port": Pair(zmq.ROUTER, zmq.DEALER),
}


class Bridge:
    """Passes messages between the sockets of a connection file and those of a kernel inside.

    Args:
        connection: The client's connection file.

    Raises:
        KernelStartError: An address of it is taken.
    """

    def __init__(self, connection: Mapping[str, Any]) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._fronts: dict[str, zmq.Socket[bytes]] = {}
        self._passing = False
        try:
            for channel in CHANNELS:
                front = self._fronts[channel] = self._context.socket(SOCKETS[channel].front)
                front.linger = 0
                front.bind(endpoint(connection, channel))
        except zmq.ZMQError as error:
            self.close()
            raise KernelStartError(
                f"The address {endpoint(connection, channel)} of the connection file cannot be used: {error}. "
                "Start the kernel again."
            ) from error

    def connect(self, kernel: Mapping[str, Any]) -> None:
        """Begin to pass messages on, those that are waiting first.

        Args:
            kernel: A connection file of the kernel as the host reaches it.
        """
        # A kernel asks for input on stdin by the name that a request on shell came from.
        name = uuid.uuid4().bytes
        self._passing = True
        for channel, front in self._fronts.items():
            back = self._context.socket(SOCKETS[channel].back)
            back.linger = 0
            if back.socket_type == zmq.DEALER:
                back.identity = name
            if "curve_publickey" in kernel:
                back.curve_publickey = back.curve_serverkey = kernel["curve_publickey"]
                back.curve_secretkey = kernel["curve_secretkey"]
            back.connect(endpoint(kernel, channel))
            threading.Thread(target=_pass_on, args=(front, back), daemon=True).start()

    def close(self) -> None:
        """End all passing on; the sockets are closed by the threads that use them, if there are any."""
        if not self._passing:
            for front in self._fronts.values():
                front.close()
        self._context.term()


def _pass_on(front: zmq.Socket[bytes], back: zmq.Socket[bytes]) -> None:
    try:
        zmq.proxy(front, back)
    except zmq.ContextTerminated:
        front.close()
        back.close()


def endpoint(connection: Mapping[str, Any], channel: str) -> str:
    """Where the client expects a channel.

    Args:
        connection: The connection file.
        channel: One of `CHANNELS`.
    """
    separator = ":" if connection["transport"] == "tcp" else "-"
    return f"{connection['transport']}://{connection['ip']}{separator}{connection[channel]}"


async def serve(connection: Mapping[str, Any], environ: Mapping[str, str], loop_id: str, kernel_name: str) -> None:
    """Run a kernel until it ends, or somebody ends this process or the one that started it.

    Args:
        connection: The client's connection file.
        environ: Names the workspace.
        loop_id: The loop.
        kernel_name: Name of the kernel inside.

    Raises:
        LoopatError: The kernel did not start; the message says why.
    """
    manager = LoopManager.from_environment(environ)
    here = manager.workspace.loop_of(Path.cwd())
    kernel = SandboxKernel(manager, Place(loop_id, kernel_name, here[1] if here and here[0] == loop_id else Path()))
    # First of all: whoever ends this process while the kernel starts must not leave it running.
    asked = _heed_signals(kernel)
    parent = HostProcess(os.getppid(), os.pidfd_open(os.getppid()))
    with contextlib.closing(parent), contextlib.closing(Bridge(connection)) as bridge:
        work = asyncio.ensure_future(_run(kernel, bridge, connection, environ))
        reasons = [asyncio.ensure_future(asked.wait()), asyncio.ensure_future(parent.wait())]
        await asyncio.wait((work, *reasons), return_when=asyncio.FIRST_COMPLETED)
        for task in (work, *reasons):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work


async def _run(
    kernel: SandboxKernel, bridge: Bridge, connection: Mapping[str, Any], environ: Mapping[str, str]
) -> None:
    """Start the kernel and return when it has ended; when cancelled, end it."""
    try:
        ready = await kernel.prepare()
        keys: dict[str, bytes] = {}
        if kernel.sockets.needs_encryption:
            keys["curve_publickey"], keys["curve_secretkey"] = make_keys(ready.spec)
        variables = kernel.session_env(environ, os.environ)
        async with kernel.sockets.claim(ready.running) as ends:
            await kernel.launch(ready, {**connection, **ends.inside, **keys}, variables)
        bridge.connect({**ends.host, **keys})
        if kernel.process is not None:
            await kernel.process.wait()
    finally:
        await _end(kernel)
        kernel.close()
        kernel.remove_files()


def _heed_signals(kernel: SandboxKernel) -> asyncio.Event:
    """Pass interrupts on to the kernel; what asks this process to end sets the event."""
    asked = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        if kernel.process is not None:
            task = loop.create_task(kernel.process.signal_group(signal.SIGINT))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    for signum in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, asked.set)
    return asked


async def _end(kernel: SandboxKernel) -> None:
    """End the kernel and all its descendants, if it still runs: TERM, then KILL."""
    process = kernel.process
    for signum in (signal.SIGTERM, signal.SIGKILL):
        if process is not None and await process.alive():
            await process.signal_tree(signum)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _END_GRACE_S)


def main(argv: Sequence[str] | None = None) -> int:
    """The command.

    Args:
        argv: Arguments; by default those of this process.

    Returns:
        The exit code: 1 when the kernel did not start.
    """
    parser = argparse.ArgumentParser(prog="python -m loopat_jupyter.kernels", description="Run a kernel of a loop.")
    parser.add_argument("-f", dest="connection_file", type=Path, required=True)
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--loop", required=True)
    parser.add_argument("--kernel", required=True)
    arguments, _ = parser.parse_known_args(argv)
    connection = json.loads(arguments.connection_file.read_text(encoding="utf-8"))
    environ = {**os.environ, "LOOPAT_HOME": arguments.workspace}
    try:
        asyncio.run(serve(connection, environ, arguments.loop, arguments.kernel))
    except LoopatError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
