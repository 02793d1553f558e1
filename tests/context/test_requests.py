"""Requests from inside: taken once, and never followed anywhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.context.requests import (
    CUT_SHORT,
    LARGEST_REQUEST_BYTES,
    Request,
    Waiting,
    answer,
    give_up,
    take,
    waiting,
)
from loopat_jupyter.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path

NAME = "0123456789abcdef01234567"
NOTHING = Waiting()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir()
    return made


def test_a_request_is_taken_once(run: Path):
    (run / f"ask-{NAME}").write_bytes(b"notes\0What we learned\n\0")
    assert waiting(run) == ((NAME,), ())
    assert take(run, NAME) == Request(NAME, "notes", "What we learned")
    assert take(run, NAME) is None
    assert waiting(run) == NOTHING
    answer(run, NAME, code=0, text="Done.")
    assert [path.name for path in run.iterdir()] == [f"said-{NAME}"]


def test_who_asked_somebody_that_is_gone_is_told(run: Path):
    taken = f"taken-{NAME}.1.2"
    (run / taken).touch()
    (run / f"taken-{'a' * 24}.1.2").mkdir()
    found = waiting(run)
    assert found == ((), (taken,))
    for _ in range(2):
        give_up(run, taken)
    assert (run / f"said-{NAME}").read_text().partition("\n")[::2] == ("75", f"{CUT_SHORT}\n")
    assert waiting(run) == NOTHING


@pytest.mark.parametrize(
    "data", [b"", b"secrets\0x\0", b"notes/../x\0", b"\xff\xfe\0", b"notes\0" + b"x" * LARGEST_REQUEST_BYTES]
)
def test_what_makes_no_sense_is_taken_and_told(run: Path, data: bytes):
    (run / f"ask-{NAME}").write_bytes(data)
    with pytest.raises(BadInputError):
        take(run, NAME)
    answer(run, NAME, code=1, text="No.")
    assert [path.name for path in run.iterdir()] == [f"said-{NAME}"]


def test_so_is_what_may_not_be_read(run: Path):
    (run / f"ask-{NAME}").touch(mode=0)
    with pytest.raises(BadInputError):
        take(run, NAME)
    assert waiting(run) == NOTHING


def test_planted_links_fifos_and_folders_are_left_where_they_are(run: Path, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"notes\0stolen\0")
    (run / f"ask-{NAME}").symlink_to(secret)
    os.mkfifo(run / f"ask-{'a' * 24}")
    (run / f"ask-{'b' * 24}").mkdir()
    (run / "ask-short").write_bytes(b"notes\0x\0")
    assert waiting(run) == NOTHING
    # Put there in place of a request that was seen.
    assert take(run, "b" * 24) is None
    for name in ("a" * 24, NAME):
        with pytest.raises(BadInputError):
            take(run, name)
    assert secret.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "secret"]
    for name in ("a" * 24, NAME):
        answer(run, name, code=1, text="No.")
        (run / f"said-{name}").unlink()
    assert sorted(path.name for path in run.iterdir()) == [f"ask-{'b' * 24}", "ask-short"]


def test_a_flood_is_looked_at_in_parts(run: Path):
    for number in range(1500):
        (run / f"ask-{number:024x}").touch()
    assert 0 < len(waiting(run).asked) <= 1000


def test_an_answer_is_written_nowhere_else(run: Path, tmp_path: Path):
    target = tmp_path / "target"
    (run / f"said-{NAME}").symlink_to(target)
    answer(run, NAME, code=0, text="done")
    assert not target.exists()
    (run / f"said-{NAME}").unlink()
    answer(run, NAME, code=1, text="no")
    assert (run / f"said-{NAME}").read_text() == "1\nno\n"
    answer(tmp_path / "gone", NAME, code=0, text="")
    answer(run / f"said-{NAME}", NAME, code=0, text="")
