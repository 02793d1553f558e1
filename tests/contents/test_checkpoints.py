"""Checkpoints where people configure a root of their own for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from traitlets.config import Config

from loopat_jupyter.contents.managers import LoopContentsManager

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The root of checkpoints."""
    folder = tmp_path / "kept"
    (folder / "sub").mkdir(parents=True)
    return folder


@pytest.fixture
def jp_server_config(jp_server_config: dict[str, Any], kept: Path) -> dict[str, Any]:
    return {**jp_server_config, "FileCheckpoints": {"root_dir": str(kept)}}


def files_in(*folders: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for folder in folders for path in folder.rglob("*") if path.is_file())


async def test_outside_loops_they_are_where_stock_ones_are(workspace: Workspace, kept: Path, tmp_path: Path) -> None:
    root, config = tmp_path / "root", Config({"FileCheckpoints": {"root_dir": str(kept)}})
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.txt").write_text("before")
    stock = AsyncLargeFileManager(root_dir=str(root), config=config)
    ours = LoopContentsManager(root_dir=str(root), config=config, workspace=workspace)
    await stock.create_checkpoint("sub/a.txt")
    (root / "sub" / "a.txt").write_text("after")
    (found,) = await ours.list_checkpoints("sub/a.txt")
    await ours.restore_checkpoint(found["id"], "sub/a.txt")
    assert (root / "sub" / "a.txt").read_text() == "before"
    await ours.delete_checkpoint(found["id"], "sub/a.txt")
    assert files_in(kept) == []
    await ours.create_checkpoint("sub/a.txt")
    await ours.rename("sub/a.txt", "sub/b.txt")
    assert (files_in(kept), files_in(root)) == (["sub/.ipynb_checkpoints/b-checkpoint.txt"], ["sub/b.txt"])


@pytest.mark.parametrize("root", ["api/contents/loops/{loop_id}/workdir", "loopat/api/contents/{folder}"])
async def test_in_a_loop_they_stay_in_it(ask: Any, workdir: Path, folder: str, kept: Path, root: str) -> None:
    root = root.format(loop_id=workdir.parent.name, folder=folder)
    (workdir / "sub").mkdir()
    for name in ("a.txt", "sub/a.txt"):
        (workdir / name).write_text("before")
        assert (await ask("POST", f"{root}/{name}/checkpoints")).status == 201
        (workdir / name).write_text("after")
        assert (await ask("POST", f"{root}/{name}/checkpoints/checkpoint")).status == 204
        assert (workdir / name).read_text() == "before"
    assert files_in(kept) == []
    checkpoints = [".ipynb_checkpoints/a-checkpoint.txt", "sub/.ipynb_checkpoints/a-checkpoint.txt"]
    assert files_in(workdir) == sorted([*checkpoints, "a.txt", "sub/a.txt"])


async def test_a_root_of_checkpoints_leads_out_of_no_loop(
    ask: Any, workspace: Workspace, workdir: Path, kept: Path, tmp_path: Path
) -> None:
    """As when somebody links it into one; what runs there could plant links."""
    (workspace.home / "sub").mkdir()
    (workspace.home / "sub" / "a.txt").write_text("mine")
    (tmp_path / "outside").mkdir()
    (kept / "sub").rmdir()
    (kept / "sub").symlink_to(workdir)
    (workdir / ".ipynb_checkpoints").symlink_to(tmp_path / "outside")
    assert (await ask("POST", "api/contents/sub/a.txt/checkpoints")).status == 403
    assert files_in(tmp_path / "outside") == []
