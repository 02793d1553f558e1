"""A workspace of its own with a real Jupyter server on it, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.loops import LoopManager
from tests.jupyter_process import jupyter_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.jupyter_process import Server

OPTIONS = (
    "--TerminalsExtensionApp.terminal_manager_class=loopat_jupyter.terminals.LoopTerminalManager",
    "--ServerApp.kernel_manager_class=loopat_jupyter.kernels.mapping.LoopMappingKernelManager",
    "--ServerApp.session_manager_class=loopat_jupyter.kernels.sessions.LoopSessionManager",
    "--KernelProvisionerFactory.default_provisioner_name=loopat-provisioner",
)
"""What the installation writes into Jupyter's configuration, which these servers do not read."""


class Place(NamedTuple):
    """A workspace of its own, and a server on it.

    Attributes:
        manager: Its loops.
        server: The server.
        folder: Where workspace, log and runtime files of the server are.
    """

    manager: LoopManager
    server: Server
    folder: Path

    @property
    def runtime(self) -> Path:
        """Runtime files of the server."""
        return self.folder / "jupyter-runtime"


def podman(*arguments: str) -> list[str]:
    """Run podman; the words that it prints."""
    ran = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=True, timeout=120)
    return ran.stdout.split()


@contextlib.asynccontextmanager
async def workspace(name: str) -> AsyncIterator[Path]:
    """A temporary folder with a workspace in it; what podman holds of that is removed afterwards.

    Args:
        name: Of the workspace.
    """
    with tempfile.TemporaryDirectory(prefix=f"loopat-{name}-") as folder:
        os.environ["LOOPAT_HOME"] = str(Path(folder) / name)
        manager = LoopManager.from_environment(os.environ)
        manager.workspace.prepare()
        try:
            yield Path(folder)
        finally:
            await asyncio.gather(*map(manager.sandboxes.remove, await manager.sandboxes.containers()))
            await manager.engine.run("network", "rm", "--force", f"loopat-{manager.workspace.name}")


@contextlib.asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[Place]:
    """A server on the workspace that the environment names.

    Args:
        folder: For its runtime files and log; its root.
    """
    manager = LoopManager.from_environment(os.environ)
    environ = {"LOOPAT_HOME": str(manager.workspace.home)}
    async with jupyter_server(folder, folder, environ, *OPTIONS, fresh=True) as server:
        yield Place(manager, server, folder)
