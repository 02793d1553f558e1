from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter import losses
from loopat_jupyter.errors import ConflictError, NotFoundError
from loopat_jupyter.losses import find_losses
from tests.conftest import add_loop

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace


async def test_a_root_folder_of_a_server_that_runs_is_a_loss(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    record = add_loop(workspace, "A loop")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    def note(name: str, pid: int, root: Path) -> None:
        text = json.dumps(
            {"pid": pid, "root_dir": str(root), "url": f"http://{name}/", "port": 8888, "token": "", "secure": False}
        )
        (tmp_path / f"jpserver-{name}.json").write_text(text)

    async def not_opened():
        pytest.fail("nothing is asked inside")

    note("ended", ended.pid, workspace.workdir(record.id))
    note("elsewhere", os.getpid(), workspace.loops)
    (tmp_path / "jpserver-starts.json").write_text('{"pid": ')
    (tmp_path / "jpserver-ends.json").symlink_to(tmp_path / "gone")
    for number, odd in enumerate(("[]", "null", "[" * 9000, json.dumps({"pid": os.getpid(), "root_dir": "a\0b"}))):
        (tmp_path / f"jpserver-odd{number}.json").write_text(odd)
    (tmp_path / "jpserver-folder.json").mkdir()
    os.mkfifo(tmp_path / "jpserver-pipe.json")
    assert await find_losses(workspace, record, not_opened) == ""
    note("inside", os.getpid(), workspace.workdir(record.id))
    with pytest.raises(ConflictError, match=r"The Jupyter server at http://inside/ has its root .*server stop 8888"):
        await find_losses(workspace, record, not_opened)


@pytest.mark.parametrize("kinds", [(), ("knowledge",)])
async def test_of_a_loop_that_is_being_deleted_nothing_is_lost(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...]
):
    record = add_loop(workspace, "A loop")

    async def not_opened():
        pytest.fail("it would be started anew")

    def deleted(*_: object) -> tuple[str, ...]:
        workspace.record(record.id).unlink()
        if not kinds:
            raise ConflictError("half of it is gone")
        return kinds

    monkeypatch.setattr(losses, "touched", deleted)
    with pytest.raises(NotFoundError):
        await find_losses(workspace, record, not_opened)
