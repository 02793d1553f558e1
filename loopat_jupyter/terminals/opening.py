"""How a terminal of a loop opens: the sandbox is made to run while a person watches, then the program starts in it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.attach import Screen, bring_up, client_argv, with_notice
from loopat_jupyter.deadlines import until_next_look_s
from loopat_jupyter.errors import EngineError, LoopatError, NotFoundError
from loopat_jupyter.sandbox.entrance import begin, begun, has_python
from loopat_jupyter.sandbox.execution import FIND_TIMEOUT_S
from loopat_jupyter.sandbox.owners import own, release
from loopat_jupyter.sandbox.plan import HOLDER_PYTHON
from loopat_jupyter.sandbox.sockets import connect

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import ExecSpec
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.sandbox.process import Stem
    from loopat_jupyter.terminals.terminal import LoopTerminal

_HOLDER_TIMEOUT_S = 10.0


async def open_terminal(
    loops: LoopManager, terminal: LoopTerminal, spec: ExecSpec, on_open: Callable[[], None]
) -> None:
    """Make the loop's sandbox run, and the program in it; a person may try again after a failure.

    Returns as well when the loop was deleted: the terminal has no program then.

    Args:
        loops: The loops.
        terminal: Where it shows.
        spec: The program.
        on_open: Told once the terminal can be read.
    """
    screen = Screen(terminal)
    while True:
        try:
            await _open(loops, terminal, spec, screen, on_open)
        except (LoopatError, FileNotFoundError) as error:
            if _deleted(loops, terminal.loop_id):
                screen.fail("The loop was deleted, and this terminal ends with it.")
                return
            if not isinstance(error, LoopatError):
                raise
            screen.fail(error.message)
            screen.offer_again()
            await terminal.ask_again()
        else:
            return


def _deleted(loops: LoopManager, loop_id: str) -> bool:
    try:
        loops.store.read(loop_id)
    except NotFoundError:
        return True
    except LoopatError:
        return False
    return False


async def _open(
    loops: LoopManager, terminal: LoopTerminal, spec: ExecSpec, screen: Screen, on_open: Callable[[], None]
) -> None:
    record = loops.store.read(terminal.loop_id)
    running = loops.known(record)
    if running is None:
        running = await bring_up(loops, record, screen)
    else:
        loops.store.touch(record.id)
    spec = with_notice(loops, record, await loops.vaults.equipped(record, spec))
    if not _can_hold(loops, running):
        terminal.stem.prepare(spec, loops.engine.proxies())
        argv = client_argv(loops.engine, running.name, terminal.stem, spec)
        terminal.show(argv, {**loops.engine.environment(), "TERM": spec.env["TERM"]})
        on_open()
        return
    held = msgspec.structs.replace(spec, detach=True, size=terminal.ptyproc.getwinsize())

    def runs() -> bool:
        stamp = loops.sandboxes.state_files(record.id).running()
        return stamp is not None and stamp.pid == running.init_pid

    async with _started(loops.engine, running, terminal.stem, held, runs) as (connection, starting):
        terminal.hold(connection)
        on_open()
        # It runs, whatever podman says now.
        with contextlib.suppress(LoopatError):
            terminal.exec_session = await starting
            begun(terminal.stem)


def _can_hold(loops: LoopManager, running: Running) -> bool:
    """Whether host and sandbox share sockets, and there is what the holder needs."""
    return loops.config.kernels.transport == "ipc" and has_python(running.init_pid)


@contextlib.asynccontextmanager
async def _started(
    engine: Engine, running: Running, stem: Stem, spec: ExecSpec, runs: Callable[[], bool]
) -> AsyncIterator[tuple[socket.socket, asyncio.Future[str]]]:
    """Start a held terminal and hand over the connection to it, and the name of podman's record, which needs longer.

    Args:
        engine: Runs podman.
        running: The sandbox.
        stem: The terminal's files.
        spec: The program.
        runs: Whether the sandbox still does.

    Raises:
        EngineError: Podman could not start it, or the sandbox ended.
        EngineTimeoutError: Podman took too long.
        StorageFullError: No space for its files.
    """
    stem.remove()
    # Until it is written down for the next server, it is to end with this one.
    own(stem)
    try:
        stem.prepare(spec, engine.proxies())
        starting = asyncio.ensure_future(
            begin(engine, running, stem, spec, timeout_s=FIND_TIMEOUT_S, doing="start a terminal in the sandbox")
        )
        try:
            yield await _connected(starting, stem, runs), starting
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
    except BaseException:
        release(stem)
        raise


async def _connected(starting: asyncio.Future[str], stem: Stem, runs: Callable[[], bool]) -> socket.socket:
    began_s = time.monotonic()
    deadline_s = began_s + FIND_TIMEOUT_S + _HOLDER_TIMEOUT_S
    while (connection := connect(stem.socket())) is None:
        if starting.done():
            if not runs():
                raise EngineError("The loop was stopped while this terminal opened.")
            starting.result()
            deadline_s = min(deadline_s, time.monotonic() + _HOLDER_TIMEOUT_S)
            await asyncio.sleep(until_next_look_s(time.monotonic() - began_s))
        else:
            await asyncio.wait({starting}, timeout=until_next_look_s(time.monotonic() - began_s))
        if time.monotonic() > deadline_s:
            raise EngineError(
                f"The terminal opened no socket within {_HOLDER_TIMEOUT_S:.0f} s. "
                f"Is {HOLDER_PYTHON} of the sandbox in order?"
            )
    return connection
