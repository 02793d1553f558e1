"""In which line of a TOML file a value stands. Python's own parser does not say, so it is given single statements."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_NAMED = re.compile(r"(?:unknown|missing required) field `(?P<field>[^`]*)`")
_STRINGS = (r'"""(?:[^\\]|\\.)*?"{3,5}(?!")', r"'''.*?'{3,5}(?!')", r'"(?:[^"\\\n]|\\.)*"', r"'[^'\n]*'")
_TOKEN = re.compile("|".join((*_STRINGS, r"#[^\n]*", r"[\[\]{}\n]")), re.DOTALL)
"""What may hold a bracket or the end of a line that means nothing, and brackets and ends of lines that do."""

_Path = list[str | int]


class _Statement(NamedTuple):
    line: int
    text: str


def line_of(text: str, where: str, problem: str = "") -> int | None:
    """The line in which a value begins, counted from one; None where that cannot be told.

    Args:
        text: The whole file, which is TOML.
        where: The value as msgspec names it, without `$.`: `image.base`, `mounts[0].target`.
        problem: What msgspec says of it, which may name a field in it.
    """
    path: _Path = [int(index) if index else name for name, index in _STEP.findall(where)]
    named = _NAMED.search(problem)
    if named and "unknown" in named[0]:
        path.append(named["field"])
    table: _Path = []
    tables: dict[tuple[str | int, ...], int] = {}
    # As the parser counts lines.
    for statement in _statements(text.replace("\r\n", "\n")):
        found = tomllib.loads(statement.text)
        if statement.text.lstrip().startswith("["):
            table = _entered(found, tables)
            if path and table[: len(path)] == path:
                return statement.line
        elif table == path[: len(table)] and _holds(found, path[len(table) :]):
            return statement.line
    return None


def _statements(text: str) -> Iterator[_Statement]:
    """What stands between the ends of lines that are in no string and no bracket."""
    line = begins = start = 0
    depth = 0
    for token in _TOKEN.finditer(text):
        found = token[0]
        line += found.count("\n")
        depth += (found in ("[", "{")) - (found in ("]", "}"))
        if found == "\n" and depth == 0:
            yield _Statement(begins + 1, text[start : token.end()])
            begins, start = line, token.end()
    yield _Statement(begins + 1, text[start:])


def _entered(found: Any, tables: dict[tuple[str | int, ...], int]) -> _Path:  # noqa: ANN401 - whatever the header says
    """The table that a header opens; `tables` counts those of arrays."""
    path: _Path = []
    while found:
        [(name, found)] = found.items()
        path.append(name)
        known = tuple(path)
        if isinstance(found, list):
            tables[known] = tables.get(known, -1) + 1
            found = found[0]
        if known in tables:
            path.append(tables[known])
    return path


def _holds(value: Any, path: _Path) -> bool:  # noqa: ANN401 - whatever the file holds
    for step in path:
        if isinstance(step, int):
            if not isinstance(value, list) or len(value) <= step:
                return False
        elif not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return bool(path)
