"""The bridge network that all containers of a workspace share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from loopat_jupyter.sandbox.facts import INSPECT_TIMEOUT_S
from loopat_jupyter.sandbox.plan import LABEL_WORKSPACE, network_name
from loopat_jupyter.workspace.locks import file_lock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.paths import Workspace

_LOCK_TIMEOUT_S = 120.0
_NAMES = "containers/networks/aardvark-dns"
"""Where podman's name server has a file for each network, below the user's runtime directory."""


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
    async with file_lock(_lock(workspace), timeout_s=_LOCK_TIMEOUT_S, what="the network of the workspace"):
        exists = await engine.run("network", "exists", name, ok=(0, 1), timeout_s=INSPECT_TIMEOUT_S)
        if exists.returncode:
            await _forget_names(engine)
            # Without isolation, loops of another workspace would reach these by address.
            await engine.run(
                "network", "create", "--opt=isolate=true", label, name, doing="create the workspace's network"
            )


async def _forget_names(engine: Engine) -> None:
    """Remove the names of networks of ours that are gone: a later one with their addresses would be taken for them.

    They stay where a container was lost without podman's knowledge. Podman's name server reads them anew at the next
    start of a container.
    """
    # Listed first: a network that is made meanwhile is then not among them.
    if held := _held_names(engine.environment()):
        listed = await engine.run("network", "ls", "--format={{.Name}}", doing="list networks")
        known = set(listed.stdout.decode().split())
        for file in held:
            if file.name not in known:
                file.unlink(missing_ok=True)


def _held_names(environment: Mapping[str, str]) -> list[Path]:
    folder = Path(environment.get("XDG_RUNTIME_DIR", os.devnull), _NAMES)
    return list(folder.glob(f"{network_name('')}*"))


def was_ensured(workspace: Workspace) -> bool:
    """Whether the network was made, or seen, since the runtime directory is there; it may be gone all the same.

    Args:
        workspace: Whose network.
    """
    return _lock(workspace).exists()


def _lock(workspace: Workspace) -> Path:
    return workspace.locks / "network.lock"
