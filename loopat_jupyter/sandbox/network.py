"""The bridge network that all containers of a workspace share."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from loopat_jupyter.deadlines import in_thread
from loopat_jupyter.errors import EngineError
from loopat_jupyter.sandbox.facts import INSPECT_TIMEOUT_S
from loopat_jupyter.sandbox.plan import LABEL_WORKSPACE, network_name
from loopat_jupyter.sandbox.process import commands
from loopat_jupyter.workspace.files import read_untrusted
from loopat_jupyter.workspace.locks import file_lock

if TYPE_CHECKING:
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.paths import Workspace

_LOCK_TIMEOUT_S = 120.0
_NAMES_LIMIT_BYTES = 1024 * 1024
_NAMES = "containers/networks/aardvark-dns"
"""Where podman's name server has a file for each network, below the user's runtime directory."""

_IN_USE = 2
"""How podman ends when it should remove a network that a container is on."""

_EXISTS = "network already exists"
"""What podman says of a name that is taken."""


async def ensure_network(engine: Engine, workspace: Workspace) -> None:
    """Make the network be there.

    Args:
        engine: Runs podman.
        workspace: Whose network.

    Raises:
        EngineError: Podman refused.
        EngineTimeoutError: Podman or another process took too long.
        EngineUnavailableError: There is no usable podman.
    """
    name = network_name(workspace.name)
    label = f"--label={LABEL_WORKSPACE}={workspace.name}"
    async with _locked(workspace):
        names = Path(engine.environment().get("XDG_RUNTIME_DIR", os.devnull), _NAMES, name)
        if await in_thread(os.path.lexists, names):
            exists = await engine.run("network", "exists", name, ok=(0, 1), timeout_s=INSPECT_TIMEOUT_S)
            if not exists.returncode:
                return
            await in_thread(_forget_names, names)
        # Without isolation, loops of another workspace would reach these by address.
        arguments = ("network", "create", "--opt=isolate=true", label, name)
        try:
            await engine.run(*arguments, doing="create the workspace's network")
        except EngineError as error:
            if _EXISTS not in error.stderr:
                raise


async def remove_network(engine: Engine, workspace: Workspace) -> bool:
    """Remove the network, unless a sandbox is on it by now. The next start then makes it before anything else.

    Args:
        engine: Runs podman.
        workspace: Whose network.

    Returns:
        Whether it is gone.

    Raises:
        EngineError: Podman refused.
        EngineTimeoutError: Podman or another process took too long.
    """
    async with _locked(workspace):
        arguments = ("network", "rm", network_name(workspace.name))
        removed = await engine.run(*arguments, ok=(0, 1, _IN_USE), doing="remove the network")
        if removed.returncode != _IN_USE:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_lock(workspace))  # noqa: PTH108 - one system call
    return removed.returncode != _IN_USE


def _forget_names(file: Path) -> None:
    """Remove the names that an earlier network of this name has left: a name server would go on at its old address.

    They stay where a container was lost without podman's knowledge. One that still runs is known to another storage of
    podman: the names of both are in one place. Podman's name server reads them anew at the next start of a container.
    """
    with contextlib.suppress(OSError):
        address, *entries = read_untrusted(file, limit_bytes=_NAMES_LIMIT_BYTES).splitlines() or (b"",)
        monitors = [b"\0-c\0%b\0" % entry.split()[0] for entry in entries if entry.strip()]
        if address and not any(monitor in command for command in commands() for monitor in monitors):
            file.unlink()


def was_ensured(workspace: Workspace) -> bool:
    """Whether the network was made, or seen, since the runtime directory is there; it may be gone all the same.

    Args:
        workspace: Whose network.
    """
    return _lock(workspace).exists()


def _lock(workspace: Workspace) -> Path:
    return workspace.locks / "network.lock"


def _locked(workspace: Workspace) -> contextlib.AbstractAsyncContextManager[None]:
    return file_lock(_lock(workspace), timeout_s=_LOCK_TIMEOUT_S, what="the network of the workspace")
