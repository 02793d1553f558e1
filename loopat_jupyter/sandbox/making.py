"""`Maker`: makes, starts, stops and removes one container, and tries again where podman fails once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from loopat_jupyter.errors import EngineError, EngineTimeoutError
from loopat_jupyter.sandbox.copies import copies_folder
from loopat_jupyter.sandbox.failures import does_not_start, is_beyond_repair, refused_limit
from loopat_jupyter.sandbox.network import ensure_network, was_ensured
from loopat_jupyter.sandbox.plan import STOP_GRACE_S, run_argv, seccomp_folder

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.models import SandboxSpec
    from loopat_jupyter.sandbox.plan import HostFacts
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.paths import Workspace

_log = logging.getLogger(__name__)

_START_TIMEOUT_S, _STOP_TIMEOUT_S = 90.0, STOP_GRACE_S + 10.0
_ATTEMPTS = 3


class Maker:
    """Changes containers of a workspace. Only under the lock of their loop.

    Args:
        workspace: Whose containers.
        engine: Runs podman.
        host: What the host offers.
    """

    def __init__(self, workspace: Workspace, engine: Engine, host: HostFacts) -> None:
        self._workspace = workspace
        self._engine = engine
        self._host = host

    async def create(self, spec: SandboxSpec, reference: str, pidfile: Path) -> None:
        """Make a container and start it; one that does not start is removed.

        Args:
            spec: What it should be.
            reference: Of its image.
            pidfile: Where podman writes the id of its init process.

        Raises:
            EngineError: Podman refused.
            EngineTimeoutError: Podman took too long.
        """
        if self._host.nesting.profile is not None:
            self._host.nesting.profile.install(seccomp_folder(self._workspace))
        copies = copies_folder(self._workspace, spec.loop_id)
        open_files = self._host.open_files
        arguments = run_argv(spec, reference, pidfile=pidfile, copies=copies, open_files=open_files)
        if spec.network != "none" and not was_ensured(self._workspace):
            await ensure_network(self._engine, self._workspace)
        try:
            await self._engine.run(*arguments, timeout_s=_START_TIMEOUT_S, doing="create the sandbox")
        except EngineError as error:
            await self.remove(spec.name)
            if "network" not in error.stderr or spec.network == "none":
                raise
            await ensure_network(self._engine, self._workspace)
            try:
                await self._engine.run(*arguments, timeout_s=_START_TIMEOUT_S, doing="create the sandbox")
            except (EngineError, EngineTimeoutError):
                await self.remove(spec.name)
                raise

    async def start(self, spec: SandboxSpec) -> bool:
        """Start a stopped container. One that does not start stays: what was installed in it is nowhere else.

        Args:
            spec: What it is.

        Returns:
            False when nothing can start it any more and it has to be made anew.

        Raises:
            EngineError: It does not start, which may be for now only; says what to do.
            EngineTimeoutError: Podman took too long.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._engine.run("start", spec.name, timeout_s=_START_TIMEOUT_S, doing="start the sandbox")
            except EngineError as error:
                _log.warning("Sandbox %s cannot be started (attempt %d): %s", spec.name, attempt, error.message)
                if is_beyond_repair(error.stderr):
                    return False
                if refused_limit(error.stderr):
                    raise
                if attempt == _ATTEMPTS:
                    raise does_not_start(error, spec.loop_id) from error
                if "network" in error.stderr and spec.network != "none":
                    await ensure_network(self._engine, self._workspace)
            else:
                break
        return True

    async def stop(self, name: str) -> None:
        """Stop a container; nothing happens when it does not run.

        Args:
            name: Its name.

        Raises:
            EngineError: Podman refused.
            EngineTimeoutError: Podman took too long.
        """
        grace = f"--time={STOP_GRACE_S}"
        await self._engine.run("stop", "--ignore", grace, name, timeout_s=_STOP_TIMEOUT_S, doing="stop the sandbox")

    async def remove(self, name: str) -> None:
        """Remove a container with its processes and anonymous volumes; nothing happens when there is none.

        Args:
            name: Its name.

        Raises:
            EngineError: Podman refused.
            EngineTimeoutError: Podman took too long.
        """
        arguments = ("rm", "--force", "--ignore", "--time=0", "--volumes", name)
        try:
            await self._engine.run(*arguments, timeout_s=_STOP_TIMEOUT_S, doing="remove the sandbox")
        except EngineError:
            # After its monitor was killed, podman learns from the first attempt that the container is dead.
            await self._engine.run(*arguments, timeout_s=_STOP_TIMEOUT_S, doing="remove the sandbox")
