"""Notes about images; that a build is shared is tested with the images themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.sandbox.builders import image_key, note_id, noted_id, read_note
from loopat_jupyter.workspace.paths import Workspace

if TYPE_CHECKING:
    from pathlib import Path


def test_all_workspaces_of_a_user_see_what_is_noted(tmp_path: Path):
    one, other = (Workspace(tmp_path / name, tmp_path / "runtime") for name in ("one", "other"))
    one.prepare()
    assert noted_id(one, "example.org/a:1") == ""
    note_id(one, "example.org/a:1", "first")
    note_id(one, "example.org/a:1", "second")
    assert noted_id(other, "example.org/a:1") == "second"
    assert noted_id(other, "example.org/a:2") == ""


def test_a_tag_is_a_readable_file_name():
    assert image_key("localhost/loopat-sandbox-0a:latest") == "loopat-sandbox-0a"
    assert image_key("example.org/a/b:1@sha256:0") == "example.org-a-b-1-sha256-0"


def test_a_note_that_is_not_there_says_nothing(tmp_path: Path):
    assert read_note(tmp_path / "none") == ""
