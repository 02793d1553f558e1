from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import ConflictError
from loopat_jupyter.models import Mount
from loopat_jupyter.sandbox.copies import make_copies, own_copy

if TYPE_CHECKING:
    from pathlib import Path


def test_single_files_that_are_read_only_are_copied_anew_each_time(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    source, copies = tmp_path / "source", tmp_path / "copies"
    mounts = [
        Mount(source=str(source), target="/a", mode="ro", file=True),
        Mount(source=str(tmp_path / "written"), target="/b", file=True),
        Mount(source=str(tmp_path / "folder"), target="/c", mode="ro"),
    ]
    for text in ("before", "after"):
        source.write_text(text)
        make_copies(mounts, copies)
        assert [path.read_text() for path in copies.iterdir()] == [text]
        own_copy(copies, str(source)).write_text("changed inside")
    make_copies(mounts[1:], copies)
    assert list(copies.iterdir()) == []
    source.chmod(0)
    with pytest.raises(ConflictError, match="source cannot be copied .* Permission denied"):
        make_copies(mounts, copies)
