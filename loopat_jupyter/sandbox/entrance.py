"""The entrance of a sandbox: how its main process (`inside/sandbox`) is asked to start something.

That takes a few milliseconds; `podman exec` takes a hundred. Where nobody answers at the entrance (a container
that was made before there was one, a main process that was stopped, an engine on another machine), podman starts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING

from loopat_jupyter.deadlines import until_next_look_s
from loopat_jupyter.sandbox.pipes import Pipes
from loopat_jupyter.sandbox.plan import ATTACH, HOLDER_PYTHON, SPARE_FOLDER, UNMASK, exec_argv, started_command
from loopat_jupyter.workspace.files import write_new

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.models import ExecSpec
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.sandbox.process import Stem

ENTRANCE = "starts"
"""The FIFO in a loop's runtime directory; `inside/sandbox` names it, too."""

PATIENCE_S = 3.0
"""How long the main process may take to answer: far more than it needs on a machine under load."""


def make_entrance(run_folder: Path) -> None:
    """Make the entrance of a sandbox that is about to start.

    Args:
        run_folder: The loop's runtime directory, empty.
    """
    # On a file system that has no pipes, podman starts everything.
    with contextlib.suppress(OSError):
        os.mkfifo(run_folder / ENTRANCE, 0o600)


async def begin(
    engine: Engine,
    running: Running,
    stem: Stem,
    spec: ExecSpec,
    *,
    timeout_s: float,
    doing: str,
    patience_s: float = PATIENCE_S,
) -> str:
    """Have something start in a sandbox, and not wait for it.

    Args:
        engine: Runs podman.
        running: The sandbox.
        stem: Its files, prepared.
        spec: What is to start, with `detach` set.
        timeout_s: How long podman may take, if it is needed.
        doing: What for, for people.
        patience_s: How long the main process may take to answer.

    Returns:
        The name of podman's record of it; empty if podman knows nothing of it.

    Raises:
        EngineError: Podman could not start it.
        EngineTimeoutError: It took too long.
        StorageFullError: No space for its files.
    """
    # What holds a terminal sees to signals by itself.
    starter = () if spec.tty else (UNMASK,)
    begin_in = SPARE_FOLDER if spec.cwd == SPARE_FOLDER else ""
    words = _words(begin_in, *starter, *started_command(spec, stem.name))
    if has_python(running.init_pid) and _asked(stem, words) and await _answered(stem, patience_s):
        return ""
    arguments = exec_argv(running.name, spec, stem.name)
    answer = await engine.run(*arguments, timeout_s=timeout_s, doing=doing)
    return answer.stdout.decode("ascii", "replace").strip()


async def attach(running: Running, stem: Stem, spec: ExecSpec, *, patience_s: float = PATIENCE_S) -> Pipes | None:
    """Have a command start in a sandbox on pipes of this process.

    Args:
        running: The sandbox.
        stem: Its files, prepared.
        spec: The command, without a terminal.
        patience_s: How long the main process may take to answer.

    Returns:
        Its pipes, to be closed; None where nobody takes the start, and nobody will.

    Raises:
        StorageFullError: No space for its files.
    """
    if not has_python(running.init_pid):
        return None
    command = _words(*started_command(spec, stem.name))
    if command is None:
        return None
    with contextlib.ExitStack() as stack:
        try:
            write_new(stem.file("argv"), command)
            pipes = stack.enter_context(contextlib.closing(Pipes(stem, stdin=spec.interactive)))
        except OSError:
            return None
        if _asked(stem, _words("", *ATTACH, stem.name)) and await _answered(stem, patience_s):
            stack.pop_all()
            return pipes
    return None


def has_python(init_pid: int) -> bool:
    """Whether a sandbox has what holds terminals and what starts at the entrance.

    Args:
        init_pid: Its init process on the host.
    """
    return os.path.lexists(f"/proc/{init_pid}/root{HOLDER_PYTHON}")


def begun(stem: Stem) -> None:
    """What asked for a start is not needed once the process is there, and `begin` has answered.

    Args:
        stem: Its files.
    """
    for suffix in ("start", "taken"):
        # In a folder that was locked from inside it lies until the next start of the sandbox.
        with contextlib.suppress(OSError):
            stem.file(suffix).unlink()


def _words(*words: str) -> bytes | None:
    """Words as they lie in a file; None for what cannot be an argument, which podman refuses."""
    if any("\0" in word for word in words):
        return None
    try:
        return b"".join(os.fsencode(word) + b"\0" for word in words)
    except UnicodeEncodeError:
        return None


def _asked(stem: Stem, words: bytes | None) -> bool:
    """Ask at the entrance for the folder and the command in `words`; False where nobody listens."""
    if words is None:
        return False
    try:
        # What runs inside can put anything there; whatever it is, it is not waited for.
        entrance = os.open(stem.folder / ENTRANCE, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not stat.S_ISFIFO(os.fstat(entrance).st_mode):
            return False
        write_new(stem.file("start"), words)
        os.write(entrance, f"{stem.name}\n".encode())
    except OSError:
        return False
    finally:
        os.close(entrance)
    return True


async def _answered(stem: Stem, patience_s: float) -> bool:
    """Whether the main process took the start; if not, it never will."""
    taken = stem.file("taken")
    began = time.monotonic()
    while (waited_s := time.monotonic() - began) < patience_s:
        if os.path.lexists(taken):  # noqa: ASYNC240 - one look
            return True
        await asyncio.sleep(until_next_look_s(waited_s))
    try:
        write_new(taken, b"")
    except OSError as error:
        # Where the folder was locked from inside, the main process cannot take anything either.
        return isinstance(error, FileExistsError)
    return False
