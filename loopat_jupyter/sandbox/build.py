"""Runs one `podman build`, keeps its output, and ends it cleanly when it is cancelled.

A killed `podman build` leaves the containers of its steps behind, and their processes go on. So a cancelled build is
ended from inside: the process of its current step is killed, podman sees the step fail, and removes what it made. What
one that somebody else killed has left is removed afterwards, see `loopat_jupyter.sandbox.unfinished`.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import re
import signal
from typing import TYPE_CHECKING, Any, cast

from loopat_jupyter.deadlines import deadline
from loopat_jupyter.errors import EngineError, EngineTimeoutError, ImageBuildError, StorageFullError
from loopat_jupyter.sandbox.failures import how_killed
from loopat_jupyter.sandbox.process import is_init
from loopat_jupyter.sandbox.trees import descendants
from loopat_jupyter.sandbox.unfinished import BUILD_ARGUMENT, new_mark, remove_unfinished
from loopat_jupyter.workspace.files import full_disk_told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopat_jupyter.sandbox.podman import Engine

_CLEANUP_S = 30.0
"""How long podman may take to end a build whose step was killed; committing a large step takes seconds."""

_LOOK_AGAIN_S = 0.05
LARGEST_LOG_BYTES = 16 * 2**20
"""Logs lie in memory on most machines."""

_BEGINNING_BYTES = _END_BYTES = LARGEST_LOG_BYTES // 4
"""What is kept once there is more; much less, so that the rest is seldom moved."""

_LONGEST_LINE_BYTES = 64 * 1024
_LEFT_OUT = "[{} bytes are left out here: of a long build, the beginning and the end are kept]\n"
_TAIL_LINES = 20
_ATTEMPTS = 3
_VANISHED = "layer not known"
"""Podman compares with every image there is to find cached steps, and fails when one is removed meanwhile."""
_NOT_CONSUMED = re.compile(r"(?P<warning>.*not consumed: )\[(?P<names>[^]]*)\]")


class BuildLog:
    """The output of a build: in a file, its end in memory. Of a long one, beginning and end are kept. Close it.

    Args:
        path: The file; an older one is replaced.
        on_line: Called with each line as well.

    Raises:
        StorageFullError: No space.
    """

    def __init__(self, path: Path, on_line: Callable[[str], None] | None) -> None:
        self.path = path
        self._on_line = on_line
        with full_disk_told(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = path.open("w+b")
        self._lines: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
        self._size_bytes = self._beginning_bytes = self._notice_bytes = self._left_out_bytes = 0

    @property
    def tail(self) -> list[str]:
        """The last lines."""
        return list(self._lines)

    def add(self, line: str) -> None:
        """Keep one line.

        Raises:
            StorageFullError: No space.
        """
        self._lines.append(line)
        data = line.encode("utf-8", "replace") + b"\n"
        with full_disk_told(self.path):
            if self._size_bytes + len(data) > LARGEST_LOG_BYTES:
                self._leave_out()
            self._file.write(data)
            self._file.flush()
        self._size_bytes += len(data)
        if self._size_bytes <= _BEGINNING_BYTES:
            self._beginning_bytes = self._size_bytes
        if self._on_line is not None:
            self._on_line(line)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _leave_out(self) -> None:
        """Put a line in place of what is neither beginning nor end."""
        self._file.seek(self._size_bytes - _END_BYTES)
        # What is cut here may be the end of a line.
        self._file.readline()
        end = self._file.read()
        left_out_bytes = self._size_bytes - self._beginning_bytes - self._notice_bytes - len(end)
        self._left_out_bytes += left_out_bytes
        notice = _LEFT_OUT.format(self._left_out_bytes).encode()
        self._file.seek(self._beginning_bytes)
        self._file.write(notice + end)
        self._file.truncate()
        self._notice_bytes = len(notice)
        self._size_bytes = self._beginning_bytes + len(notice) + len(end)


def build_failure(log: BuildLog, step: str, folder: Path) -> ImageBuildError | StorageFullError:
    """The error that tells a person why a build failed.

    Args:
        log: Its output.
        step: Label of the step that it came to.
        folder: The template.
    """
    tail = log.tail
    if any("no space left on device" in line.lower() for line in tail):
        return StorageFullError(f"No space left to build the image (see {log.path}). Free some space and try again.")
    # Podman ends with the whole failed instruction; what the instruction itself said stands above.
    said = [line for line in tail if line.strip() and not line.startswith(("Error: building at STEP", "-->"))]
    own = [line for line in said if not line.startswith('time="')] or said
    return ImageBuildError(
        f"The image could not be built, at the step {step!r}: {own[-1].strip() if own else 'it said nothing'}. The "
        f"whole build is in {log.path}; fix {folder} or the network, then run `jupyter loopat build`.",
        stderr="\n".join(tail),
    )


async def build_image(
    engine: Engine, *arguments: str, id_file: Path, on_line: Callable[[str], None], timeout_s: float
) -> str | None:
    """Build an image without a name.

    Args:
        engine: Runs podman.
        arguments: Everything after `podman build`.
        id_file: A temporary file that podman writes the id to.
        on_line: Called with each line of output.
        timeout_s: Deadline.

    Returns:
        The id of the image; None when the build failed.

    Raises:
        EngineError: Podman was killed.
        EngineTimeoutError: The deadline passed; the build was ended.
        EngineUnavailableError: Podman cannot be run at all.
    """
    vanished = False

    def read(line: str) -> None:
        nonlocal vanished
        vanished = vanished or _VANISHED in line
        told = without_mark(line)
        if told is not None:
            on_line(told)

    try:
        for _ in range(_ATTEMPTS):
            vanished, marked = False, (f"--iidfile={id_file}", new_mark(), *arguments)
            returncode = await run_build(engine, *marked, on_line=read, timeout_s=timeout_s)
            if returncode == 0:
                return _take_id(id_file)
            if returncode < 0:
                with contextlib.suppress(EngineError, EngineTimeoutError):
                    await remove_unfinished(engine)
                killed = f"Podman failed to build the image: {how_killed(returncode)}"
                raise EngineError(killed, argv=engine.argv("build", *marked), returncode=returncode)
            if not vanished:
                break
        return None
    finally:
        _remove(id_file)


def without_mark(line: str) -> str | None:
    """A line of a build without the argument of ours; None for one that tells of nothing else.

    Args:
        line: The line; podman warns in one of all arguments that no step asks for.
    """
    found = _NOT_CONSUMED.fullmatch(line)
    if found is None:
        return line
    others = [name for name in found["names"].split() if name != BUILD_ARGUMENT]
    return f"{found['warning']}[{' '.join(others)}]" if others else None


def _take_id(id_file: Path) -> str | None:
    """The id that podman wrote; None where what calls itself podman wrote none."""
    try:
        return id_file.read_text(encoding="ascii").strip().removeprefix("sha256:") or None
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)


async def run_build(engine: Engine, *arguments: str, on_line: Callable[[str], None], timeout_s: float) -> int:
    """Run one build to its end.

    Args:
        engine: Runs podman.
        arguments: Everything after `podman build`.
        on_line: Called with each line of standard output and error.
        timeout_s: Deadline.

    Returns:
        Podman's exit code.

    Raises:
        EngineTimeoutError: The deadline passed; the build was ended.
        EngineUnavailableError: Podman cannot be run at all.
    """
    async with engine.open("build", *arguments, stdin=False) as process:
        stdout, stderr = cast("asyncio.StreamReader", process.stdout), cast("asyncio.StreamReader", process.stderr)
        reading = asyncio.gather(process.wait(), read_lines(stdout, on_line), read_lines(stderr, on_line))
        try:
            async with deadline(timeout_s):
                returncode, _, _ = await asyncio.shield(reading)
        except TimeoutError:
            raise EngineTimeoutError(
                f"The image was not built within {timeout_s:g} s. Look at the last lines of the build, and try again."
            ) from None
        finally:
            await _end(process, reading)
        return returncode


async def read_lines(reader: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
    """Hand over each line of a stream as it comes; what is drawn without line ends (progress bars) is cut short.

    Args:
        reader: The stream.
        on_line: Called with each line.
    """
    rest = b""
    while chunk := await reader.read(_LONGEST_LINE_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[-_LONGEST_LINE_BYTES:]
        for line in lines:
            on_line(_text(line))
    if rest:
        on_line(_text(rest))


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]


async def _end(process: asyncio.subprocess.Process, reading: asyncio.Future[Any]) -> None:
    """Make the current step fail until podman has ended; the engine kills what is left after that."""
    with contextlib.suppress(TimeoutError):
        async with deadline(_CLEANUP_S):
            while process.returncode is None:
                for pid in descendants(process.pid):
                    # The init of a step's pid namespace takes all of its processes along.
                    if is_init(pid):
                        with contextlib.suppress(ProcessLookupError, PermissionError):
                            os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(_LOOK_AGAIN_S)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
