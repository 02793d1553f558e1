"""Requests from inside: taken once, and never followed anywhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.context.requests import LARGEST_REQUEST_BYTES, Request, answer, claim

if TYPE_CHECKING:
    from pathlib import Path

NAME = "0123456789abcdef01234567"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    made = tmp_path / "run", tmp_path / "host"
    for folder in made:
        folder.mkdir()
    return made


def test_a_request_is_taken_once(folders: tuple[Path, Path]):
    run, host = folders
    (run / f"ask-{NAME}").write_bytes(b"notes\0What we learned\n\0")
    assert claim(run, host) == [Request(NAME, "notes", "What we learned")]
    assert claim(run, host) == []
    assert list(run.iterdir()) == list(host.iterdir()) == []


@pytest.mark.parametrize(
    "data", [b"", b"secrets\0x\0", b"notes/../x\0", b"\xff\xfe\0", b"x" * (LARGEST_REQUEST_BYTES + 1)]
)
def test_what_is_no_request_is_thrown_away(folders: tuple[Path, Path], data: bytes):
    run, host = folders
    (run / f"ask-{NAME}").write_bytes(data)
    assert claim(run, host) == []
    assert list(run.iterdir()) == list(host.iterdir()) == []


def test_planted_links_fifos_and_folders_are_not_followed(folders: tuple[Path, Path], tmp_path: Path):
    run, host = folders
    secret = tmp_path / "secret"
    secret.write_bytes(b"notes\0stolen\0")
    (run / f"ask-{NAME}").symlink_to(secret)
    os.mkfifo(run / f"ask-{'a' * 24}")
    (run / f"ask-{'b' * 24}").mkdir()
    (run / "ask-short").write_bytes(b"notes\0x\0")
    assert claim(run, host) == []
    assert secret.exists()


def test_an_answer_is_written_nowhere_else(folders: tuple[Path, Path], tmp_path: Path):
    run, _ = folders
    target = tmp_path / "target"
    (run / f"said-{NAME}").symlink_to(target)
    answer(run, Request(NAME, "notes", ""), code=0, text="done")
    assert not target.exists()
    (run / f"said-{NAME}").unlink()
    answer(run, Request(NAME, "notes", ""), code=1, text="no")
    assert (run / f"said-{NAME}").read_text() == "1\nno\n"
    answer(tmp_path / "gone", Request(NAME, "notes", ""), code=0, text="")
