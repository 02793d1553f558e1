"""Pure: what a loop's toolchain and its agents' configuration are composed of, tier by tier.

A tier is what a workspace, a profile or a person lays down. Tiers are composed in that order, a later one wins::

    mise.toml       tables one by one: a later tier's tool replaces an earlier one's of that name
    settings.json   the same: by top-level key, and by key of that
    CLAUDE.md       all of them, one below the other, each under the name of its tier
    skills, agents  all of them; of two with one name the later

Composing is associative, and the empty tier changes nothing (for tables: where a key is a table in every tier or in
none).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import tomli_w

from loopat_jupyter.models import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDERS = ("skills", "agents")
"""Folders whose entries are united."""


class TierFile(NamedTuple):
    """A file of a skill or an agent.

    Attributes:
        data: What is in it.
        executable: Whether it is a program.
    """

    data: bytes
    executable: bool = False


class Section(NamedTuple):
    """The `CLAUDE.md` of one tier.

    Attributes:
        heading: Name of the tier.
        text: The instructions.
    """

    heading: str
    text: str


class Tier(Value, frozen=True, kw_only=True):
    """One tier, or several composed.

    Attributes:
        mise: The tables of `mise.toml`.
        settings: The keys of `settings.json`.
        instructions: The sections of `CLAUDE.md`.
        files: Files of skills and agents by path: `skills/<name>/SKILL.md`, `agents/<name>.md`.
    """

    mise: dict[str, Any] = msgspec.field(default_factory=dict)
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    instructions: tuple[Section, ...] = ()
    files: dict[str, TierFile] = msgspec.field(default_factory=dict)


EMPTY = Tier()


def compose(tiers: Iterable[Tier]) -> Tier:
    """All tiers as one.

    Args:
        tiers: From the first to the last, which wins.
    """
    return functools.reduce(_over, tiers, EMPTY)


def _over(lower: Tier, higher: Tier) -> Tier:
    replaced = {_entry(path) for path in higher.files}
    kept = {path: file for path, file in lower.files.items() if _entry(path) not in replaced}
    return Tier(
        mise=merge_tables(lower.mise, higher.mise),
        settings=merge_tables(lower.settings, higher.settings),
        instructions=(*lower.instructions, *higher.instructions),
        files={**kept, **higher.files},
    )


def _entry(path: str) -> tuple[str, ...]:
    """The skill or agent that a file belongs to."""
    return tuple(path.split("/")[:2])


def merge_tables(lower: Mapping[str, Any], higher: Mapping[str, Any]) -> dict[str, Any]:
    """Two tables as one: a key that is a table in both holds the keys of both; otherwise the higher one's counts.

    It goes no deeper: half of one tool's options and half of another's make no sense together.

    Args:
        lower: The earlier table.
        higher: The later table, which wins.
    """
    merged = dict(lower)
    for key, value in higher.items():
        below = merged.get(key)
        merged[key] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def written(tier: Tier) -> dict[str, TierFile]:
    """The files of an agent's configuration folder, by path.

    Args:
        tier: The composed tier.
    """
    files = dict(tier.files)
    if tier.settings:
        files["settings.json"] = TierFile(msgspec.json.format(msgspec.json.encode(tier.settings), indent=2) + b"\n")
    if tier.instructions:
        text = "\n".join(f"# {section.heading}\n\n{section.text.strip()}\n" for section in tier.instructions)
        files["CLAUDE.md"] = TierFile(text.encode())
    return files


def toolchain(tier: Tier) -> bytes:
    """The `mise.toml` of a loop; empty when no tier has anything to say.

    Args:
        tier: The composed tier.
    """
    return tomli_w.dumps(tier.mise).encode() if any(tier.mise.values()) else b""
