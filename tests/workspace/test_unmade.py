"""Podman is spared a question only where its answer is certain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.workspace.unmade import forget_unmade, is_unmade, note_unmade

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

LOOP = "0f6c8a52-7d0e-4f3a-9c3e-1b2a3c4d5e6f"


@pytest.fixture
def note(workspace: Workspace) -> Path:
    workspace.loop(LOOP).mkdir(parents=True)
    note_unmade(workspace, LOOP)
    return workspace.loop(LOOP) / "unmade"


def test_it_counts_until_it_is_taken_away(workspace: Workspace, note: Path):
    assert is_unmade(workspace, LOOP)
    for _ in range(2):
        forget_unmade(workspace, LOOP)
        assert not is_unmade(workspace, LOOP)


def test_a_loop_without_a_folder_has_none(workspace: Workspace):
    note_unmade(workspace, LOOP)
    assert not is_unmade(workspace, LOOP)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda note: note.write_bytes(b""),
        lambda note: note.write_bytes(note.read_bytes()[:-2]),
        lambda note: note.write_bytes(b"\xff"),
        lambda note: (note.unlink(), note.mkdir()),
        lambda note: note.chmod(0),
    ],
    ids=["empty", "half", "foreign", "a folder", "closed"],
)
def test_what_is_no_whole_note_of_this_start_of_the_machine_is_none(
    workspace: Workspace, note: Path, spoil: Callable[[Path], object]
):
    spoil(note)
    assert not is_unmade(workspace, LOOP)


def test_any_trace_of_a_start_goes_before_it(workspace: Workspace, note: Path):
    workspace.host(LOOP).mkdir(parents=True)
    assert not is_unmade(workspace, LOOP)
