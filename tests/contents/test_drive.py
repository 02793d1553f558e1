from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.contents.drive import Drive, in_drive
from loopat_jupyter.workspace.records import LoopStore, folder_name, new_record
from tests.workspace.test_records import NOW

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

ID = "0a1b2c3d-1111-4222-8333-444455556666"


@pytest.fixture
def drive(workspace: Workspace) -> Drive:
    made = new_record(title="Rain in March", created_by="ada", now=NOW)
    LoopStore(workspace).create(msgspec.structs.replace(made, id=ID))
    return Drive(workspace)


def test_the_folder_of_a_loop_is_readable(drive: Drive) -> None:
    assert folder_name(LoopStore(drive.workspace).read(ID)) == "rain-in-march-0a1b2c3d"


@pytest.mark.parametrize(
    ("path", "inside"),
    [("loops:a/b", "a/b"), ("loops:", ""), ("a/b", None), ("other:a", None), ("a/loops:b", None), (5, None)],
)
def test_paths_of_the_drive_are_told_by_its_name(path: object, inside: str | None) -> None:
    assert in_drive(path) == inside


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("rain-in-march-0a1b2c3d", ""),
        ("/rain-in-march-0a1b2c3d/", ""),
        ("rain-in-march-0a1b2c3d/a/b.txt", "a/b.txt"),
        (f"{ID}/a", "a"),
        # A path that begins with a slash would be one of the host.
        ("rain-in-march-0a1b2c3d//etc/passwd", "etc/passwd"),
        ("rain-in-march-0a1b2c3d/a//./b/", "a/b"),
    ],
)
def test_a_path_is_found_on_the_host(drive: Drive, path: str, below: str) -> None:
    assert drive.host_path(path) == drive.workspace.workdir(ID) / below


@pytest.mark.parametrize(
    "path",
    ["", "/", "snow-0a1b2c3d", "rain-in-march-00000000", "rain-in-march", "..", "rain-in-march-0a1b2c3d/../../x",
     "rain-in-march-0a1b2c3d/..", "rain-in-march-0a1b2c3d//../x",
     "*-0a1b2c3d", "0a1b2c3d", "11111111-1111-4222-8333-444455556666"],
)  # fmt: skip
def test_everything_else_is_nowhere(drive: Drive, path: str) -> None:
    assert drive.host_path(path) is None


def test_a_deleted_loop_is_forgotten(drive: Drive) -> None:
    assert drive.loop_id("rain-in-march-0a1b2c3d") == ID
    drive.workspace.record(ID).unlink()
    assert drive.loop_id("rain-in-march-0a1b2c3d") is None


def test_two_loops_whose_ids_begin_alike_are_told_apart(drive: Drive) -> None:
    other = new_record(title="Snow", created_by="ada", now=NOW)
    other = msgspec.structs.replace(other, id=ID[:8] + "-9999-4222-8333-444455556666")
    LoopStore(drive.workspace).create(other)
    assert drive.loop_id("rain-in-march-0a1b2c3d") == ID
    assert drive.loop_id("snow-0a1b2c3d") == other.id


@pytest.mark.parametrize(
    "path", ["loops:rain-in-march-0a1b2c3d/a", "rain-in-march-0a1b2c3d/a", "/rain-in-march-0a1b2c3d/a"]
)
def test_a_path_without_the_name_of_the_drive_is_meant_there(drive: Drive, tmp_path: Path, path: str) -> None:
    assert drive.meant_path(path, tmp_path) == drive.workspace.workdir(ID) / "a"


def test_what_the_server_has_itself_comes_first(drive: Drive, tmp_path: Path) -> None:
    (tmp_path / "rain-in-march-0a1b2c3d").mkdir()
    assert drive.meant_path("rain-in-march-0a1b2c3d/console-1", tmp_path) is None
    assert drive.meant_path("loops:rain-in-march-0a1b2c3d/a", tmp_path) is not None


@pytest.mark.parametrize("path", ["", "/", "a/b", "snow-0a1b2c3d/a", "rain-in-march-0a1b2c3d/../x", "a\0b/c", 5, None])
def test_other_paths_are_meant_elsewhere(drive: Drive, tmp_path: Path, path: object) -> None:
    assert drive.meant_path(path, tmp_path) is None
