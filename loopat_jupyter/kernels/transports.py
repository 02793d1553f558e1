"""How a kernel's five sockets are reached from the host: as files, or as ports where files cannot carry sockets.

Files (ipc) are the default: no port is opened, and nothing leaves the machine. Where the sandbox runs behind a
machine boundary that shares files but no sockets, ports are published on the host's loopback, and every message is
encrypted with keys that stand only in the connection files.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import zmq

from loopat_jupyter.errors import KernelStartError
from loopat_jupyter.sandbox.plan import SANDBOX_RUN
from loopat_jupyter.sandbox.process import Stem
from loopat_jupyter.workspace.locks import file_lock
from loopat_jupyter.workspace.paths import SOCKET_PATH_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from loopat_jupyter.kernels.inside import InsideProcess
    from loopat_jupyter.models import Kernelspec
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.sandbox.podman import Engine

CHANNELS = ("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")
"""The five sockets of a kernel, as a connection file names them; over ipc their "ports" are 1 to 5."""

_LISTEN = "0A"
"""State of a listening socket in proc_net_tcp(5)."""

_LOCK_TIMEOUT_S = 120.0
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_MAPPING = re.compile(r"^(\d+)/tcp -> [^ ]*:(\d+)$", re.MULTILINE)


class Ends(NamedTuple):
    """Transport, address and ports of a kernel's sockets, as a connection file names them.

    Attributes:
        host: As the host reaches them.
        inside: As the kernel opens them.
    """

    host: Mapping[str, Any]
    inside: Mapping[str, Any]


class Sockets(Protocol):
    """The sockets of one kernel, through all its restarts."""

    needs_encryption: bool
    """Whether others could read along without encryption."""

    ports: tuple[int, ...]
    """Ports inside; none where the sockets are files."""

    pause_s: float
    """Between two looks whether they are open."""

    def claim(self, running: Running) -> contextlib.AbstractAsyncContextManager[Ends]:
        """Where the sockets will be. Nobody else gets the same while the block runs; start the kernel in it."""
        ...

    async def open(self, running: Running, process: InsideProcess) -> bool:
        """Whether the kernel has opened all of them."""
        ...

    def remove(self) -> None:
        """Remove what an ended kernel left."""
        ...


class FileSockets:
    """Sockets in the runtime directory that host and sandbox share.

    Args:
        folder: The runtime directory on the host.
        name: What the sockets' names begin with.
    """

    needs_encryption = False
    ports: tuple[int, ...] = ()
    pause_s = 0.003

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._stem = f"{folder / name}-"

    @contextlib.asynccontextmanager
    async def claim(self, running: Running) -> AsyncIterator[Ends]:  # noqa: ARG002 - the same in every sandbox
        """Where the sockets will be: the same after every restart.

        Raises:
            KernelStartError: The path is too long for a socket.
        """
        if len(os.fsencode(self._path(0))) > SOCKET_PATH_MAX_BYTES:
            raise KernelStartError(
                f"The runtime directory {self._folder} has too long a path for sockets ({SOCKET_PATH_MAX_BYTES} bytes "
                "at most). Use one with a shorter path."
            )
        numbers = {channel: number for number, channel in enumerate(CHANNELS, start=1)}
        yield Ends(
            {"transport": "ipc", "ip": str(self._folder / self._name), **numbers},
            {"transport": "ipc", "ip": f"{SANDBOX_RUN}/{self._name}", **numbers},
        )

    async def open(self, running: Running, process: InsideProcess) -> bool:  # noqa: ARG002 - a look at files
        """Whether all of them are there; five system calls."""
        return all(is_socket(self._path(number)) for number in range(1, len(CHANNELS) + 1))

    def remove(self) -> None:
        """Remove the files, which a killed kernel leaves behind."""
        Stem(self._folder, self._name).remove()

    def _path(self, number: int) -> str:
        return f"{self._stem}{number}"


class PortSockets:
    """Published ports of the sandbox, on the loopback of the host.

    Args:
        engine: Runs podman.
        lock: Held while a kernel chooses its ports and opens them; one for each loop.
        ports: What the kernel had, kept if they are still free.
    """

    needs_encryption = True
    pause_s = 0.03
    """Each look takes time that the kernel needs to start."""

    def __init__(self, engine: Engine, lock: Path, ports: tuple[int, ...] = ()) -> None:
        self._engine = engine
        self._lock = lock
        self.ports = ports

    @contextlib.asynccontextmanager
    async def claim(self, running: Running) -> AsyncIterator[Ends]:
        """Where the sockets will be: after a restart the same if nobody took them meanwhile.

        Raises:
            EngineError: Podman refused.
            EngineTimeoutError: Podman or another process took too long.
            KernelStartError: All published ports are in use, or there are none.
        """
        async with file_lock(self._lock, timeout_s=_LOCK_TIMEOUT_S, what="starting a kernel of the loop"):
            answer = await self._engine.run("port", running.name, doing="find the published ports")
            published = published_ports(answer.stdout.decode("ascii", "replace"))
            taken = listening_ports(await self._tables(running))
            self.ports = choose_ports(published, taken, self.ports)
            if not self.ports:
                raise KernelStartError(
                    "All ports for kernels of this loop are in use. Shut a kernel down, or allow more with "
                    "`tcp_kernels` under [kernels] in config.toml and recreate the loop's sandbox."
                    if published
                    else "This loop's sandbox publishes no ports for kernels. Recreate it (a loop without a network "
                    'needs `transport = "ipc"`).'
                )
            yield Ends(
                {
                    "transport": "tcp",
                    "ip": "127.0.0.1",
                    **{channel: published[port] for channel, port in zip(CHANNELS, self.ports, strict=True)},
                },
                {"transport": "tcp", "ip": "0.0.0.0", **dict(zip(CHANNELS, self.ports, strict=True))},  # noqa: S104
            )

    async def open(self, running: Running, process: InsideProcess) -> bool:
        """Whether the kernel listens on all of them."""
        return set(self.ports) <= listening_ports(
            tables_of(process.pid) if process.pid else await self._tables(running)
        )

    def remove(self) -> None:
        """Nothing is left: ports go with their process."""

    async def _tables(self, running: Running) -> str:
        """As the host sees them; podman tells those whose process it may not look into."""
        if seen := tables_of(running.init_pid):
            return seen
        answer = await self._engine.run("exec", running.name, "cat", *_TABLES, ok=(0, 1), doing="look at open ports")
        return answer.stdout.decode("ascii", "replace")


def is_socket(path: str) -> bool:
    """Whether there is a socket, and not a link that somebody inside put there."""
    try:
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


def tables_of(pid: int) -> str:
    """The sockets of a process's network, which is its sandbox's; empty when it has ended."""
    text = ""
    for table in _TABLES:
        with contextlib.suppress(OSError):
            text += Path(table.replace("/proc/", f"/proc/{pid}/")).read_text(encoding="ascii")
    return text


def published_ports(text: str) -> dict[int, int]:
    """Ports of the host by port inside, from what `podman port` prints."""
    return {int(inside): int(host) for inside, host in _MAPPING.findall(text)}


def listening_ports(tables: str) -> set[int]:
    """Ports that somebody listens on, from tables as in proc_net_tcp(5)."""
    rows = [line.split() for line in tables.splitlines()]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if len(row) > 3 and row[3] == _LISTEN}


def choose_ports(published: Mapping[int, int], taken: set[int], before: tuple[int, ...]) -> tuple[int, ...]:
    """Ports inside for one kernel; empty when there are not enough.

    Args:
        published: Ports of the host by port inside.
        taken: Ports inside that somebody listens on.
        before: What the kernel had, kept if it is still free.
    """
    free = [port for port in sorted(published) if port not in taken]
    if before and set(before) <= set(free):
        return before
    return tuple(free[: len(CHANNELS)]) if len(free) >= len(CHANNELS) else ()


def make_keys(spec: Kernelspec) -> tuple[bytes, bytes]:
    """A public and a secret key for a kernel that supports encryption.

    Args:
        spec: The kernel inside.

    Raises:
        KernelStartError: It does not say that it does.
    """
    if "curve" not in str(spec.metadata.get("supported_encryption", "")).lower():
        raise KernelStartError(
            f"{spec.display_name} does not say that it supports encryption, which is required here. "
            "Install a newer version of the kernel, or do not require it."
        )
    return zmq.curve_keypair()
