"""Which loop a person means, and completion of loop names."""

from __future__ import annotations

import datetime as dt
import difflib
import heapq
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from loopat_jupyter.cli.text import ago
from loopat_jupyter.errors import BadInputError, LoopatError, NotFoundError, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord

HERE = "."
"""Stands for the loop whose folder the command is called in."""

_SUGGESTED = 3
_CANDIDATES = 10
_LIKE = 0.6
"""How alike two names are, from 0 to 1, before one may be a slip of the other: difflib's own cut-off."""


def find_loop(manager: LoopManager, reference: str) -> LoopRecord:
    """The loop that a person means.

    Args:
        manager: Knows the loops.
        reference: An id, the start of one, a short name, a title, or "." for the loop of the current folder.

    Raises:
        BadInputError: More than one loop matches; names them.
        NotFoundError: None matches; names those that nearly do.
        UnreadableRecordError: The record of that loop is damaged.
    """
    if reference == HERE:
        found = manager.workspace.loop_of(Path.cwd())
        if found is None:
            raise NotFoundError("The current folder belongs to no loop. Name one; `jupyter loopat list` shows them.")
        return manager.store.read(found[0])
    try:
        matches = manager.store.matching(reference)
    except NotFoundError as error:
        near = near_misses(reference, manager.store.readable())
        if not near:
            raise
        raise NotFoundError(f"{error.message} Did you mean {' or '.join(map(repr, near))}?") from None
    if len(matches) > 1:
        lines = [f"{reference!r} could be any of these. Name one by its id:"]
        now = dt.datetime.now(dt.UTC)
        for record in matches[:_CANDIDATES]:
            archived = ", archived" if record.archived else ""
            # The whole id: what was written may be a title that looks like the start of one.
            lines.append(f"  {record.id} {plain(record.title)}, made {ago(record.created_at, now)}{archived}")
        lines += [f"  and {len(matches) - _CANDIDATES} more"] if len(matches) > _CANDIDATES else []
        raise BadInputError("loop", "\n".join(lines))
    return matches[0]


def near_misses(reference: str, records: Iterable[LoopRecord]) -> list[str]:
    """Names that look like what a person wrote, the likeliest first.

    Args:
        reference: What the person wrote.
        records: Loops that exist.
    """
    wanted = reference.casefold()
    likeness: dict[str, float] = {}
    for record in records:
        for name in (record.slug, record.title, record.id[:8]):
            begins = name.casefold().startswith(wanted)
            ratio = 1.0 if begins else difflib.SequenceMatcher(None, wanted, name.casefold()).ratio()
            if ratio > max(_LIKE, likeness.get(record.slug, 0)):
                likeness[record.slug] = ratio
    return heapq.nlargest(_SUGGESTED, likeness, key=likeness.__getitem__)


def complete_loop(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Loop names for the shell's completion; asks the disk only."""
    del context, parameter
    from loopat_jupyter.workspace.paths import Workspace  # noqa: PLC0415 - `--help` does not wait for it
    from loopat_jupyter.workspace.records import LoopStore  # noqa: PLC0415

    try:
        store = LoopStore(Workspace.from_environment(os.environ))
        records = list(store.readable())
    except (LoopatError, OSError):
        return []
    items = [CompletionItem(record.slug, help=record.title) for record in records if record.slug.startswith(incomplete)]
    if len(incomplete) >= 4:
        items += [
            CompletionItem(record.id, help=record.title) for record in records if record.id.startswith(incomplete)
        ]
    return items


def loop_argument(*, many: bool = False, required: bool = True) -> Callable[[Any], Any]:
    """The LOOP argument of a verb.

    Args:
        many: Take any number.
        required: At least one.
    """
    name = "loops" if many else "loop"
    return click.argument(
        name,
        metavar="LOOP..." if many else "LOOP",
        nargs=-1 if many else 1,
        required=required,
        shell_complete=complete_loop,
    )
