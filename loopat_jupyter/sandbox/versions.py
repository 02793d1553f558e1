"""The version of podman: what it answers, and whether that is new enough."""

from __future__ import annotations

import re

OLDEST_PODMAN = (4, 3)
"""The first with `keep-id:uid=…,gid=…`, which gives the user inside a fixed id."""


def read_version(answer: bytes) -> str:
    """The version in the answer of `podman version`, JSON or not; empty when there is none.

    Args:
        answer: Its standard output.
    """
    found = re.search(r"\d+\.\d+\.\d+\S*?(?=[\"\s,]|$)", answer.decode("utf-8", "replace"))
    return found[0] if found else ""


def is_at_least(version: str, oldest: tuple[int, ...]) -> bool:
    """Whether a version is known to be no older than another.

    Args:
        version: As `read_version` answers.
        oldest: The other one.
    """
    return tuple(int(number) for number in re.findall(r"\d+", version)[: len(oldest)]) >= oldest


def too_old(version: str) -> str | None:
    """What to tell of a version that is too old; None where it is not, or not known.

    Args:
        version: As `read_version` answers.
    """
    if not version or is_at_least(version, OLDEST_PODMAN):
        return None
    return f"version {version} is older than {'.'.join(map(str, OLDEST_PODMAN))}"
