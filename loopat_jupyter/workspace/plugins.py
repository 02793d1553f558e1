"""Plugins of agent tools: the person's own, and the list of them that a loop keeps; where our own skill is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.workspace.files import read_untrusted, write_new

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

PLUGIN_LIST = "installed_plugins.json"
SKILL_FOLDER = "skills/loopat"
"""Of what agents should know of loops, in their configuration folder; mounted, never copied."""

LARGEST_LIST_BYTES = 1024 * 1024


def pinned_list(workspace: Workspace, loop_id: str) -> Path:
    """The list of plugins as it was when a loop was made; no sandbox can write it.

    Args:
        workspace: Where the loop is.
        loop_id: The loop.
    """
    return workspace.loop(loop_id) / PLUGIN_LIST


def find_plugins(home: Path) -> Path | None:
    """The folder of a person's plugins, symlinks resolved; None where there is none, or no list of them in it.

    Args:
        home: Of the person, on the host.
    """
    folder = home / ".claude" / "plugins"
    return folder.resolve() if (folder / PLUGIN_LIST).is_file() else None


def pin_plugins(plugins: Path, inside: str, pinned: Path) -> bool:
    """Keep the list of plugins for a loop as it is now, with the places where they are inside.

    Args:
        plugins: The folder on the host.
        inside: The same as the loop sees it.
        pinned: The loop's own list, which is not there yet.

    Returns:
        Whether there is a list to keep.

    Raises:
        StorageFullError: No space.
    """
    try:
        data = read_untrusted(plugins / PLUGIN_LIST, limit_bytes=LARGEST_LIST_BYTES + 1)
    except OSError:
        return False
    if not data or len(data) > LARGEST_LIST_BYTES:
        return False
    write_new(pinned, data.replace(str(plugins).encode(), inside.encode()), mode=0o644)
    return True
