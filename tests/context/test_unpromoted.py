"""Whether anything changed in a context since its loop was made, however hostile its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.context.unpromoted import MADE, touched
from loopat_jupyter.models import ContextStart

if TYPE_CHECKING:
    from loopat_jupyter.loops import LoopManager
    from tests.conftest import Nest


def test_what_changed_is_found(plain: LoopManager):
    record = msgspec.structs.replace(plain.create(title="a"), contexts=(ContextStart(kind="notes", commit=None),))
    folder = plain.workspace.context(record.id, "notes")
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "file").touch()
    assert touched(plain.workspace, record) == ("notes",), "nobody noted when it was made"
    (folder.parent / MADE).touch()
    assert touched(plain.workspace, record) == ()
    (folder / "below" / "file").write_text("changed")
    assert touched(plain.workspace, record) == ("notes",)


def test_so_is_what_has_too_long_a_path_to_be_seen(plain: LoopManager, nest: Nest):
    record = msgspec.structs.replace(plain.create(title="a"), contexts=(ContextStart(kind="notes", commit=None),))
    folder = plain.workspace.context(record.id, "notes")
    folder.mkdir(parents=True)
    nest(folder, "d" * 250, 20)
    (folder.parent / MADE).touch()
    assert touched(plain.workspace, record) == ("notes",)
