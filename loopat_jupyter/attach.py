"""A shell in a loop: how its process is described and started, and what a person sees who waits for its sandbox."""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from loopat_jupyter.errors import EngineUnavailableError
from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.plan import exec_argv, sandbox_workdir

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord, Progress
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.sandbox.process import Stem
    from loopat_jupyter.workspace.config import Config

TERM_TYPE = "xterm-256color"
"""What xterm.js is."""

_CLEAR_LINE = "\r\x1b[2K"
_RED, _YELLOW, _DIM, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
_TICK_S = 1.0


def shell_spec(
    config: Config,
    loop_id: str,
    *,
    cwd: str | None = None,
    argv: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    term: str = TERM_TYPE,
) -> ExecSpec:
    """An interactive shell, or another program, on a terminal in a loop.

    Args:
        config: The workspace's settings.
        loop_id: The loop.
        cwd: Folder inside; None means the loop's workdir.
        argv: The program and its arguments; empty means the configured shell.
        env: More variables for it.
        term: Kind of terminal that shows it.
    """
    return ExecSpec(
        argv=tuple(argv) or (config.shell,),
        cwd=cwd or sandbox_workdir(loop_id),
        # bash shortens the folder in its prompt to this many names; the loop's own path is long.
        env={"TERM": term, "COLORTERM": "truecolor", "PROMPT_DIRTRIM": "2", **(env or {})},
        tty=True,
        interactive=True,
    )


def client_argv(engine: Engine, container: str, stem: Stem, spec: ExecSpec) -> tuple[str, ...]:
    """The command that runs a program of a running sandbox on the present terminal.

    Args:
        engine: Runs podman.
        container: Name of the sandbox's container.
        stem: Fresh; prepare it with the same `spec` right before the command starts.
        spec: The program.

    Raises:
        EngineUnavailableError: There is no such command.
    """
    argv = engine.argv(*exec_argv(container, spec, stem.name))
    binary = shutil.which(argv[0], path=engine.environment().get("PATH"))
    if binary is None:
        raise EngineUnavailableError(
            f"There is no command {argv[0]!r}. Run `jupyter loopat doctor` to see what is missing."
        )
    return (binary, *argv[1:])


class Writable(Protocol):
    """A terminal, as much of it as is needed here."""

    def write(self, text: str, /) -> object:
        """Show text."""
        ...

    def flush(self) -> None:
        """Show it at once."""
        ...


class Screen:
    """The one line that changes while a person waits.

    Args:
        out: The terminal.
    """

    def __init__(self, out: Writable) -> None:
        self._out = out
        self._text = ""
        self._since_s = time.monotonic()

    def progress(self, progress: Progress) -> None:
        """Show a step of long work."""
        if str(progress) != self._text:
            self._text = str(progress)
            self._since_s = time.monotonic()
        self.draw()

    def draw(self) -> None:
        """Show the present step again, with the time it has taken."""
        passed_s = int(time.monotonic() - self._since_s)
        clock = f" {_DIM}{passed_s} s{_PLAIN}" if passed_s else ""
        if self._text:
            self._write(f"{_CLEAR_LINE}{self._text} …{clock}")

    def clear(self) -> None:
        """Leave a clean line for the first prompt."""
        self._text = ""
        self._write(_CLEAR_LINE)

    def warn(self, text: str) -> None:
        """A line that stays."""
        self._write(f"{_CLEAR_LINE}{_YELLOW}{text}{_PLAIN}\n")

    def fail(self, text: str) -> None:
        """A failure that stays."""
        self._write(f"{_CLEAR_LINE}{_RED}{text}{_PLAIN}\n")

    def offer_again(self) -> None:
        """Say how to go on after a failure."""
        self._write("Press Enter to try again, or close this terminal. ")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


async def bring_up(loops: LoopManager, record: LoopRecord, screen: Screen) -> Running:
    """Make the sandbox run, telling a person how far it is.

    Args:
        loops: The loops.
        record: The loop.
        screen: Where the person looks.

    Raises:
        LoopatError: It cannot be done; the message says what to do.
    """
    ticker = asyncio.ensure_future(_tick(screen))
    try:
        running = await loops.start(record, screen.progress)
    finally:
        ticker.cancel()
    screen.clear()
    if running.replaced:
        screen.warn(running.replaced)
    if running.restart_needed:
        screen.warn("The settings of this loop have changed. Recreate the loop when its work can end, to apply them.")
    return running


def with_notice(loops: LoopManager, record: LoopRecord, spec: ExecSpec) -> ExecSpec:
    """The program, with what a person should know of the loop before its first prompt.

    Args:
        loops: The loops.
        record: The loop.
        spec: The program.
    """
    return msgspec.structs.replace(spec, notice=loops.toolchains.problem(record))


async def _tick(screen: Screen) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        screen.draw()
