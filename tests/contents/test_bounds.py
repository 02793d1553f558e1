from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.contents import bounds
from loopat_jupyter.contents.bounds import WayOutError, entries_of, refuse_way_out, top_of
from loopat_jupyter.contents.managers import LoopContentsManager
from loopat_jupyter.workspace.files import real_path

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder outside all loops."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "plain").touch()
    return folder


def test_a_path_enters_a_loop_by_any_name(workspace: Workspace, workdir: Path, elsewhere: Path) -> None:
    home = workspace.loop_home(workdir.parent.name)
    (elsewhere / "link").symlink_to(workdir)
    (elsewhere / "loop").symlink_to(workdir.parent)
    (elsewhere / "root").symlink_to("/")
    for path, top in (
        (workdir, workdir),
        (workdir / "a/b", workdir),
        (home / "none", home),
        (elsewhere / "link", workdir),
        (elsewhere / "link/a", workdir),
        (elsewhere / "loop/home/a", home),
        (elsewhere / "root" / workdir.relative_to("/") / "a", workdir),
        (f"/{workdir}/a", workdir),
        (f"{elsewhere}/x/../link", workdir),
        (workdir / "../../..", None),
        (workdir.parent, None),
        (workdir.parent / "meta.json", None),
        (workspace.loops, None),
        (elsewhere / "plain", None),
        ("/", None),
    ):
        assert top_of(workspace, str(path)) == top, path
        assert top_of(None, str(path)) is None


def test_a_link_of_the_host_into_a_loop_is_steered_by_the_loop_and_leads_nowhere_else(
    workspace: Workspace, workdir: Path, elsewhere: Path
) -> None:
    (workdir / "sub").mkdir()
    (elsewhere / "project").symlink_to(workdir / "sub")
    path = str(elsewhere / "project" / "x")
    assert top_of(workspace, path) == workdir
    assert refuse_way_out(workspace, path, "x") == path
    (workdir / "sub").rmdir()
    (workdir / "sub").symlink_to(elsewhere)
    assert top_of(workspace, path) == workdir
    with pytest.raises(WayOutError):
        refuse_way_out(workspace, path, "x")


def test_an_entry_of_a_folder_enters_a_loop_all_the_same(workspace: Workspace, workdir: Path, elsewhere: Path) -> None:
    (elsewhere / "link").symlink_to(workdir)
    with entries_of(workspace, str(elsewhere)):
        for path, top in (("plain", None), ("link", workdir), ("link/a", workdir), (workdir / "a", workdir)):
            assert top_of(workspace, str(elsewhere / path)) == top, path
        assert top_of(workspace, f"{elsewhere}/plain/../link") == workdir
        assert top_of(None, str(elsewhere / "link")) is None
    for folder, entry in (
        (workdir.parent, "workdir"),
        (workspace.loops, f"{workdir.parent.name}/workdir"),
        (workdir, "a"),
        (elsewhere / "link", "a"),
    ):
        with entries_of(workspace, str(folder)):
            assert top_of(workspace, str(folder / entry)) == workdir, folder
    (elsewhere / "loop").symlink_to(workdir.parent)
    with entries_of(workspace, str(elsewhere / "loop")):
        assert top_of(workspace, str(elsewhere / "loop" / "workdir")) == workdir


@pytest.mark.parametrize("root", ["elsewhere", "above all loops"])
async def test_the_way_to_a_folder_is_looked_at_once_for_all_that_is_in_it(
    workspace: Workspace, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    looked: list[str | Path] = []

    def counted(path: str | Path) -> Path:
        looked.append(path)
        return real_path(path)

    folder = elsewhere if root == "elsewhere" else workspace.loops
    manager = LoopContentsManager(root_dir=str(folder.parent), workspace=workspace)
    monkeypatch.setattr(bounds, "real_path", counted)
    counts = []
    for number in (2, 20):
        for each in range(number):
            (folder / f"{each}.txt").touch()
        looked.clear()
        assert len((await manager.get(folder.name))["content"]) >= number
        counts.append(len(looked))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("target", [".", "sub", "sub/file"])
async def test_a_link_of_the_host_into_a_loop_is_the_hosts_own(
    workspace: Workspace, workdir: Path, elsewhere: Path, target: str
) -> None:
    (workdir / "sub").mkdir()
    (workdir / "sub" / "file").write_text("said")
    (elsewhere / "link").symlink_to(workdir / target)
    files = LoopContentsManager(root_dir=str(elsewhere), workspace=workspace)
    listed = (await files.get(""))["content"]
    assert "link" in [entry["name"] for entry in listed]
    below = {".": "/sub/file", "sub": "/file", "sub/file": ""}[target]
    assert (await files.get(f"link{below}"))["content"] == "said"
    await files.save({"type": "file", "format": "text", "content": "written"}, f"link{below}")
    await files.rename_file("link", "moved")
    assert (elsewhere / "moved").readlink() == workdir / target
    await files.delete_file("moved")
    assert not (elsewhere / "moved").is_symlink()
    assert (workdir / "sub" / "file").read_text() == "written"
