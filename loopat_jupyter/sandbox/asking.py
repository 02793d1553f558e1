"""Short commands in a sandbox whose whole answer is wanted."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.errors import EngineTimeoutError
from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.execution import Exit, run_attached

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.sandbox.podman import Engine

QUICK_TIMEOUT_S = 60.0
MOST_OUTPUT_BYTES = 4 * 2**20
"""Of an answer that is kept in memory; the rest is thrown away."""


@contextlib.asynccontextmanager
async def _deadline_told(argv: Sequence[str], timeout_s: float) -> AsyncIterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise EngineTimeoutError(
            f"{' '.join(argv[:2])} inside the loop did not end within {timeout_s:g} s. Look at it in a terminal there."
        ) from error


class Answered(NamedTuple):
    """A command that ended.

    Attributes:
        exit_code: Its own.
        stdout: What it wrote.
        stderr: What it complained of.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """Why it failed, in one line: the last one that it complained in."""
        lines = self.stderr.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.exit_code}"


async def ask(
    engine: Engine,
    running: Running,
    run_folder: Path,
    argv: Sequence[str],
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = QUICK_TIMEOUT_S,
    on_stdout: Callable[[bytes], object] | None = None,
) -> Answered:
    """Run a command inside and collect what it writes.

    Args:
        engine: Runs podman.
        running: The sandbox.
        run_folder: The loop's runtime directory on the host.
        argv: The command.
        cwd: Working directory inside; None is the loop's workdir.
        env: Variables to add.
        timeout_s: Deadline.
        on_stdout: Takes its standard output piece by piece, which is not collected then.

    Raises:
        EngineError: Podman could not run it.
        EngineTimeoutError: The deadline passed; the command was ended.
    """
    kept = {"stdout": bytearray(), "stderr": bytearray()}
    spec = ExecSpec(argv=tuple(argv), cwd=cwd, env=dict(env or {}))
    code = 0
    events = run_attached(engine, running, run_folder, spec, stdin=b"", timeout_s=timeout_s)
    async with _deadline_told(argv, timeout_s), contextlib.aclosing(events):
        async for event in events:
            if isinstance(event, Exit):
                code = event.exit_code
            elif event.stream == "stdout" and on_stdout is not None:
                on_stdout(event.data)
            else:
                kept[event.stream] += event.data[: MOST_OUTPUT_BYTES - len(kept[event.stream])]
    return Answered(code, bytes(kept["stdout"]), bytes(kept["stderr"]))
