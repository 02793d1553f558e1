"""Sizes, times and loops in words. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from loopat_jupyter.errors import plain
from loopat_jupyter.wording import count, listing

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from loopat_jupyter.models import Loop, LoopRecord
    from loopat_jupyter.sandbox.lifecycle import Running

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:(?:([kmgt])(i?))?b)?", re.IGNORECASE | re.ASCII)
_PERIODS = ((365 * 86400, "year"), (30 * 86400, "month"), (7 * 86400, "week"), (86400, "day"), (3600, "hour"))

_NAMED = 3
"""Of the loops that one warning is about, that many are named."""

_LONGEST = 160
"""Two lines of a terminal."""


def size(size_bytes: int) -> str:
    """A size in powers of two, as the face and podman say it.

    Args:
        size_bytes: The size.
    """
    value = float(size_bytes)
    for unit in _UNITS[:-1]:
        if value < 1023.5:
            return f"{_short(value)} {unit}"
        value /= 1024
    return f"{_short(value)} {_UNITS[-1]}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")


def parse_size(text: str) -> int:
    """Bytes of a size as people write it: `4GiB` in powers of two, `4GB` in powers of ten, a number alone in bytes.

    Args:
        text: The size.

    Raises:
        ValueError: Not of that form. A bare `4G` is refused too: programs do not agree on what it means.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text[:80]!r} is not a size such as 4GiB or 512MiB")
    number, prefix, binary = found.groups(default="")
    power = "kmgt".index(prefix.lower()) + 1 if prefix else 0
    factor: int = (1024 if binary else 1000) ** power
    return round(float(number) * factor)


def short_id(loop_id: str) -> str:
    """As much of an id as a person reads and types."""
    return loop_id[:8]


def named(loop: Loop | LoopRecord) -> str:
    """A loop as it is named to a person: titles may repeat, so its short id stands beside its title."""
    return f"{plain(loop.title)} ({short_id(loop.id)})"


def ago(then: dt.datetime, now: dt.datetime) -> str:
    """How long ago something was.

    Args:
        then: An aware time.
        now: An aware time; a clock that was set back gives "just now".
    """
    seconds = (now - then).total_seconds()
    if seconds < 60:
        return "just now"
    for period_s, noun in _PERIODS:
        if seconds >= period_s:
            return f"{count(int(seconds // period_s), noun)} ago"
    return f"{int(seconds // 60)} min ago"


def duration(seconds: float) -> str:
    """How long something took.

    Args:
        seconds: The time it took.
    """
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s"


def restart_hint(record: LoopRecord) -> str:
    """What to say of a sandbox that runs with outdated settings."""
    return (
        "It runs with outdated settings, because something is in use in it. To apply the new ones: "
        f"jupyter loopat recreate {short_id(record.id)}"
    )


def changes(record: LoopRecord, running: Running) -> str:
    """What a person should know about a sandbox that was just started; empty when there is nothing.

    Args:
        record: The loop.
        running: Its sandbox.
    """
    return running.replaced or (restart_hint(record) if running.restart_needed else "")


def changed_text(loop: Loop, *, said: str = "", at_start: bool = False) -> str:
    """What to say of a loop that was just changed.

    Args:
        loop: The loop as it is now.
        said: What was changed, as a sentence.
        at_start: Something was changed that counts from a start on.
    """
    said = said or f"Changed {named(loop)}."
    if loop.restart_needed:
        return (
            f"{said} Its sandbox has the settings from before. The next use changes that if nothing runs in it; this "
            f"does at once, and ends what runs in it: jupyter loopat recreate {short_id(loop.id)}"
        )
    return f"{said} The new settings count from the next start on." if at_start and loop.state != "running" else said


def shared_warnings(loops: Iterable[Loop]) -> list[str]:
    """Warnings of loops in a list: what is told of several loops is told once, with the ids of the first ones.

    Of a long one that is its first sentence: a list is looked at often, and `show` has the rest.

    Args:
        loops: In the order to show.
    """
    ids: dict[str, list[str]] = {}
    for loop in loops:
        for warning in dict.fromkeys(loop.warnings):
            ids.setdefault(warning, []).append(short_id(loop.id))
    told = []
    for warning, found in ids.items():
        words, rest = warning, ""
        if len(warning) > _LONGEST:
            words, _, rest = warning.partition(". ")
        more = f". More: jupyter loopat show {found[0]}" if rest else ""
        found[_NAMED:] = [f"{len(found) - _NAMED} more"] if len(found) > _NAMED else []
        told.append(f"{listing(found)}: {words}{more}")
    return told
