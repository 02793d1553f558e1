from __future__ import annotations

import os
from pathlib import Path

import pytest

from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.whereabouts import Whereabouts, followed
from tests.swapping import exchanged

LOOP = "0a1b2c3d-1111-2222-3333-444455556666"
OTHER = "9f8e7d6c-1111-2222-3333-444455556666"


@pytest.fixture
def loops(tmp_path: Path) -> Workspace:
    """Two loops, and a folder `out` that is in none."""
    made = Workspace(tmp_path / "ws", tmp_path / "runtime")
    for loop_id in (LOOP, OTHER):
        made.workdir(loop_id).mkdir(parents=True)
        made.loop_home(loop_id).mkdir()
    (tmp_path / "out").mkdir()
    return made


def test_what_keeps_to_a_loop_is_in_it(loops: Workspace, tmp_path: Path):
    workdir = loops.workdir(LOOP)
    (workdir / "a").mkdir()
    (workdir / "b").symlink_to("a")
    (tmp_path / "link").symlink_to(workdir)
    for path in (workdir / "a", workdir / "b", tmp_path / "link" / "b", workdir / "a" / ".." / "b"):
        seen = loops.whereabouts(path)
        assert seen == Whereabouts(LOOP, LOOP, found=(LOOP, Path("a")))
        assert seen.left is None
    assert loops.whereabouts(workdir / "gone").found == (LOOP, Path("gone"))


def test_what_leaves_a_loop_is_told(loops: Workspace, tmp_path: Path):
    workdir = loops.workdir(LOOP)
    (workdir / "out").symlink_to(tmp_path / "out")
    (workdir / "other").symlink_to(loops.workdir(OTHER))
    (workdir / "home").symlink_to("../home")
    for name in ("out", "other", "home", "out/..", "other/gone"):
        assert loops.whereabouts(workdir / name).left == LOOP


def test_a_link_of_the_host_is_followed_through_the_loop_that_steers_it(loops: Workspace, tmp_path: Path):
    for folder in (loops.workdir(LOOP), loops.loop_home(LOOP)):
        link = tmp_path / f"to-{folder.name}"
        link.symlink_to(folder / "sub")
        (folder / "sub").mkdir()
        assert loops.whereabouts(link).left is None
        (folder / "sub").rmdir()
        (folder / "sub").symlink_to(tmp_path / "out")
        assert loops.whereabouts(link).left == LOOP
        assert loops.whereabouts(link / "x").left == LOOP


def test_what_enters_a_loop_while_it_swaps_a_folder_for_a_link_ends_in_it_or_is_told(loops: Workspace, tmp_path: Path):
    workdir, seen = loops.workdir(LOOP), set()
    (workdir / "d").mkdir()
    (workdir / "link").symlink_to(tmp_path / "out")
    with exchanged(workdir / "d", workdir / "link"):
        for _ in range(2000):
            where = loops.whereabouts(workdir / "d")
            seen.add((where.found, where.left))
    assert seen <= {((LOOP, Path("d")), None), (None, LOOP)}
    assert len(seen) == 2


def test_what_is_outside_all_loops_is_nowhere(loops: Workspace, tmp_path: Path):
    for path in (tmp_path, loops.loops, loops.loops / "x" / "workdir", tmp_path / "gone", Path("/")):
        assert loops.whereabouts(path) == Whereabouts()


def test_names_that_cannot_be_and_circles_lead_nowhere_else(loops: Workspace):
    workdir = loops.workdir(LOOP)
    (workdir / "circle").symlink_to("circle")
    assert loops.whereabouts(workdir / "circle" / "x").found == (LOOP, Path("circle/x"))
    assert loops.whereabouts(workdir / ("x" * 300)).found == (LOOP, Path("x" * 300))


def test_a_relative_path_begins_where_the_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    assert list(followed(Path("b/c")))[-1] == Path(os.path.realpath(tmp_path)) / "a" / "c"
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileNotFoundError):
        list(followed(Path("x")))
