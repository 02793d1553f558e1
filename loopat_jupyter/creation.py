"""`Creation`: makes a loop whole, or not at all.

What a loop carries is laid into its folders by *steps*, in order, before its record is written; until then nobody
lists it and no sandbox sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from loopat_jupyter.deadlines import in_thread
from loopat_jupyter.workspace.files import full_disk_told

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopat_jupyter.models import LoopRecord, NewLoop, Progress
    from loopat_jupyter.workspace.records import LoopStore


class Step(Protocol):
    """One thing that a loop carries."""

    def check(self, new: NewLoop) -> None:
        """Refuse what can be refused before anything is made.

        Raises:
            BadInputError: A value is not acceptable; names the field.
        """
        ...

    async def apply(self, new: NewLoop, record: LoopRecord, tell: Callable[[Progress], None]) -> LoopRecord:
        """Lay it into the loop's folders, which are there; what went wrong becomes a warning of the record.

        Args:
            new: What was asked for.
            record: The loop so far.
            tell: Told about long work.

        Returns:
            The record with what this step has to say.
        """
        ...


class Creation:
    """Makes loops.

    Args:
        store: Where their records go.
        steps: What a loop carries, in the order in which it is laid in.
    """

    def __init__(self, store: LoopStore, steps: Sequence[Step]) -> None:
        self._store = store
        self._steps = steps

    def check(self, new: NewLoop) -> None:
        """Refuse what can be refused before anything is made.

        Raises:
            BadInputError: A value is not acceptable; names the field.
        """
        for step in self._steps:
            step.check(new)

    async def make(self, new: NewLoop, record: LoopRecord, tell: Callable[[Progress], None]) -> LoopRecord:
        """Make the loop; whoever fails or is cancelled on the way leaves nothing behind.

        Args:
            new: What was asked for.
            record: The record to begin with.
            tell: Told about long work.

        Raises:
            StorageFullError: No space.
        """
        try:
            await in_thread(self._store.begin, record.id)
            with full_disk_told(self._store.workspace.loop(record.id)):
                for step in self._steps:
                    record = await step.apply(new, record, tell)
                self._store.write(record)
        except BaseException:
            await in_thread(self._store.abandon, record.id)
            raise
        return record
