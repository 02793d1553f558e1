from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import StorageRefusedError
from loopat_jupyter.sandbox.helpers import (
    COMMANDS,
    INSIDE,
    MAIN_HELPER,
    NAMES,
    SKILL,
    VERSION,
    digest,
    file_name,
    install,
    skill_folder,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_the_version_is_that_of_the_files() -> None:
    assert {path.name for path in INSIDE.iterdir()} == {*NAMES, MAIN_HELPER, SKILL}
    wanted = digest((INSIDE / name).read_bytes() for name in NAMES)
    assert wanted == VERSION, f'they were changed: set VERSION = "{wanted}"'


def test_they_are_installed_once_and_those_of_other_versions_stay(tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    install(folder)
    (folder / "launch-00000000").touch()
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert set(before) == {file_name(name) for name in (*NAMES, "bin", "waiting")} | {
        "launch-00000000",
        MAIN_HELPER,
        "skill",
    }
    assert all(os.access(folder / file_name("bin") / name, os.X_OK) for name in COMMANDS)
    assert all(os.access(folder / file_name(name), os.X_OK) for name in NAMES)
    install(folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageRefusedError, match="/lib cannot be written: Permission denied"):
            install(tmp_path / "lib")
    finally:
        tmp_path.chmod(0o700)


def test_the_main_process_has_one_name_in_all_versions_and_the_last_counts(tmp_path: Path) -> None:
    main = tmp_path / MAIN_HELPER
    main.write_text("of another version")
    install(tmp_path)
    assert (main.read_bytes(), os.access(main, os.X_OK)) == ((INSIDE / MAIN_HELPER).read_bytes(), True)


def test_the_skill_of_the_last_version_counts(tmp_path: Path) -> None:
    skill = skill_folder(tmp_path) / SKILL
    skill.parent.mkdir()
    skill.write_text("of another version")
    install(tmp_path)
    assert skill.read_bytes() == (INSIDE / SKILL).read_bytes()
