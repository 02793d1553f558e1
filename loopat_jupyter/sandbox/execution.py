"""Commands in a running sandbox: detached and watched (kernels), or attached with streams (exec calls)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from loopat_jupyter.deadlines import deadline, to_the_end
from loopat_jupyter.errors import BadInputError, EngineError, EngineTimeoutError
from loopat_jupyter.sandbox.entrance import attach, begin, begun
from loopat_jupyter.sandbox.failures import lower_limit
from loopat_jupyter.sandbox.owners import end_orphans, owned
from loopat_jupyter.sandbox.plan import exec_argv
from loopat_jupyter.sandbox.process import HostProcess, Stem, find_process, find_started, stat_fields
from loopat_jupyter.sandbox.session import end_members
from loopat_jupyter.sandbox.streams import Output, TimeLeft, pump
from loopat_jupyter.sandbox.through import copy_through
from loopat_jupyter.sandbox.trees import end_tree

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from loopat_jupyter.models import ExecSpec
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.sandbox.pipes import Pipes
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.sandbox.streams import Client

FIND_TIMEOUT_S = 20.0
"""How long a process may take from the request to its first instruction on a machine under load."""

_LOOK_S = 0.002
_KILLED = 128 + signal.SIGKILL
_NOT_STARTED = 125
"""The exit code of `inside/launch` where there is no such folder."""
_FLAGS, _PF_EXITING = 6, 0x4
"""Field 9 of proc_pid_stat(5), as `stat_fields` counts, and what it says of a process that is ending."""


class NotRunError(EngineError):
    """A command could not be run at all: nothing of it has happened."""


class Exit(NamedTuple):
    """A command's own exit code."""

    exit_code: int


ExecEvent: TypeAlias = Output | Exit


class Detached(NamedTuple):
    """A process that runs without a client.

    Attributes:
        stem: Its files: log, pid.
        process: The process on the host; None when it had ended before it could be found.
    """

    stem: Stem
    process: HostProcess | None


async def start_detached(engine: Engine, running: Running, stem: Stem, spec: ExecSpec) -> Detached:
    """Start a process that outlives this one.

    Args:
        engine: Runs podman.
        running: The sandbox.
        stem: Fresh; `spec` decides which of its files are written.
        spec: The process, with `detach` set.

    Raises:
        EngineError: Podman could not start it.
        EngineTimeoutError: It did not start in time.
        StorageFullError: No space for its files.
    """
    stem.prepare(spec, engine.proxies())
    client = asyncio.ensure_future(
        begin(engine, running, stem, spec, timeout_s=FIND_TIMEOUT_S, doing="start a process in the sandbox")
    )
    finder = asyncio.ensure_future(find_started(stem, running.init_pid, timeout_s=FIND_TIMEOUT_S))
    try:
        # The process is usually there before its client has ended, and nobody needs to wait for that.
        await asyncio.wait((client, finder), return_when=asyncio.FIRST_COMPLETED)
        if not finder.done() or finder.result() is None:
            await client
        process = await finder
        await client
    except BaseException:
        for task in (client, finder):
            task.cancel()
        _, found = await asyncio.gather(client, finder, return_exceptions=True)
        if isinstance(found, HostProcess):
            await end_tree(found)
        else:
            # It may have started although nobody has seen it yet.
            await _end_inside(stem, running.init_pid, spec)
        stem.remove()
        raise
    begun(stem)
    return Detached(stem, process)


