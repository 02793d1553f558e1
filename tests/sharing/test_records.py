from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.sharing.records import SharedLoops
from loopat_jupyter.values import Share
from loopat_jupyter.workspace.records import LoopStore
from tests.sharing.test_plan import record

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace


def test_what_is_not_shared_any_more_is_forgotten(workspace: Workspace):
    store = LoopStore(workspace)
    shared = SharedLoops(store)
    assert (shared.ids(), shared.settle()) == (frozenset(), ())
    records = [record(number, mode="static") for number in (1, 2, 3)]
    for each in records:
        store.create(each)
        shared.add(each.id)
    assert shared.settle() == tuple(records)
    store.write(msgspec.structs.replace(records[0], share=Share()))
    workspace.record(records[1].id).unlink()
    assert shared.settle() == (records[2],)
    assert shared.ids() == {records[2].id}
    # A damaged record may be restored.
    data = workspace.record(records[2].id).read_bytes()
    workspace.record(records[2].id).write_bytes(b"{")
    assert shared.settle() == ()
    workspace.record(records[2].id).write_bytes(data)
    assert shared.settle() == (records[2],)


def test_a_damaged_list_is_made_anew_from_the_records(workspace: Workspace):
    store = LoopStore(workspace)
    store.create(record(1, mode="static"))
    store.create(record(2))
    SharedLoops(store).file.write_text("{")
    assert SharedLoops(store).ids() == {record(1).id}
    SharedLoops(store).file.write_text('["../x", "-v"]')
    assert SharedLoops(store).ids() == frozenset()
