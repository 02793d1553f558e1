"""Loops in the order of their last use, while several processes change them."""

from __future__ import annotations

import datetime
import os
import random
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.workspace import order as order_module
from loopat_jupyter.workspace.order import Order
from loopat_jupyter.workspace.records import LoopStore, new_record

if TYPE_CHECKING:
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)

LIFE = """
import datetime, random, shutil, sys
from pathlib import Path
import msgspec
from loopat_jupyter.errors import NotFoundError
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.records import LoopStore, new_record
chance = random.Random(int(sys.argv[3]))
store = LoopStore(Workspace(Path(sys.argv[1]), Path(sys.argv[2])))
for number in range(150):
    ids = sorted(store.workspace.loop_ids())
    verb = chance.choice(["create", "touch", "touch", "archive", "delete"])
    try:
        if verb == "create" or not ids:
            store.create(new_record(title="one", created_by="ada", now=datetime.datetime.now(datetime.UTC)))
        elif verb == "touch":
            store.touch(chance.choice(ids))
        elif verb == "archive":
            record = store.read(chance.choice(ids))
            store.write(msgspec.structs.replace(record, archived=not record.archived))
        else:
            shutil.rmtree(store.workspace.loop(chance.choice(ids)), ignore_errors=True)
    except (NotFoundError, FileNotFoundError):
        pass
"""
"""What a process may do to the loops of a workspace, while others do, too."""


@pytest.fixture
def store(workspace: Workspace) -> LoopStore:
    workspace.prepare()
    return LoopStore(workspace)


def make(store: LoopStore, **changes: object) -> LoopRecord:
    record = msgspec.structs.replace(new_record(title="one", created_by="ada", now=NOW), **changes)
    store.create(record)
    return record


def ids(order: Order, *, after: str | None = None, archived: bool = False) -> list[str]:
    return [record.id for record in order.records(after=after, archived=archived)]


def from_disk(store: LoopStore, *, archived: bool) -> list[str]:
    return [record.id for record in store.readable() if record.archived == archived]


def test_what_others_do_shows_at_the_next_look(store: LoopStore, workspace: Workspace):
    order, other = Order(store), LoopStore(workspace)
    assert ids(order) == []
    first, second = make(other), make(other)
    assert set(ids(order)) == {first.id, second.id}
    os.utime(workspace.record(second.id), (1000, 1000))
    other.touch(first.id)
    other.touch(second.id)
    assert ids(order)[0] == from_disk(store, archived=False)[0]
    other.write(msgspec.structs.replace(second, archived=True))
    assert (ids(order), ids(order, archived=True)) == ([first.id], [second.id])
    other.write(second)
    assert (set(ids(order)), ids(order, archived=True)) == ({first.id, second.id}, [])
    shutil.rmtree(workspace.loop(first.id))
    assert ids(order) == [second.id]
    # By hand, from a copy elsewhere: the folder comes first, the record later.
    workspace.loop(first.id).mkdir()
    assert ids(order) == [second.id]
    workspace.record(first.id).write_bytes(msgspec.json.encode(first))
    assert set(ids(order)) == {first.id, second.id}


def test_a_look_is_at_what_changed_alone(store: LoopStore, monkeypatch: pytest.MonkeyPatch):
    order, records = Order(store), [make(store) for _ in range(20)]
    for record in records:
        os.utime(store.workspace.record(record.id), (1000, 1000))
    assert len(ids(order)) == 20
    looked: list[str] = []
    stamp = store.stamp
    monkeypatch.setattr(store, "stamp", lambda loop_id: (looked.append(loop_id), stamp(loop_id))[1])
    assert len(ids(order)) == 20
    assert looked == []
    store.touch(records[3].id)
    assert ids(order)[0] == records[3].id
    assert looked == [records[3].id]
    looked.clear()
    new = make(store)
    # Both may be of one tick of the file system's clock.
    assert set(ids(order)[:2]) == {new.id, records[3].id}
    assert looked == [new.id]
    shutil.rmtree(store.workspace.loop(new.id))
    looked.clear()
    assert new.id not in ids(order)
    assert looked == []


def test_the_few_that_are_archived_are_found_without_reading_the_others_again(
    store: LoopStore, monkeypatch: pytest.MonkeyPatch
):
    order, archived = Order(store), make(store, archived=True)
    for _ in range(20):
        make(store)
    assert ids(order, archived=True) == [archived.id]
    read: list[str] = []
    original = store.read
    monkeypatch.setattr(store, "read", lambda loop_id: (read.append(loop_id), original(loop_id))[1])
    assert ids(order, archived=True) == [archived.id]
    assert read == [archived.id]


def test_a_change_that_nobody_told_of_shows_after_a_while(
    store: LoopStore, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    order, first, second = Order(store), make(store), make(store)
    os.utime(workspace.record(first.id), (1000, 1000))
    assert ids(order) == [second.id, first.id]
    os.utime(workspace.record(second.id), (999, 999))
    monkeypatch.setattr(order_module, "LOOK_AT_ALL_S", 0.0)
    assert ids(order) == [first.id, second.id]


def test_a_wiped_runtime_directory_loses_nothing(store: LoopStore, workspace: Workspace):
    order, first, second = Order(store), make(store), make(store)
    assert ids(order) == from_disk(store, archived=False)
    shutil.rmtree(workspace.runtime)
    # Nobody can be told now.
    os.utime(workspace.record(first.id), (1000, 1000))
    assert ids(order) == [second.id, first.id]
    os.utime(workspace.record(second.id), (999, 999))
    assert ids(order) == [first.id, second.id]
    workspace.prepare()
    store.touch(second.id)
    assert ids(order) == [second.id, first.id]


def test_who_follows_nobody_is_refused(store: LoopStore):
    order, records = Order(store), [make(store) for _ in range(3)]
    whole = ids(order)
    assert set(whole) == {record.id for record in records}
    assert ids(order, after=whole[0]) == whole[1:]
    assert ids(order, after=whole[2]) == []
    with pytest.raises(BadInputError, match="after"):
        ids(order, after="nope")


def test_while_several_processes_change_everything_no_change_is_lost(store: LoopStore, workspace: Workspace):
    order = Order(store)
    where = (str(workspace.home), str(workspace.runtime_root))
    chance = random.Random(1)
    lives = [
        subprocess.Popen([sys.executable, "-c", LIFE, *where, str(chance.randrange(1000))], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    while [life for life in lives if life.poll() is None]:
        ids(order)
        ids(order, archived=True)
    for life in lives:
        _, stderr = life.communicate()
        assert (life.returncode, stderr) == (0, b"")
    for archived in (False, True):
        assert ids(order, archived=archived) == from_disk(store, archived=archived)