async def run_attached(
    engine: Engine, running: Running, run_folder: Path, spec: ExecSpec, *, stdin: bytes, timeout_s: float | None
) -> AsyncGenerator[ExecEvent, None]:
    """Run a command and yield what it writes, then its exit code.

    Reading slowly slows the command down; nothing piles up here. Leaving the iteration early ends the command and
    everything it started.

    Args:
        engine: Runs podman.
        running: The sandbox.
        run_folder: The loop's runtime directory on the host.
        spec: The command; `interactive` when there is standard input.
        stdin: Standard input.
        timeout_s: Deadline; None for none.

    Raises:
        BadInputError: There is no such working directory.
        EngineError: It could not be run; a command's own failure is its exit code.
        EngineTimeoutError: It did not start in time.
        StorageFullError: No space for its files.
        TimeoutError: The deadline passed; the command was ended.
    """
    await end_orphans(run_folder, running.init_pid)
    stem = Stem.new(run_folder, "x")
    ending = _Ending(stem, running.init_pid, spec)
    ownership = contextlib.ExitStack()
    ownership.enter_context(owned(stem))
    try:
        stem.prepare(spec, engine.proxies())
        async with contextlib.AsyncExitStack() as stack:
            async with engine.starting(run_folder, FIND_TIMEOUT_S):
                client: Client | None = await _attached(stack, stem, running, spec)
                if client is None:
                    async with engine.slot(FIND_TIMEOUT_S):
                        opening = engine.open(*exec_argv(running.name, spec, stem.name), stdin=bool(stdin))
                        client = await _opened(stack, opening, stem, running, spec)
            try:
                # No timeout is held across a yield: it would strike whatever the consumer is doing (PEP 789).
                time_left = TimeLeft(timeout_s)
                # And none is missed while the consumer does not ask for more.
                stack.callback(ending.begin_after(timeout_s))
                async with contextlib.aclosing(pump(client, stdin, time_left)) as outputs:
                    async for output in outputs:
                        yield output
                async with deadline(time_left.left_s()):
                    exit_code = await client.wait()
                too_late = ending.begun
            finally:
                if client.returncode is None or client.returncode < 0 or ending.begun:
                    await to_the_end(ending.begin())
        if too_late:
            raise TimeoutError
        exit_code = _killed_with_sandbox(exit_code, running)
        if exit_code:
            _check_run(spec, running, stem, exit_code)
        yield Exit(exit_code)
    finally:
        stem.remove()
        ownership.close()


async def run_inherited(
    engine: Engine, running: Running, run_folder: Path, spec: ExecSpec, *, timeout_s: float | None = None
) -> int:
    """Run a command on the streams of this very process: what a person typed at a prompt, or piped.

    Args:
        engine: Runs podman.
        running: The sandbox.
        run_folder: The loop's runtime directory on the host.
        spec: The command; `interactive` forwards standard input, `tty` makes it a program of this terminal.
        timeout_s: Deadline; None for none.

    Returns:
        The command's own exit code; 128 and the signal's number when its client was ended by a signal, as happens
        when nobody reads its output any more.

    Raises:
        BadInputError: There is no such working directory.
        EngineError: It could not be run.
        EngineTimeoutError: It did not start in time.
        StorageFullError: No space for its files.
        TimeoutError: The deadline passed; the command was ended.
    """
    await end_orphans(run_folder, running.init_pid)
    stem = Stem.new(run_folder, "t" if spec.tty else "x")
    ownership = contextlib.ExitStack()
    ownership.enter_context(owned(stem))
    try:
        stem.prepare(spec, engine.proxies())
        async with contextlib.AsyncExitStack() as stack:
            pipes = None if spec.tty else await _attached(stack, stem, running, spec)
            if pipes is None:
                arguments = exec_argv(running.name, spec, stem.name)
                opening = engine.attach(*arguments, stdin=spec.interactive, foreground=spec.tty)
                client: Client = await _opened(stack, opening, stem, running, spec)
            else:
                client = pipes
            try:
                async with deadline(timeout_s):
                    exit_code = await (client.wait() if pipes is None else copy_through(pipes))
            finally:
                if client.returncode is None or client.returncode < 0:
                    await _end_inside(stem, running.init_pid, spec)
        exit_code = _killed_with_sandbox(exit_code, running)
        if exit_code > 0 or (pipes is not None and exit_code == -signal.SIGKILL):
            _check_run(spec, running, stem, exit_code)
        return exit_code if exit_code >= 0 else 128 - exit_code
    finally:
        stem.remove()
        ownership.close()


async def _attached(stack: contextlib.AsyncExitStack, stem: Stem, running: Running, spec: ExecSpec) -> Pipes | None:
    """The pipes of a command that has started at the entrance, closed with `stack`; None where nobody takes it."""
    try:
        pipes = await attach(running, stem, spec)
        if pipes is None:
            return None
        stack.push_async_callback(pipes.end)
        async with deadline(FIND_TIMEOUT_S):
            has_begun = await pipes.begin(running.init_pid)
    except (asyncio.CancelledError, TimeoutError) as error:
        await _end_inside(stem, running.init_pid, spec)
        if isinstance(error, TimeoutError):
            raise EngineTimeoutError(
                f"The command did not start within {FIND_TIMEOUT_S:g} s. Try again, or else recreate the loop."
            ) from None
        raise
    begun(stem)
    if not has_begun:
        # As with a Python that does not run. Nothing of the command has happened; podman may do better.
        with stem.writing():
            stem.file("pid").unlink(missing_ok=True)
        return None
    return pipes


