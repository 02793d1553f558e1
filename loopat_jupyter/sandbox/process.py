"""Processes inside a sandbox, seen from the host.

`podman exec` is only a client: killing it leaves the process inside alive. So the launcher (`inside/launch`) writes
its process id as seen inside, and the host finds the same process in `/proc` by the last number of `NSpid`
(pid_namespaces(7)) and watches it with a pidfd, which names one process for good. Where the host cannot see the
process (a remote engine), signals go through an exec'd `kill`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.deadlines import until_next_look_s
from loopat_jupyter.errors import EngineError
from loopat_jupyter.sandbox.readiness import until_readable
from loopat_jupyter.workspace.files import read_untrusted, write_new
from loopat_jupyter.workspace.variables import as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loopat_jupyter.models import ExecSpec

LOG_LIMIT_BYTES = 64 * 1024
_LIBRARY, _WAITING = "/loopat/lib", "/loopat/lib/waiting-"
"""Folders of the main process; of spare kernels (`inside/spare`), and of what has nothing left to do (`attach`)."""

_MAIN = 2
"""Id of a sandbox's main process as seen inside: init starts it, and nothing else."""

_PROC = Path("/proc")

_FILES = ("argv", "env", "json", "leader", "log", "nodir", "notice", "pid", "size", "start", "taken")
ENDINGS = (*(f".{suffix}" for suffix in _FILES), "-a", "-h", *(f"-{number}" for number in range(1, 6)))
"""Of all files of a start, the last ones a kernel's: the folder, which others may fill, is not looked through."""


