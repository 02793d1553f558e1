"""Which repos on this machine a sandbox could change: git on the host would heed the settings and hooks in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from loopat_jupyter.repos.addresses import local_path
from loopat_jupyter.sandbox.mounting import shared_folders
from loopat_jupyter.workspace.records import LoopStore

if TYPE_CHECKING:
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.paths import Workspace

_TMP = Path("/tmp")  # noqa: S108 - what loops may share with the host


def unsafe_place(address: str, workspace: Workspace, config: Config) -> str | None:
    """Why git on the host must not use a repo as things are now; None where it may.

    A repo counts where its path really leads to, so that nobody can put a link to another one on the way.

    Args:
        address: As `check_address` answered.
        workspace: Whose sandboxes these are. What it keeps itself, it may use.
        config: Names what else they can write.
    """
    text = local_path(address)
    if text is None:
        return None
    path, real = Path(os.path.normpath(text)), Path(os.path.realpath(text))
    if path.parent == workspace.origins and path == real:
        return None
    for own in (workspace.home, workspace.runtime_root):
        if real.is_relative_to(os.path.realpath(own)):
            return f"{path} lies in the workspace of the loops. Push it elsewhere, and use that."
    for folder in _writable(workspace, config, path):
        if path.is_relative_to(folder) or real.is_relative_to(folder) or folder.is_relative_to(real):
            return (
                f"Loops can write {folder}, so that {path} could be made to run anything on the host. Push it to a "
                "folder that no loop has, and use that."
            )
    if path != real:
        return f"{path} is reached through a symbolic link. Name the folder itself, {real}."
    return None


def _writable(workspace: Workspace, config: Config, path: Path) -> tuple[Path, ...]:
    shared = shared_folders(config, Path.home().resolve())
    if _TMP in shared or not path.is_relative_to(_TMP):
        return shared
    # One loop may have what the workspace does not give to all.
    sharing = any(record.config.shared_tmp for record in LoopStore(workspace).readable())
    return (*shared, _TMP) if sharing else shared