async def _opened(
    stack: contextlib.AsyncExitStack,
    opening: contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process],
    stem: Stem,
    running: Running,
    spec: ExecSpec,
) -> asyncio.subprocess.Process:
    """The client of a command that has started, or that podman gave up; ended with `stack`.

    Called off meanwhile, or too late, the command ends as well: podman may have started it all the same.
    """
    try:
        client = await stack.enter_async_context(opening)
        await _wait_for_start(stem, client)
    except (asyncio.CancelledError, EngineTimeoutError):
        await _end_inside(stem, running.init_pid, spec)
        raise
    return client


async def _wait_for_start(stem: Stem, client: asyncio.subprocess.Process) -> None:
    """Return once the launcher runs or podman has given up: podman itself must not hang for ever."""
    time_left = TimeLeft(FIND_TIMEOUT_S)
    ended = asyncio.ensure_future(client.wait())
    try:
        while stem.pid_inside() is None and not ended.done():
            await asyncio.wait({ended}, timeout=min(_LOOK_S, time_left.left_s() or _LOOK_S))
    except TimeoutError:
        raise EngineTimeoutError(
            f"Podman did not start the command within {FIND_TIMEOUT_S:g} s. "
            "Look for a stuck podman process (`ps -C podman`), end it, and try again."
        ) from None
    finally:
        ended.cancel()


def _killed_with_sandbox(exit_code: int, running: Running) -> int:
    """The exit code; that of a killed process where all of the sandbox ended, and with it whoever saw the end."""
    fields = stat_fields(running.init_pid)
    is_ending = not fields or int(fields[_FLAGS]) & _PF_EXITING
    return _KILLED if exit_code < 0 and is_ending else exit_code


def _check_run(spec: ExecSpec, running: Running, stem: Stem, exit_code: int) -> None:
    """Tell a command that failed from one that never ran, or whose end nobody saw.

    Raises:
        BadInputError: There is no such working directory.
        EngineError: It could not be run, or what waited for its end was killed.
    """
    if exit_code < 0:
        raise EngineError(
            f"What ran {spec.argv[0]!r} and waited for it was ended by signal {-exit_code}, and the command with it. "
            "Run it again.",
            returncode=exit_code,
        )
    if exit_code == _NOT_STARTED and stem.file("nodir").is_file():
        raise BadInputError("cwd", f"there is no folder {(spec.cwd or '')[:200]!r} in the loop")
    if stem.pid_inside() is None and exit_code != _KILLED:
        raise _not_run(spec, running)


def _not_run(spec: ExecSpec, running: Running) -> NotRunError:
    failed = f"{spec.argv[0]!r} could not run in {running.name}, and nothing of it has happened"
    limit = lower_limit(running.init_pid)
    return NotRunError(f"{failed}: {limit}" if limit else f"{failed}. Start the loop again.")


async def _end_inside(stem: Stem, init_pid: int, spec: ExecSpec) -> None:
    """End a command whose client is about to go: the client alone would leave it running, or start it later."""
    stem.call_off()
    pid_inside = stem.pid_inside()
    process = None if pid_inside is None else await asyncio.to_thread(find_process, init_pid, pid_inside)
    if process is None:
        return
    if spec.tty:
        process.close()
        await end_members(stem, init_pid)
    else:
        await end_tree(process)


class _Ending:
    """The end of a command, the same one for all who want it.

    Whoever began a second one would find the command gone, and nothing of what had lost its parent by then: so that
    would be neither waited for nor ended.
    """

    def __init__(self, stem: Stem, init_pid: int, spec: ExecSpec) -> None:
        self._whose = (stem, init_pid, spec)
        self._task: asyncio.Task[None] | None = None

    @property
    def begun(self) -> bool:
        """Whether somebody wants it."""
        return self._task is not None

    def begin(self) -> asyncio.Task[None]:
        """Begin it, unless it has begun."""
        if self._task is None:
            self._task = asyncio.ensure_future(_end_inside(*self._whose))
        return self._task

    def begin_after(self, timeout_s: float | None) -> Callable[[], None]:
        """Begin it at a deadline, whoever reads the command's output or does not; what is returned takes that back."""
        if timeout_s is None:
            return lambda: None
        return asyncio.get_running_loop().call_later(timeout_s, self.begin).cancel
