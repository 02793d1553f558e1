"""Who serves a workspace."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.serving import Serving, is_served

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = """
import sys
from pathlib import Path
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.serving import Serving

serving = Serving()
serving.hold(Workspace(Path(sys.argv[1]), Path(sys.argv[2])))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def two() -> Iterator[tuple[Serving, Serving]]:
    made = Serving(), Serving()
    yield made
    for serving in made:
        serving.let_go()


def test_a_workspace_is_served_until_the_last_has_let_go(workspace: Workspace, two: tuple[Serving, Serving]):
    first, second = two
    assert not is_served(workspace)
    first.hold(workspace)
    second.hold(workspace)
    assert [is_served(workspace) for _ in range(2)] == [True, True]
    first.let_go()
    assert is_served(workspace)
    second.let_go()
    second.let_go()
    assert not is_served(workspace)


def test_a_server_that_is_killed_serves_no_more(workspace: Workspace):
    arguments = (sys.executable, "-c", SERVER, str(workspace.home), str(workspace.runtime_root))
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "held\n"
        assert is_served(workspace)
        server.send_signal(signal.SIGKILL)
        server.wait()
        assert not is_served(workspace)


def test_a_wiped_runtime_directory_is_made_again(workspace: Workspace, two: tuple[Serving, Serving]):
    first, second = two
    first.hold(workspace)
    shutil.rmtree(workspace.locks)
    assert not is_served(workspace)
    first.hold(workspace)
    assert is_served(workspace)
    shutil.rmtree(workspace.locks)
    second.hold(workspace)
    first.hold(workspace)
    second.let_go()
    assert is_served(workspace)


def test_other_workspaces_are_others(workspace: Workspace, tmp_path: Path, two: tuple[Serving, Serving]):
    two[0].hold(workspace)
    assert not is_served(Workspace(tmp_path / "other", Path(workspace.runtime_root)))


def test_a_planted_link_is_not_followed(workspace: Workspace, tmp_path: Path, two: tuple[Serving, Serving]):
    (tmp_path / "target").touch()
    (workspace.locks / "servers.lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic"):
        two[0].hold(workspace)
    with pytest.raises(OSError, match="symbolic"):
        is_served(workspace)
