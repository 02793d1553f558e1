"""Profiles of a workspace: named folders of shared toolchain and agent configuration."""

from __future__ import annotations

import os
import re
import tomllib
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.models import Value
from loopat_jupyter.workspace.files import read_untrusted
from loopat_jupyter.workspace.paths import member_key
from loopat_jupyter.workspace.tier_files import TierReader
from loopat_jupyter.workspace.tiers import Tier, compose

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

MOST_PROFILES = 50
MOST_PROBLEMS = 20
"""Of what was left out; the rest is counted. They stand in the record of each loop, which has a limit."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_ABOUT_BYTES = 64 * 1024


class Profile(Value, frozen=True, kw_only=True):
    """A named set of toolchain and agent configuration."""

    name: str
    description: str


class _About(msgspec.Struct):
    """`profile.toml`."""

    description: str = ""


class Composed(NamedTuple):
    """What tiers amount to.

    Attributes:
        tier: All of them as one.
        problems: What was left out, in sentences.
    """

    tier: Tier
    problems: tuple[str, ...]


def list_profiles(workspace: Workspace) -> tuple[Profile, ...]:
    """Every profile, by name.

    Args:
        workspace: Where they are.
    """
    try:
        entries = list(os.scandir(workspace.profiles))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    names = sorted(entry.name for entry in entries if _NAME.match(entry.name) and entry.is_dir(follow_symlinks=False))
    return tuple(Profile(name=name, description=_description(workspace.profiles / name)) for name in names)


def _description(folder: Path) -> str:
    try:
        text = read_untrusted(folder / "profile.toml", limit_bytes=_ABOUT_BYTES).decode("utf-8")
        return msgspec.convert(tomllib.loads(text), _About).description
    except (OSError, ValueError, RecursionError) as error:
        return "" if isinstance(error, FileNotFoundError) else f"{folder / 'profile.toml'} is broken: {error}"


def check_profiles(workspace: Workspace, names: Sequence[str]) -> None:
    """Refuse profiles that cannot be had.

    Args:
        workspace: Where they are.
        names: As they were asked for.

    Raises:
        BadInputError: One is unknown, or named twice, or there are too many.
    """
    if len(names) > MOST_PROFILES:
        raise BadInputError("profiles", f"must be at most {MOST_PROFILES}, are {len(names)}")
    for number, name in enumerate(names):
        folder = workspace.profiles / name if _NAME.match(name) else None
        if folder is None or folder.is_symlink() or not folder.is_dir():
            known = ", ".join(profile.name for profile in list_profiles(workspace))
            there = f"There are: {known}" if known else f"There are none; make one as a folder in {workspace.profiles}"
            raise BadInputError("profiles", f"there is no profile {name[:80]!r}. {there}")
        if name in names[:number]:
            raise BadInputError("profiles", f"{name!r} is named twice")


def compose_tiers(workspace: Workspace, profiles: Sequence[str], member: str) -> Composed:
    """Read and compose: the workspace's tier, the profiles in their order, the member's own.

    Args:
        workspace: Where they are.
        profiles: Names that were checked.
        member: Whose loop it is.
    """
    readers = [TierReader(workspace.tier, "Workspace", "The workspace's tier")]
    readers += [TierReader(workspace.profiles / name, f"Profile {name}", f"Profile {name}") for name in profiles]
    readers.append(TierReader(workspace.members / member_key(member) / "tier", "Personal", "The personal tier"))
    tier = compose(reader.read() for reader in readers)
    problems = tuple(problem for reader in readers for problem in reader.problems)
    if len(problems) > MOST_PROBLEMS:
        more = f"{len(problems) - MOST_PROBLEMS} more files of the tiers were left out for reasons like these."
        problems = (*problems[:MOST_PROBLEMS], more)
    return Composed(tier, problems)
