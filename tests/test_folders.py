from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.folders import folder_inside
from loopat_jupyter.workspace.records import LoopStore, new_record

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace


@pytest.fixture
def loop(workspace: Workspace) -> str:
    record = new_record(title="a", created_by="ada", now=datetime.datetime.now(datetime.UTC))
    LoopStore(workspace).create(record)
    workdir = workspace.workdir(record.id)
    (workdir / "data").mkdir()
    (workdir / "file").touch()
    (workdir / "same").symlink_to("data")
    (workdir / "out").symlink_to("/")
    (workdir / "circle").symlink_to("circle")
    return record.id


@pytest.mark.parametrize(
    ("cwd", "expected"),
    [
        (None, ""),
        (".", ""),
        ("data", "/data"),
        ("data/", "/data"),
        ("data/..", ""),
        ("same", "/data"),
    ],
)
def test_folders_of_the_workdir(workspace: Workspace, loop: str, cwd: str | None, expected: str) -> None:
    assert folder_inside(workspace, loop, cwd) == f"/loopat/loop/{loop}/workdir{expected}"


def test_absolute_ones_are_for_the_sandbox_to_judge(workspace: Workspace, loop: str) -> None:
    assert folder_inside(workspace, loop, "/etc/nowhere") == "/etc/nowhere"


def test_the_hosts_name_of_a_folder_is_understood(workspace: Workspace, loop: str) -> None:
    folder = str(workspace.workdir(loop) / "data")
    assert folder_inside(workspace, loop, folder) == f"/loopat/loop/{loop}/workdir/data"


@pytest.mark.parametrize(
    "cwd", ["nowhere", "file", "..", "../home", "../../x", "out", "out/etc", "circle", "a\0b", "/a\0b", "x" * 300]
)
def test_everything_else_is_refused(workspace: Workspace, loop: str, cwd: str) -> None:
    with pytest.raises(BadInputError) as refused:
        folder_inside(workspace, loop, cwd)
    assert refused.value.field == "cwd"
