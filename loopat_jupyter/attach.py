"""A shell in a loop: how its process is described and started, and the program that waits with a person for it.

`python -m loopat_jupyter.attach LOOP_ID STEM` is what a terminal runs when its loop's sandbox is not known to run.
It makes the sandbox run, with one line that tells how far it is, says in plain words what went wrong if that fails,
and then becomes the very command that a terminal of a running sandbox starts with.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn, TextIO

import msgspec

from loopat_jupyter.errors import EngineUnavailableError, LoopatError
from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.plan import REPLACED, exec_argv, sandbox_workdir
from loopat_jupyter.sandbox.process import Stem
from loopat_jupyter.workspace.files import write_new

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord, Progress
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.config import Config

TERM_TYPE = "xterm-256color"
"""What xterm.js is."""

CANCELLED = 130
FAILED = 1

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


def waiting_argv(host_folder: Path, stem: Stem, loop_id: str, spec: ExecSpec) -> tuple[str, ...]:
    """The command that first makes the sandbox run. The program travels in a file: it may carry secrets.

    Args:
        host_folder: The loop's host-only runtime folder.
        stem: Fresh; the command prepares it.
        loop_id: The loop.
        spec: The program.

    Raises:
        StorageFullError: No space for the file.
    """
    host_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_new(order_file(host_folder, stem), msgspec.json.encode(spec))
    return (sys.executable, "-P", "-m", "loopat_jupyter.attach", loop_id, stem.name)


def order_file(host_folder: Path, stem: Stem) -> Path:
    """Where a waiting terminal finds the program that it is to run."""
    return host_folder / f"{stem.name}.json"


class Screen:
    """The one line that changes while a person waits.

    Args:
        out: The terminal.
    """

    def __init__(self, out: TextIO) -> None:
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

    def ask_again(self) -> bool:
        """Wait for a person to read a failure; whether to try again. Without a person, no."""
        if not sys.stdin.isatty():
            return False
        self._write("Press Enter to try again, or close this terminal. ")
        try:
            return bool(sys.stdin.readline())
        except KeyboardInterrupt:
            return False

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


async def attach(loops: LoopManager, record: LoopRecord, stem: Stem, spec: ExecSpec, screen: Screen) -> tuple[str, ...]:
    """Make the sandbox run and get the program ready.

    Args:
        loops: The loops.
        record: The loop.
        stem: Fresh.
        spec: The program.
        screen: Where the person looks.

    Returns:
        The command to become.

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
        screen.warn(REPLACED)
    if running.restart_needed:
        screen.warn("The settings of this loop have changed. Restart the loop when its work can end, to apply them.")
    argv = client_argv(loops.engine, running.name, stem, spec)
    equipped = await loops.vaults.equipped(record, spec)
    stem.prepare(with_notice(loops, record, equipped), loops.engine.proxies())
    return argv


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


async def _until_signalled(
    loops: LoopManager, record: LoopRecord, stem: Stem, spec: ExecSpec, screen: Screen
) -> tuple[str, ...] | None:
    """`attach`, called off by Ctrl-C and by the end of the terminal; podman's own processes end with it."""
    task = asyncio.ensure_future(attach(loops, record, stem, spec, screen))
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return None


def run(environ: Mapping[str, str], loop_id: str, stem_name: str) -> int:
    """Wait for the sandbox, then become its program; returns only when that cannot be.

    Args:
        environ: Usually `os.environ`.
        loop_id: The loop.
        stem_name: Names the program's files.
    """
    from loopat_jupyter.loops import LoopManager  # noqa: PLC0415 - a terminal of a running loop does without it

    screen = Screen(sys.stdout)
    spec: ExecSpec | None = None
    while True:
        try:
            loops = LoopManager.from_environment(environ)
            record = loops.store.read(loop_id)
            stem = Stem(loops.workspace.run(loop_id), stem_name)
            spec = spec or take_order(order_file(loops.workspace.host(loop_id), stem))
            argv = asyncio.run(_until_signalled(loops, record, stem, spec, screen))
        except LoopatError as error:
            screen.fail(error.message)
            if not screen.ask_again():
                return FAILED
            continue
        if argv is None:
            screen.clear()
            return CANCELLED
        become(argv, loops.engine.environment())


def take_order(file: Path) -> ExecSpec:
    """Read and remove the file that says which program to run."""
    spec = msgspec.json.decode(file.read_bytes(), type=ExecSpec)
    file.unlink()
    return spec


def become(argv: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by another program, which inherits the terminal."""
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)
    os.execve(argv[0], list(argv), dict(environment))  # noqa: S606


if __name__ == "__main__":
    sys.exit(run(os.environ, *sys.argv[1:]))
