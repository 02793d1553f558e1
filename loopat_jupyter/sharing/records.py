"""`SharedLoops`: which loops are shared. How, stands in their records; to read ten thousand of those takes long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.errors import NotFoundError, UnreadableRecordError
from loopat_jupyter.workspace.files import write_atomic
from loopat_jupyter.workspace.paths import is_loop_id

if TYPE_CHECKING:
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.records import LoopStore


class SharedLoops:
    """The shared loops of a workspace. Change it only under the lock of the edge.

    Args:
        store: The records.

    Attributes:
        file: Their ids.
    """

    def __init__(self, store: LoopStore) -> None:
        self._store = store
        self.file = store.workspace.home / "shares.json"

    def ids(self) -> frozenset[str]:
        """Ids of loops that are shared, or were when somebody last looked."""
        try:
            found = msgspec.json.decode(self.file.read_bytes(), type=list[str])
        except FileNotFoundError:
            return frozenset()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            # The records know; this file only spares reading all of them.
            return frozenset(record.id for record in self._store.readable() if record.share.mode != "off")
        return frozenset(filter(is_loop_id, found))

    def add(self, loop_id: str) -> None:
        """Note that a loop is shared, before its record says so.

        Raises:
            StorageFullError: No space; nothing was noted.
            StorageRefusedError: It may not be written; nothing was noted.
        """
        self._write(self.ids() | {loop_id})

    def settle(self) -> tuple[LoopRecord, ...]:
        """The records of all loops that are shared, by id; what is not (any more) is forgotten.

        Raises:
            StorageFullError: No space.
            StorageRefusedError: It may not be written.
        """
        noted, shared, unreadable = self.ids(), [], set()
        for loop_id in sorted(noted):
            try:
                record = self._store.read(loop_id)
            except NotFoundError:
                continue
            except UnreadableRecordError:
                # It may be restored.
                unreadable.add(loop_id)
                continue
            if record.share.mode != "off":
                shared.append(record)
        kept = unreadable | {record.id for record in shared}
        if kept != noted:
            self._write(frozenset(kept))
        return tuple(shared)

    def _write(self, ids: frozenset[str]) -> None:
        write_atomic(self.file, msgspec.json.format(msgspec.json.encode(sorted(ids)), indent=2) + b"\n")
