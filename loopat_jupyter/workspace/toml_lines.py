"""In which line of a TOML file a value stands: Python's own parser does not say, so it is given the file in parts."""

from __future__ import annotations

import re
import tomllib
from typing import Any

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_NAMED = re.compile(r"(?:unknown|missing required) field `(?P<field>[^`]*)`")


def line_of(text: str, where: str, problem: str = "") -> int | None:
    """The line in which a value begins, counted from one; None where that cannot be told.

    A statement ends where the file up to there is TOML again, and its value is seen for the first time then.

    Args:
        text: The whole file, which is TOML.
        where: The value as msgspec names it, without `$.`: `image.base`, `mounts[0].target`.
        problem: What msgspec says of it, which may name a field in it.
    """
    path: list[str | int] = [int(index) if index else name for name, index in _STEP.findall(where)]
    named = _NAMED.search(problem)
    if named and "unknown" in named[0]:
        path.append(named["field"])
    # As the parser counts lines.
    lines = text.replace("\r\n", "\n").split("\n")
    begins = 1
    for count in range(1, len(lines) + 1):
        try:
            found = tomllib.loads("\n".join(lines[:count]) + "\n")
        except tomllib.TOMLDecodeError:
            continue
        if _holds(found, path):
            return begins
        begins = count + 1
    return None


def _holds(value: Any, path: list[str | int]) -> bool:  # noqa: ANN401 - whatever the file holds
    for step in path:
        if isinstance(step, int):
            if not isinstance(value, list) or len(value) <= step:
                return False
        elif not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return bool(path)
