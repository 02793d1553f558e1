"""`Podman`: the one place that runs podman, with a deadline, a limit on parallel calls and typed errors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import weakref
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from loopat_jupyter.deadlines import deadline, to_the_end
from loopat_jupyter.ending import end, exited
from loopat_jupyter.errors import EngineTimeoutError
from loopat_jupyter.sandbox.clients import PIPE_BUFFER_BYTES, collect
from loopat_jupyter.sandbox.environment import podman_environment
from loopat_jupyter.sandbox.failures import ending, failure, too_late, unavailable
from loopat_jupyter.sandbox.versions import read_version, too_old

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

DEFAULT_TIMEOUT_S = 60.0
_CHANGING = frozenset(("run", "start", "stop", "rm"))
"""Commands that leave a half-made or half-removed container when they are cut short; they take a moment."""

_FINISH_S = 20.0
"""How long such a command may take to end by itself after it was called off."""

_PROXIES = frozenset(("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"))
_MIGRATE_TIMEOUT_S = 60.0
"""`podman system migrate` waits ten seconds for each container that is dead without podman's knowledge."""

_LOST_NAMESPACE = "invalid internal status"
"""What podman says when the process that held its user namespace was killed, and every container with it."""

_LISTS = ("images", "ps")
_VANISHED = ("image not known", "no such container", "container not known", "does not exist in database")
"""What podman says of a list when something on it went while it was made: anybody's image, anybody's container."""

_LIST_ATTEMPTS = 5
_STDERR_KEPT = 4000


class Completed(NamedTuple):
    """A podman command that ended."""

    returncode: int
    stdout: bytes
    stderr: str


class Engine(Protocol):
    """What managers need of podman; tests record calls through it."""

    def argv(self, *arguments: str) -> tuple[str, ...]:
        """The whole command, for a process that a terminal starts."""
        ...

    def environment(self) -> dict[str, str]:
        """The environment for such a process."""
        ...

    async def run(
        self, *arguments: str, timeout_s: float = DEFAULT_TIMEOUT_S, ok: Sequence[int] = (0,), doing: str = ""
    ) -> Completed:
        """Run to the end."""
        ...

    def proxies(self) -> dict[str, str]:
        """The proxies of the host's environment."""
        ...

    def slot(self, timeout_s: float) -> contextlib.AbstractAsyncContextManager[None]:
        """One of the limited places for commands of podman."""
        ...

    def starting(self, where: Path, timeout_s: float) -> contextlib.AbstractAsyncContextManager[None]:
        """One of the limited places for starts in one sandbox."""
        ...

    async def close(self) -> None:
        """End what still runs."""
        ...

    def open(self, *arguments: str, stdin: bool) -> contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process]:
        """Start and hand over the process."""
        ...

    def attach(
        self, *arguments: str, stdin: bool, foreground: bool
    ) -> contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process]:
        """Start on the streams of this process and hand over the process."""
        ...