class Stem(NamedTuple):
    """The files of one start in a loop's runtime directory.

    Attributes:
        folder: The runtime directory on the host.
        name: A name that nobody inside can guess.
    """

    folder: Path
    name: str

    @classmethod
    def new(cls, folder: Path, kind: str) -> Stem:
        """A fresh stem.

        Args:
            folder: The loop's runtime directory on the host.
            kind: One letter for people who look at the folder: k(ernel), t(erminal), x (exec).
        """
        return cls(folder, f"{kind}{os.urandom(6).hex()}")

    def file(self, suffix: str) -> Path:
        """One of its files."""
        return self.folder / f"{self.name}.{suffix}"

    def prepare(self, spec: ExecSpec, base_env: Mapping[str, str]) -> None:
        """Write what the launcher reads: variables, log file, terminal size, what to tell first.

        Args:
            spec: The process.
            base_env: Variables that every process gets; those of `spec` win.

        Raises:
            EngineError: The folder was locked or removed from inside.
            StorageFullError: No space.
        """
        with self.writing():
            # Also the permission to start; see `call_off`.
            write_new(self.file("env"), encode_environment({**base_env, **spec.env}))
            if spec.detach and not spec.tty:
                write_new(self.file("log"), b"")
            if spec.size:
                write_new(self.file("size"), "{} {}\n".format(*spec.size).encode())
            if spec.tty and spec.notice:
                write_new(self.file("notice"), "".join(f"{line}\n" for line in spec.notice.splitlines()).encode())

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Tell what to do where the folder was locked or removed from inside; raises `EngineError`."""
        try:
            yield
        except OSError as error:
            raise EngineError(
                f"The loop's runtime folder {self.folder} cannot be written: {error.strerror}. "
                "Stop the loop and start it again."
            ) from error

    def call_off(self) -> None:
        """From now on nothing starts with these files that `pid_inside` does not name already; see `inside/launch`."""
        # A folder that was locked from inside lets nothing start either, once the sandbox is started anew.
        with contextlib.suppress(OSError):
            self.file("env").unlink()

    def pid_inside(self) -> int | None:
        """The process id that the launcher wrote; None before it did."""
        return self._number("pid")

    def leader_inside(self) -> int | None:
        """The process that leads the session: the program of a held terminal, else what the launcher started."""
        return self._number("leader") or self.pid_inside()

    def _number(self, suffix: str) -> int | None:
        try:
            return int(read_untrusted(self.file(suffix), limit_bytes=16))
        except (OSError, ValueError):
            return None

    def socket(self) -> Path:
        """Where the holder of a terminal, or a spare kernel, listens."""
        return self.folder / f"{self.name}-h"

    def log_tail(self) -> str:
        """The last lines of the log; empty when there is none."""
        try:
            data = read_untrusted(self.file("log"), limit_bytes=LOG_LIMIT_BYTES, from_end=True)
            return data.decode("utf-8", "replace")
        except OSError:
            return ""

    def remove(self) -> None:
        """Remove all its files, sockets included; where the folder was locked from inside, the next start does."""
        for ending in ENDINGS:
            with contextlib.suppress(OSError):
                (self.folder / f"{self.name}{ending}").unlink()


def encode_environment(env: dict[str, str]) -> bytes:
    """Variables as the launcher reads them: NUL-separated `NAME=VALUE` pairs, so that a value may hold any bytes."""
    return b"".join(as_bytes(f"{name}={value}\0") for name, value in env.items())


class HostProcess:
    """One process inside a sandbox, held by a pidfd. Close it.

    Args:
        pid: Its id on the host.
        pidfd: An open pidfd of it; owned by this object.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd

    @property
    def alive(self) -> bool:
        """Whether it still runs; asks the kernel each time."""
        if self._pidfd < 0:
            return False
        try:
            signal.pidfd_send_signal(self._pidfd, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        # A zombie still takes signals; a readable pidfd means it ended (pidfd_open(2)).
        return not _readable(self._pidfd)

    async def wait(self) -> None:
        """Return when it has ended. Nothing polls: the kernel tells."""
        if self._pidfd < 0:
            return
        # A pidfd of its own: an event loop takes one reader per descriptor, and several may wait.
        descriptor = os.dup(self._pidfd)
        try:
            await until_readable(descriptor)
        finally:
            os.close(descriptor)

    def signal(self, signum: int) -> None:
        """Send a signal to this process alone; nothing happens when it has ended."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signum)

    def signal_group(self, signum: int) -> None:
        """Send a signal to it and what it started in the foreground; not to others of the main process's group."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if os.getpgid(self.pid) == self.pid else os.kill)(self.pid, signum)

    def close(self) -> None:
        """Give the pidfd back. The process goes on."""
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def _readable(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(0))


async def find_started(stem: Stem, init_pid: int, *, timeout_s: float) -> HostProcess | None:
    """Wait until the launcher wrote its id, then find that process on the host.

    Args:
        stem: Its files.
        init_pid: The sandbox's init process on the host.
        timeout_s: How long to wait.

    Returns:
        The process, or None when it did not appear or ended before it was found, or the sandbox has ended.
    """
    began_s = time.monotonic()
    while time.monotonic() < began_s + timeout_s and stat_fields(init_pid):
        pid_inside = stem.pid_inside()
        if pid_inside is not None:
            return find_process(init_pid, pid_inside)
        await asyncio.sleep(until_next_look_s(time.monotonic() - began_s))
    return None


def find_process(init_pid: int, pid_inside: int) -> HostProcess | None:
    """The host's view of a process of a sandbox.

    Args:
        init_pid: The sandbox's init process on the host.
        pid_inside: The id as seen inside.
    """
    namespace = pid_namespace(init_pid)
    # What runs inside can write any number where the launcher writes its own; init is never a started process.
    if namespace is None or pid_inside <= 1:
        return None
    for pid in all_pids(newest_first=True):
        if innermost_pid(pid) == pid_inside and pid_namespace(pid) == namespace:
            return hold(pid, namespace)
    return None


def hold(pid: int, namespace: str) -> HostProcess | None:
    """Hold a process by pidfd, making sure that the id was not reused in between."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if pid_namespace(pid) != namespace:
        os.close(pidfd)
        return None
    return HostProcess(pid, pidfd)


def all_pids(*, newest_first: bool = False) -> list[int]:
    """Every process id of the host."""
    return sorted((int(name) for name in os.listdir(_PROC) if name.isdigit()), reverse=newest_first)  # noqa: PTH208


def commands() -> list[bytes]:
    """The command lines of all processes of the host, each argument with a NUL after it."""
    return [command for pid in all_pids() if (command := command_line(pid))]


def command_line(pid: int) -> bytes:
    """The command line of a process, each argument with a NUL after it; empty once it ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def pid_namespace(pid: int) -> str | None:
    """Identity of a process's pid namespace; None when it is gone or not ours to see."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115
    except OSError:
        return None


def innermost_pid(pid: int) -> int | None:
    """A process's id in its innermost pid namespace."""
    numbers = _status_field(pid, b"NSpid:")
    return int(numbers[-1]) if numbers else None


def parent_pid(pid: int) -> int:
    """Id of the parent on the host; 0 when the process is gone."""
    numbers = _status_field(pid, b"PPid:")
    return int(numbers[0]) if numbers else 0


def is_init(pid: int) -> bool:
    """Whether a host process is the living init of some container."""
    numbers = _status_field(pid, b"NSpid:")
    return len(numbers) > 1 and numbers[-1] == b"1" and _status_field(pid, b"State:")[:1] != [b"Z"]


def same_folder(init_pid: int, inside: str, folder: Path) -> bool:
    """Whether a path inside a sandbox and a folder of the host are one: False once the mounted one was wiped.

    Args:
        init_pid: The sandbox's init process on the host.
        inside: The path as seen inside; a mount point, which nothing inside can move.
        folder: The folder on the host.
    """
    try:
        return os.path.samestat(os.stat(f"/proc/{init_pid}/root{inside}"), os.stat(folder))  # noqa: PTH116
    except OSError:
        return False


def _status_field(pid: int, field: bytes) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            data = file.read()
    except OSError:
        return []
    start = data.find(b"\n" + field)
    if start < 0:
        return []
    return data[start + 1 + len(field) : data.index(b"\n", start + 1)].split()


def stat_fields(pid: int) -> list[bytes]:
    """Fields of proc_pid_stat(5) from the third on; the second, in parentheses, may hold blanks. None once it ended.

    Args:
        pid: Id of a process on the host.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].split()
    except OSError:
        return []


def exec_roots(init_pid: int) -> list[int]:
    """Processes that somebody outside started in a sandbox and that still run: kernels, terminals, commands.

    They are the ones whose parent lives outside the sandbox's pid namespace, or is its main process (`inside/sandbox`).
    What they left running in the background has init as its parent, and does not count; nor does a spare kernel that
    nobody uses yet.

    Args:
        init_pid: The sandbox's init process on the host.
    """
    return [root for root, init in roots_of([init_pid]) if init == init_pid]


def inits_in_use(init_pids: list[int]) -> set[int]:
    """Which of several sandboxes somebody outside uses right now; one pass over the host's processes.

    Args:
        init_pids: Their init processes on the host.
    """
    return {init for _, init in roots_of(init_pids)} if init_pids else set()


def roots_of(init_pids: list[int]) -> Iterator[tuple[int, int]]:
    """Processes that somebody outside started in sandboxes and that still run, each with the init of its sandbox.

    Args:
        init_pids: The sandboxes' init processes on the host.
    """
    inits = {namespace: pid for pid in init_pids if (namespace := pid_namespace(pid)) is not None}
    if not inits:
        return
    for pid in all_pids():
        namespace = pid_namespace(pid)
        init = inits.get(namespace or "")
        if init is None or pid == init or not _is_root(pid, namespace, init):
            continue
        # One that ended counts no more, though its monitor waits for a reader before it reaps it.
        if _status_field(pid, b"State:")[:1] != [b"Z"] and not is_waiting(pid):
            yield pid, init


def _is_root(pid: int, namespace: str | None, init: int) -> bool:
    parent = parent_pid(pid)
    if pid_namespace(parent) != namespace:
        return True
    return parent != init and innermost_pid(parent) == _MAIN and parent_pid(parent) == init


def is_waiting(pid: int) -> bool:
    """Whether a process does nothing for anybody: a spare kernel, what is about to start, what is about to end.

    Args:
        pid: Its id on the host.
    """
    try:
        folder = os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115
    except FileNotFoundError:
        return True  # It is just ending, and has none any more.
    except OSError:
        return False
    return folder.startswith(_WAITING) or (folder == _LIBRARY and command_line(pid) == command_line(parent_pid(pid)))
