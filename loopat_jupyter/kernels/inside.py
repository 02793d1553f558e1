"""A kernel's process: seen by the host, or reached through podman where the host cannot see it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Protocol

from loopat_jupyter.errors import LoopatError
from loopat_jupyter.sandbox.facts import find_container
from loopat_jupyter.sandbox.process import all_pids, pid_namespace
from loopat_jupyter.sandbox.trees import signal_tree

if TYPE_CHECKING:
    from loopat_jupyter.sandbox.podman import Completed, Engine
    from loopat_jupyter.sandbox.process import HostProcess, Stem

_OF_KILL = (0, 1)
"""What `kill` itself ends with."""

POLL_S = 0.5
"""Pause between two looks at a process that the host cannot see; each one is a podman call."""


class InsideProcess(Protocol):
    """A process inside, whatever it takes to reach it."""

    @property
    def pid(self) -> int:
        """Its id on the host; 0 when the host cannot see it."""
        ...

    async def alive(self) -> bool:
        """Whether it still runs."""
        ...

    async def wait(self) -> None:
        """Return when it has ended."""
        ...

    async def signal_group(self, signum: int) -> None:
        """Send a signal to it and to what it started in the foreground."""
        ...

    async def signal_tree(self, signum: int) -> None:
        """Send a signal to it, to all its descendants and to all processes of its session."""
        ...

    def close(self) -> None:
        """Let go of it. It goes on."""
        ...


class SeenProcess:
    """A process that the host sees.

    Args:
        process: It; owned by this object.
    """

    def __init__(self, process: HostProcess) -> None:
        self._process = process
        self._namespace = pid_namespace(process.pid)
        self.pid = process.pid

    async def alive(self) -> bool:
        """Whether it still runs; one system call."""
        return self._process.alive

    async def wait(self) -> None:
        """Return when it has ended; the kernel of the host tells."""
        await self._process.wait()

    async def signal_group(self, signum: int) -> None:
        """Send a signal to its process group."""
        self._process.signal_group(signum)

    async def signal_tree(self, signum: int) -> None:
        """Send a signal to every descendant and to it, and to its session, which outlives a killed kernel."""
        await signal_tree(self._process, signum)
        await asyncio.to_thread(self._signal_session, signum)

    def _signal_session(self, signum: int) -> None:
        for pid in all_pids() if self._namespace else ():
            # Gone, or of root inside.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) == self.pid and pid_namespace(pid) == self._namespace:
                    os.kill(pid, signum)

    def close(self) -> None:
        """Give the pidfd back."""
        self._process.close()


class ExecProcess:
    """A process that the host cannot see, as with a remote engine: everything goes through podman.

    Args:
        engine: Runs podman.
        container: Name of the sandbox.
        pid_inside: The id as seen inside.
    """

    pid = 0

    def __init__(self, engine: Engine, container: str, pid_inside: int) -> None:
        self._engine = engine
        self._container = container
        self._pid_inside = pid_inside

    @classmethod
    async def find(cls, engine: Engine, container: str, stem: Stem) -> ExecProcess | None:
        """The process that a launcher started.

        Args:
            engine: Runs podman.
            container: Name of the sandbox.
            stem: Its files.

        Returns:
            The process, or None when it does not run.
        """
        pid_inside = stem.pid_inside()
        if pid_inside is None:
            return None
        found = cls(engine, container, pid_inside)
        return found if await found.alive() else None

    async def alive(self) -> bool:
        """Whether it still runs; one podman call. That podman is out of reach for a while ends no process."""
        try:
            answer = await self._kill("-0", str(self._pid_inside))
            if answer.returncode not in _OF_KILL:
                # Podman's own failure: the sandbox may have ended, and the process with it.
                facts = await find_container(self._engine, self._container)
                return facts is not None and facts.running
        except LoopatError:
            return True
        return answer.returncode == 0

    async def wait(self) -> None:
        """Return when it has ended; looks every half second."""
        # Nothing tells: the process is out of sight.
        while await self.alive():  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)

    async def signal_group(self, signum: int) -> None:
        """Send a signal to its process group, which it leads."""
        await self._kill(f"-{signum}", "--", f"-{self._pid_inside}")

    async def signal_tree(self, signum: int) -> None:
        """Send a signal to it and to all its descendants, in one go."""
        answer = await self._inside("ps", "-e", "-o", "pid=,ppid=,sess=")
        pids = family(answer.stdout.decode("ascii", "replace"), self._pid_inside)
        await self._kill(f"-{signum}", "--", *map(str, reversed(pids)))

    def close(self) -> None:
        """Nothing to give back."""

    async def _kill(self, *arguments: str) -> Completed:
        return await self._inside("kill", *arguments)

    async def _inside(self, *argv: str) -> Completed:
        return await self._engine.run(
            "exec", self._container, *argv, ok=range(256), doing="reach a process in the sandbox"
        )


def family(table: str, pid: int) -> list[int]:
    """A process, its descendants and the members of its session, parents first.

    Args:
        table: Lines of process id, parent's id and session id, as `ps` prints them.
        pid: The process.
    """
    rows = [(int(own), int(parent), int(session)) for own, parent, session in map(str.split, table.splitlines())]
    found = [pid]
    for ancestor in found:
        found += [own for own, parent, _ in rows if parent == ancestor and own not in found]
    return found + [own for own, _, session in rows if session == pid and own not in found]