class Podman:
    """Runs podman.

    Args:
        binary: Name or path of the command.
        environ: The environment it runs in.
        parallel: How many commands run at once; the rest wait. Podman serialises on its own locks: `exec` takes
            40 times as long at 64 in parallel.
        grace_s: How long a command that was asked to end may take to do so before it is killed.
    """

    def __init__(self, binary: str, environ: Mapping[str, str], *, parallel: int = 4, grace_s: float = 3.0) -> None:
        self._binary = binary
        self._grace_s = grace_s
        self._environ = podman_environment(environ, os.getuid())
        self._slots = asyncio.Semaphore(parallel)
        self._places = max(1, parallel // 2)
        self._starts: weakref.WeakValueDictionary[Path, asyncio.Semaphore] = weakref.WeakValueDictionary()
        self._processes: weakref.WeakSet[asyncio.subprocess.Process] = weakref.WeakSet()
        self._creating: set[asyncio.Future[asyncio.subprocess.Process]] = set()
        self._closed = asyncio.Event()

    def argv(self, *arguments: str) -> tuple[str, ...]:
        """The whole command, for a process that a terminal starts."""
        return (self._binary, *arguments)

    def environment(self) -> dict[str, str]:
        """The environment for such a process."""
        return dict(self._environ)

    def proxies(self) -> dict[str, str]:
        """The proxies of the host's environment, for processes inside; they may hold passwords."""
        return {name: value for name, value in self._environ.items() if name.lower() in _PROXIES}

    def slot(self, timeout_s: float) -> contextlib.AbstractAsyncContextManager[None]:
        """One of the limited places for commands of podman, for one that is opened and has yet to start.

        Args:
            timeout_s: How long to wait for it.

        Raises:
            EngineTimeoutError: None came free in time.
        """
        return self._slot(("exec",), timeout_s, "start the command")

    def starting(self, where: Path, timeout_s: float) -> contextlib.AbstractAsyncContextManager[None]:
        """One of the limited places for starts in one sandbox.

        They are fewer than podman's: a sandbox in which starts take long, for whatever reason, keeps no other waiting.

        Args:
            where: The loop's runtime directory on the host.
            timeout_s: How long to wait for it.

        Raises:
            EngineTimeoutError: None came free in time.
        """
        refusal = EngineTimeoutError(
            f"Other commands of this loop kept it from its start for {timeout_s:g} s. "
            "Try again, or else recreate the loop."
        )
        return _place(self._starts.setdefault(where, asyncio.Semaphore(self._places)), timeout_s, refusal)

    def _slot(
        self, arguments: Sequence[str], timeout_s: float, doing: str = ""
    ) -> contextlib.AbstractAsyncContextManager[None]:
        return _place(self._slots, timeout_s, too_late(doing or arguments[0], timeout_s))

    async def run(
        self, *arguments: str, timeout_s: float = DEFAULT_TIMEOUT_S, ok: Sequence[int] = (0,), doing: str = ""
    ) -> Completed:
        """Run podman to the end.

        Args:
            arguments: Everything after `podman`. Never a secret: they are visible to every user of the machine.
            timeout_s: Deadline for the whole call, the wait for a free slot included: where four hanging commands
                hold all of them, a fifth must not wait for ever.
            ok: Exit codes that count as success.
            doing: What this is for, completing "Podman failed to …".

        Raises:
            EngineError: Podman ended with another code.
            EngineTimeoutError: The deadline passed; the process was ended.
            EngineUnavailableError: Podman cannot be run at all, or fails and is too old.
            StorageFullError: Podman found no space.
        """
        deadline_s = time.monotonic() + timeout_s
        async with self._slot(arguments, timeout_s, doing):
            try:
                answer = await self._complete(arguments, deadline_s)
                if answer.returncode and _LOST_NAMESPACE in answer.stderr:
                    # Nothing is left running then, so nothing ends by it.
                    await self._complete(("system", "migrate"), time.monotonic() + _MIGRATE_TIMEOUT_S)
                    answer = await self._complete(arguments, time.monotonic() + timeout_s)
                for _ in range(_LIST_ATTEMPTS - 1):
                    if _is_overtaken(arguments, answer):
                        answer = await self._complete(arguments, deadline_s)
                if answer.returncode not in ok:
                    await self._check_age(deadline_s)
            except TimeoutError:
                raise too_late(doing or arguments[0], timeout_s) from None
        if answer.returncode not in ok:
            raise failure(self.argv(*arguments), answer.returncode, answer.stderr, doing)
        return answer

    async def _check_age(self, deadline_s: float) -> None:
        """Of a podman that is too old, that is what to tell, whatever it says itself, if there is time to ask."""
        with contextlib.suppress(TimeoutError):
            told = await self._complete(("version", "--format=json"), deadline_s)
            if problem := too_old(read_version(told.stdout)):
                raise unavailable(f"Podman cannot be used: its {problem}.")

    async def close(self) -> None:
        """End every command that still runs, after a moment to end by itself: the server is going.

        Nobody is left to call off a command that hangs, and it would outlive the server.
        """
        self._closed.set()
        if self._creating:
            # An event loop that ends meanwhile would wait for ever.
            await asyncio.wait(self._creating, timeout=self._grace_s)
        living = [process for process in self._processes if process.returncode is None]
        await asyncio.gather(*(exited(process, self._grace_s) for process in living))
        await asyncio.gather(*(end(process, self._grace_s) for process in living))

    async def _complete(self, arguments: Sequence[str], deadline_s: float) -> Completed:
        """Run to the end; `deadline_s` on the monotonic clock. Raises TimeoutError once the process was ended."""
        process = await self._spawn(arguments, stdin=False)
        talking = asyncio.ensure_future(collect(process))
        try:
            async with deadline(deadline_s - time.monotonic()):
                stdout, stderr = await asyncio.shield(talking)
        except asyncio.CancelledError:
            if arguments[0] in _CHANGING:
                await asyncio.wait({talking}, timeout=_FINISH_S)
            raise
        finally:
            talking.cancel()
            await to_the_end(end(process, self._grace_s))
            await asyncio.gather(talking, return_exceptions=True)
        told = stderr.decode("utf-8", "replace").strip()[-_STDERR_KEPT:]
        return Completed(cast("int", process.returncode), stdout, told)

    @contextlib.asynccontextmanager
    async def open(self, *arguments: str, stdin: bool) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start podman with pipes and hand over the process; it is ended when the block ends.

        Args:
            arguments: Everything after `podman`.
            stdin: Whether standard input is a pipe; else it is empty.

        Raises:
            EngineUnavailableError: Podman cannot be run at all.
        """
        process = await self._spawn(arguments, stdin=stdin)
        try:
            yield process
        finally:
            await end(process, self._grace_s)

    @contextlib.asynccontextmanager
    async def attach(self, *arguments: str, stdin: bool, foreground: bool) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start podman on the streams of this very process and hand it over; it is ended when the block ends.

        Nothing is copied here: what is piped through may be of any size and hold any bytes.

        Args:
            arguments: Everything after `podman`.
            stdin: Whether it gets this process's standard input; else it is empty.
            foreground: Stay in the terminal's foreground group, as an interactive program must. Otherwise keys such
                as Ctrl-C reach this process alone.

        Raises:
            EngineUnavailableError: Podman cannot be run at all.
        """
        streams = (None if stdin else asyncio.subprocess.DEVNULL, None, None)
        process = await self._start(arguments, streams, new_session=not foreground)
        try:
            yield process
        finally:
            await end(process, self._grace_s)

    async def _spawn(self, arguments: Sequence[str], *, stdin: bool) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await self._start(
            arguments, (pipe if stdin else asyncio.subprocess.DEVNULL, pipe, pipe), new_session=True
        )

    async def _start(
        self, arguments: Sequence[str], streams: tuple[int | None, ...], *, new_session: bool
    ) -> asyncio.subprocess.Process:
        if self._closed.is_set():
            raise ending()
        stdin, stdout, stderr = streams
        try:
            creating = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    self._binary,
                    *arguments,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    env=self._environ,
                    cwd="/",
                    limit=PIPE_BUFFER_BYTES,
                    start_new_session=new_session,
                )
            )
            process = await self._created(creating, _FINISH_S if arguments[0] in _CHANGING else 0.0)
        except FileNotFoundError:
            raise unavailable(f"There is no command {self._binary!r}.") from None
        except PermissionError:
            raise unavailable(f"{self._binary!r} may not be executed.") from None
        except OSError as error:
            raise unavailable(f"{self._binary!r} cannot be run: {error}.") from error
        if self._closed.is_set():
            # It was being started while everything else was ended.
            await end(process, self._grace_s)
            raise ending()
        self._processes.add(process)
        return process

    async def _created(
        self, creating: asyncio.Future[asyncio.subprocess.Process], finish_s: float
    ) -> asyncio.subprocess.Process:
        """A process once it is there. Whoever is called off before that ends it first: asyncio would wait for ever.

        Args:
            creating: The process.
            finish_s: How long it then has to end by itself.
        """
        self._creating.add(creating)
        creating.add_done_callback(self._creating.discard)
        try:
            return await to_the_end(creating)
        except asyncio.CancelledError:
            if not creating.cancelled() and creating.exception() is None:
                await to_the_end(self._left_to_end(creating.result(), finish_s))
            raise

    async def _left_to_end(self, process: asyncio.subprocess.Process, finish_s: float) -> None:
        await exited(process, finish_s)
        await end(process, self._grace_s)


@contextlib.asynccontextmanager
async def _place(places: asyncio.Semaphore, timeout_s: float, refusal: EngineTimeoutError) -> AsyncIterator[None]:
    """One of so many places, or the refusal."""
    try:
        async with deadline(timeout_s):
            await places.acquire()
    except TimeoutError:
        raise refusal from None
    try:
        yield
    finally:
        places.release()


def _is_overtaken(arguments: Sequence[str], answer: Completed) -> bool:
    """Whether a list failed because something on it went meanwhile."""
    if not answer.returncode or arguments[0] not in _LISTS:
        return False
    return any(words in answer.stderr for words in _VANISHED)
