"""`Order`: loops in the order of their last use, without a look at each of them at each question.

The first question looks at every record, one `stat` each. Later ones look at what was told (`changes`) and, where the
folder of loops is another one, at what was made in it. Whoever changes files by hand tells nobody: so everything is
looked at again now and then.
"""

from __future__ import annotations

import logging
import operator
import threading
import time
from typing import TYPE_CHECKING

from loopat_jupyter.errors import BadInputError, NotFoundError, UnreadableRecordError
from loopat_jupyter.workspace.changes import told_since

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.changes import Position
    from loopat_jupyter.workspace.records import LoopStore, Stamp

_log = logging.getLogger(__name__)

LOOK_AT_ALL_S = 60.0
"""How long a change that nobody told of may stay unseen."""


class _Entry:
    """A loop as it was looked at once. Another look makes another entry.

    Attributes:
        stamp: When its record was changed or touched.
        archived: Whether it is archived; None until the record was read.
    """

    __slots__ = ("archived", "stamp")

    def __init__(self, stamp: Stamp) -> None:
        self.stamp = stamp
        self.archived: bool | None = None


class Order:
    """The loops of a workspace, newest activity first. Safe to use from any number of threads.

    Args:
        store: Their records.
    """

    def __init__(self, store: LoopStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._sorted: list[_Entry] = []
        self._bare: frozenset[str] = frozenset()
        """Folders without a record: in the making, going, or left by a crash."""
        self._read: Position | None = None
        self._listed_ns = -1
        self._looked_s = float("-inf")

    def records(self, *, after: str | None, archived: bool) -> Iterator[LoopRecord]:
        """Records as they are now, newest activity first. One that cannot be read is left out and logged.

        Args:
            after: Only those behind this loop.
            archived: Only the archived ones, or only the others.

        Raises:
            BadInputError: `after` names no loop.
        """
        with self._lock:
            self._look()
            found = self._sorted
        first = 0
        if after is not None:
            first = next((place for place, entry in enumerate(found, 1) if entry.stamp.loop_id == after), 0)
            if not first:
                raise BadInputError("after", "is not the id of a loop")
        for entry in found[first:]:
            if entry.archived is None or entry.archived == archived:
                try:
                    record = self._store.read(entry.stamp.loop_id)
                except UnreadableRecordError as error:
                    _log.warning("%s", error.message)
                    continue
                except NotFoundError:
                    continue
                entry.archived = record.archived
                if record.archived == archived:
                    yield record

    def _look(self) -> None:
        store, now_s = self._store, time.monotonic()
        # First what was told, then what is there: what comes in between is told to the next look.
        read, told = told_since(store.workspace, self._read)
        listed_ns = _changed_ns(store.workspace.loops)
        everything = told is None or now_s - self._looked_s > LOOK_AT_ALL_S
        told = told or frozenset()
        entries, unknown = self._entries, self._bare | told
        if everything or listed_ns != self._listed_ns:
            ids = store.workspace.loop_ids()
            entries = {loop_id: entry for loop_id, entry in entries.items() if loop_id in ids}
            unknown = ids if everything else (ids - entries.keys()) | (unknown & ids)
        stamps = {loop_id: store.stamp(loop_id) for loop_id in unknown}
        if stamps or entries is not self._entries:
            for loop_id, stamp in stamps.items():
                if stamp is None:
                    entries.pop(loop_id, None)
                elif loop_id in told or loop_id not in entries or entries[loop_id].stamp != stamp:
                    entries[loop_id] = _Entry(stamp)
            self._entries = entries
            self._bare = frozenset(loop_id for loop_id, stamp in stamps.items() if stamp is None)
            self._sorted = sorted(entries.values(), key=_STAMP, reverse=True)
        self._read, self._listed_ns = read, listed_ns
        if everything:
            self._looked_s = now_s


_STAMP = operator.attrgetter("stamp")


def _changed_ns(folder: Path) -> int:
    """When something was last made or removed in a folder; 0 where there is none."""
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
