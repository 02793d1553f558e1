from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import ConflictError, NotFoundError
from loopat_jupyter.sandbox.plan import inside_path
from loopat_jupyter.terminals.places import Places
from tests.conftest import add_loop
from tests.swapping import exchanged

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace


@pytest.fixture
def loop(workspace: Workspace) -> LoopRecord:
    return add_loop(workspace, "Rain")


@pytest.fixture
def places(workspace: Workspace, tmp_path: Path) -> Places:
    (tmp_path / "root" / "here").mkdir(parents=True)
    return Places(workspace, tmp_path / "root")


def test_a_folder_of_a_loop_is_a_place_in_it(places: Places, workspace: Workspace, loop: LoopRecord, tmp_path: Path):
    workdir = workspace.workdir(loop.id)
    (workdir / "a").mkdir()
    (tmp_path / "root" / "link").symlink_to(workdir)
    for cwd in (str(workdir / "a"), "link/a"):
        place = places.written(None, cwd)
        assert place is not None
        assert (place.record.id, place.cwd) == (loop.id, f"{inside_path(loop.id, workdir.relative_to(workdir))}/a")


def test_a_folder_of_the_host_is_none(places: Places, tmp_path: Path):
    assert places.written(None, "here") is None
    assert places.written(None, str(tmp_path)) is None
    assert places.written(None, "gone") is None


def test_a_folder_that_is_not_there_is_refused_where_it_means_a_loop(
    places: Places, workspace: Workspace, loop: LoopRecord
):
    with pytest.raises(NotFoundError, match="There is no folder"):
        places.written(None, str(workspace.workdir(loop.id) / "gone"))
    with pytest.raises(NotFoundError, match="in any loop"):
        places.written(None, "rain-in-march-00000000/a")


def test_a_folder_that_is_swapped_for_a_link_all_the_time_is_never_the_hosts(
    places: Places, workspace: Workspace, loop: LoopRecord, tmp_path: Path
):
    workdir, opened = workspace.workdir(loop.id), 0
    (workdir / "d").mkdir()
    (workdir / "link").symlink_to(tmp_path / "root")
    with exchanged(workdir / "d", workdir / "link"):
        for _ in range(1000):
            with contextlib.suppress(ConflictError):
                place = places.written(None, str(workdir / "d"))
                assert place is not None
                assert place.record.id == loop.id
                opened += 1
    assert opened
