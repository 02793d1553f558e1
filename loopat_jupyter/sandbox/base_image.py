"""The distribution image that the sandbox image builds on.

Pulled from a registry, or made from the distribution's packages where no registry is reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, cast

from loopat_jupyter.deadlines import deadline
from loopat_jupyter.errors import EngineError, EngineTimeoutError, ImageBuildError
from loopat_jupyter.sandbox.build import read_lines
from loopat_jupyter.workspace.files import full_disk_told
from loopat_jupyter.workspace.locks import file_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.config import ImageConfig
    from loopat_jupyter.workspace.paths import Workspace

_PULL_TIMEOUT_S = 300.0
_MAKE_TIMEOUT_S = 900.0
_IMPORT_TIMEOUT_S = 300.0
_QUICK_TIMEOUT_S = 30.0
_CLEANUP_S = 20.0
"""mmdebstrap removes its half-made tree when it is told to end, which takes a moment."""

_TAIL_LINES = 20

_LEFT_OUT = ("doc", "groff", "info", "lintian", "locale", "man")
"""What slim distribution images leave out too, now and from packages installed later."""


class BaseImage:
    """Finds or makes the base image.

    Args:
        workspace: Where temporary files and locks go.
        engine: Runs podman.
        settings: Which base.
        mmdebstrap: Name or path of the command that makes a root file system from packages.
    """

    def __init__(
        self, workspace: Workspace, engine: Engine, settings: ImageConfig, *, mmdebstrap: str = "mmdebstrap"
    ) -> None:
        self._workspace = workspace
        self._engine = engine
        self._settings = settings
        self._mmdebstrap = mmdebstrap

    @property
    def from_packages(self) -> str:
        """Name of the base that is made from packages."""
        return f"localhost/loopat-base:{self._settings.suite}"

    async def ensure(self, on_line: Callable[[str], None], *, fresh: bool = False) -> str:
        """Make a base be there.

        Args:
            on_line: Called with each line of output.
            fresh: Ask the registry for a newer one even if one is there.

        Returns:
            Its reference.

        Raises:
            EngineTimeoutError: Something took too long.
            EngineUnavailableError: There is no usable podman.
            ImageBuildError: It can be neither pulled nor made; says what to install.
            StorageFullError: No space.
        """
        base = self._settings.base
        present = await self._exists(base)
        if present and not fresh:
            return base
        problem = await self._pull(base, on_line)
        if not problem or present:
            return base
        on_line(f"{base} cannot be pulled: {problem}")
        lock = self._workspace.image_locks / f"base-{self._settings.suite}.lock"
        async with file_lock(lock, timeout_s=_MAKE_TIMEOUT_S, what="the base image"):
            if not await self._exists(self.from_packages):
                await self._make(problem, on_line)
        return self.from_packages

    async def _exists(self, reference: str) -> bool:
        answer = await self._engine.run(
            "image", "exists", reference, ok=(0, 1), timeout_s=_QUICK_TIMEOUT_S, doing="look for the base image"
        )
        return answer.returncode == 0

    async def _pull(self, reference: str, on_line: Callable[[str], None]) -> str:
        """Pull; the last line of the trouble, empty when there was none."""
        if reference.startswith("localhost/"):
            return "it is not there"
        try:
            await self._engine.run("pull", "--quiet", reference, timeout_s=_PULL_TIMEOUT_S, doing=f"pull {reference}")
        except (EngineError, EngineTimeoutError) as error:
            return error.message
        on_line(f"{reference} pulled")
        return ""

    async def _make(self, problem: str, on_line: Callable[[str], None]) -> None:
        """Make the base from packages. The name of the tar is fixed: a killed maker's is found and replaced."""
        on_line(f"making {self.from_packages} from packages")
        with full_disk_told(self._workspace.cache):
            self._workspace.cache.mkdir(parents=True, exist_ok=True)
        tar = self._workspace.cache / f"base-{self._settings.suite}.tar"
        tar.unlink(missing_ok=True)
        command = (
            self._mmdebstrap,
            "--mode=unshare",
            "--variant=minbase",
            "--include=ca-certificates",
            "--dpkgopt=force-unsafe-io",
            *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in _LEFT_OUT),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            self._settings.suite,
            str(tar),
        )
        lines: list[str] = []

        def keep(line: str) -> None:
            lines.append(line)
            on_line(line)

        try:
            returncode = await _run(command, self._engine.environment(), keep, timeout_s=_MAKE_TIMEOUT_S)
            if returncode is None:
                raise ImageBuildError(
                    f"The base image can be neither pulled nor made. {problem} To make it from packages, install "
                    "mmdebstrap (`sudo apt install mmdebstrap`); or name an image that is there in image.base."
                )
            if returncode:
                tail = lines[-_TAIL_LINES:]
                raise ImageBuildError(
                    f"mmdebstrap failed to make the base image: {tail[-1] if tail else f'exit code {returncode}'}. "
                    "Check that the package mirror is reached, or name an image that is there in image.base.",
                    argv=command,
                    returncode=returncode,
                    stderr="\n".join(tail),
                )
            await self._engine.run(
                "import", str(tar), self.from_packages, timeout_s=_IMPORT_TIMEOUT_S, doing="import the base image"
            )
        finally:
            tar.unlink(missing_ok=True)


async def _run(
    command: Sequence[str], environment: dict[str, str], on_line: Callable[[str], None], *, timeout_s: float
) -> int | None:
    """Run a command that is not podman to its end; its exit code, None when it is not installed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError):
        return None
    stdout = cast("asyncio.StreamReader", process.stdout)
    try:
        async with deadline(timeout_s):
            await read_lines(stdout, on_line)
            return await process.wait()
    except TimeoutError:
        raise EngineTimeoutError(
            f"{command[0]} did not end within {timeout_s:g} s. Check that the package mirror is reached, and try again."
        ) from None
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        try:
            # What it still writes is read, so that a full pipe does not keep it from ending.
            await asyncio.wait_for(process.communicate(), _CLEANUP_S)
        except TimeoutError:
            continue
        break
