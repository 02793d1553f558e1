"""Where jupyter-lsp looks for language servers, in a real server of a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.server.language_servers import keep_out_of_loops
from tests.conftest import add_loop
from tests.jupyter_process import FACES, LEAN

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

SERVER = """
import json, sys
from jupyter_server.serverapp import ServerApp

app = ServerApp.instance()
app.initialize(["--port=0", "--no-browser"])
servers = app.language_server_manager
servers.initialize()
found = servers.language_servers.get("pyright", {}).get("argv", [])
print(json.dumps([[str(root) for root in servers.node_roots], found]))
"""


def planted(folder: Path) -> Path:
    """Put a language server where npm would; its file."""
    file = folder / "node_modules" / "pyright" / "langserver.index.js"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


def test_none_comes_out_of_a_loop(workspace: Workspace, tmp_path: Path):
    workdir, outside = workspace.workdir(add_loop(workspace, "Sly").id), tmp_path / "outside"
    outside.mkdir()
    for cwd, is_found in ((workdir, False), (outside, True)):
        file = planted(cwd)
        roots, found = look(workspace, tmp_path, cwd)
        assert (str(cwd) in roots, str(file) in found) == (is_found, is_found)
        # All others are as ever.
        assert sys.prefix in roots


@pytest.mark.parametrize("where", ["below", "home", "link"])
def test_whatever_folder_of_a_loop_it_is(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
):
    record = add_loop(workspace, "Sly")
    workdir, home = workspace.workdir(record.id), workspace.loop_home(record.id)
    (tmp_path / "link").symlink_to(workdir)
    folder = {"below": workdir / "a", "home": home, "link": tmp_path / "link"}[where]
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("LOOPAT_HOME", str(workspace.home))
    monkeypatch.chdir(folder)
    servers = SimpleNamespace(node_roots=[folder, str(workdir), tmp_path, sys.prefix])
    keep_out_of_loops(servers)
    assert servers.node_roots == [tmp_path, sys.prefix]


def look(workspace: Workspace, tmp_path: Path, cwd: Path) -> tuple[list[str], list[str]]:
    """Start a server in a folder; where it looks, and how it would run one language server."""
    extensions = {**dict.fromkeys(FACES, False), "jupyter_lsp": True, "loopat_jupyter": True}
    config = tmp_path / "config"
    config.mkdir(exist_ok=True)
    settings = {"ServerApp": {"jpserver_extensions": extensions}}
    (config / "jupyter_server_config.json").write_text(json.dumps(settings))
    environ = {
        **os.environ,
        "LOOPAT_HOME": str(workspace.home),
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_CONFIG_PATH": str(config),
        "JUPYTER_RUNTIME_DIR": str(tmp_path),
        "JUPYTER_DATA_DIR": str(tmp_path),
        "PYTHONPATH": str(LEAN),
    }
    ran = subprocess.run(
        [sys.executable, "-c", SERVER], cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    roots, found = json.loads(ran.stdout.splitlines()[-1])
    return roots, found
