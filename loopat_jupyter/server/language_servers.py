"""Language servers of jupyter-lsp, which run on the host: none of them comes out of a loop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from loopat_jupyter.errors import LoopatError
from loopat_jupyter.workspace.paths import Workspace


def keep_out_of_loops(servers: Any) -> None:  # noqa: ANN401 - of a package that need not be there
    """Take folders of loops out of those in which language servers are looked for: by default this process's own.

    Folders that a person added (`extra_node_roots`) stay.

    Args:
        servers: The manager of jupyter-lsp, which has not looked yet.
    """
    try:
        workspace = Workspace.from_environment(os.environ)
        here = Path.cwd()
    except (LoopatError, FileNotFoundError):
        return
    # Its other folders are not a loop's, and to know them it may run npm.
    if _in_loop(workspace, here):
        servers.node_roots = [root for root in servers.node_roots if not _in_loop(workspace, Path(root))]


def _in_loop(workspace: Workspace, folder: Path) -> bool:
    return any(workspace.whereabouts(folder))
