"""What lies below a folder that something in a loop has filled."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.workspace import walking
from loopat_jupyter.workspace.nofollow import names_in
from loopat_jupyter.workspace.walking import entries_below, remove_tree

if TYPE_CHECKING:
    from tests.conftest import Nest


def test_each_folder_comes_before_what_is_in_it(tmp_path: Path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").touch()
    (tmp_path / "a/link").symlink_to(tmp_path)
    found = [os.path.relpath(entry.path, tmp_path) for entry in entries_below(tmp_path)]
    assert sorted(found) == ["a", "a/b", "a/b/file", "a/link"]
    assert found.index("a") < found.index("a/b") < found.index("a/b/file")


def test_as_deep_as_a_path_can_be(tmp_path: Path, nest: Nest):
    nest(tmp_path, "d", 3000)
    assert len(list(entries_below(tmp_path))) > 1900
    with pytest.raises(OSError, match="File name too long"):
        list(entries_below(tmp_path, strict=True))


def test_what_may_not_be_entered_is_left_out(tmp_path: Path):
    (tmp_path / "closed").mkdir(mode=0)
    assert [entry.name for entry in entries_below(tmp_path)] == ["closed"]
    with pytest.raises(PermissionError):
        list(entries_below(tmp_path, strict=True))
    assert list(entries_below(tmp_path / "none")) == []


@pytest.mark.parametrize(("name", "levels"), [("d", 1500), ("d", 3000), ("x" * 250, 30)])
def test_a_deep_tree_goes_and_what_a_link_leads_to_stays(tmp_path: Path, nest: Nest, name: str, levels: int):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    folder = tmp_path / "folder"
    (folder / "beside/more").mkdir(parents=True)
    (folder / "beside/more/file").touch()
    nest(folder, name, levels)
    (folder / "link").symlink_to(tmp_path / "other")
    remove_tree(folder)
    remove_tree(folder)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["other", "other/file"]


def test_a_folder_that_is_moved_meanwhile_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "top" / "folder"
    (folder / "a" / "b").mkdir(parents=True)
    for path in (folder / "0", folder / "a/aa", folder / "a/b/marker", tmp_path / "top/aa", tmp_path / "0"):
        path.touch()

    def moved(descriptor: int) -> list[str]:
        found = names_in(descriptor)
        if found == ["marker"]:
            (folder / "a/b").rename(tmp_path / "top/b")
        return found

    monkeypatch.setattr(walking, "names_in", moved)
    remove_tree(folder)
    assert (tmp_path / "0").exists()
    assert (tmp_path / "top/aa").exists()


@pytest.mark.parametrize("mode", [0o000, 0o100, 0o400, 0o500, 0o600])
def test_locked_folders_go_too(tmp_path: Path, mode: int):
    folder = tmp_path / "folder"
    (folder / "locked/inner").mkdir(parents=True)
    (folder / "locked/inner/file").touch()
    for path in (folder / "locked/inner", folder / "locked", folder):
        path.chmod(mode)
    remove_tree(folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.podman
@pytest.mark.parametrize("mode", ["000", "744", "755"])
def test_what_belongs_to_somebody_else_stays_and_the_rest_goes(tmp_path: Path, mode: str):
    """As root inside a sandbox leaves it; only podman's own namespace may remove it."""
    folder = tmp_path / "folder"
    (folder / "kept/inner").mkdir(parents=True)
    (folder / "kept/file").touch()
    (folder / "gone").touch()
    unshare = ("podman", "unshare")
    script = 'chown -R 5:5 "$0/kept" && chmod "$1" "$0/kept"'
    subprocess.run([*unshare, "sh", "-c", script, str(folder), mode], check=True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    remove_tree(folder)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert [path.name for path in folder.iterdir()] == ["kept"]
    subprocess.run([*unshare, "rm", "-rf", str(folder)], check=True)
