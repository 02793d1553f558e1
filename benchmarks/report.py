"""Medians, ratios and the table."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Unit = Literal["ms", "MiB", "/s"]


class Row(NamedTuple):
    """One figure beside its floor.

    Attributes:
        what: What was measured.
        floor_is: What it is compared with.
        floor: Samples of the floor, in `unit`; empty where there is nothing to compare with.
        ours: Samples of ours, in `unit`.
        unit: Milliseconds, megabytes or times per second.
        goal: What ours shall reach, as text.
    """

    what: str
    floor_is: str
    floor: Sequence[float]
    ours: Sequence[float]
    unit: Unit
    goal: str


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table of medians."""
    lines = [
        "| what | floor | | ours | ours : floor | goal |",
        "|---|---|---:|---:|---:|---|",
    ]
    for row in rows:
        ours = statistics.median(row.ours)
        floor = statistics.median(row.floor) if row.floor else None
        shown = f"{floor:.1f} {row.unit}" if floor is not None else "–"
        ratio = f"{ours / floor:.2f}" if floor else "–"
        lines.append(f"| {row.what} | {row.floor_is} | {shown} | {ours:.1f} {row.unit} | {ratio} | {row.goal} |")
    return "\n".join(lines)
