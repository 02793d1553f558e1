"""Lines of values in TOML, as people write it."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopat_jupyter.workspace.toml_lines import line_of

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = '''# A comment
network = "none"

agents = [
  # one
  { name = "a", command = ["x"] },
]
image.base = "debian"
"shell" = """
[share]
port = 1
"""

[share]   # what is shown
port = 7

[[mounts]]
source = "~/a"
target = "~/a"

[[mounts]]
source = "~/b"
target = "~/b"
[repos]
web = "/srv/web"
'''


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("network", 2),
        ("agents", 4),
        ("agents[0].name", 4),
        ("image", 8),
        ("image.base", 8),
        ("shell", 9),
        ("share", 14),
        ("share.port", 15),
        ("mounts[0]", 17),
        ("mounts[0].target", 19),
        ("mounts[1].source", 22),
        ("mounts[1].mode", None),
        ("repos[...]", 24),
        ("network.inner", None),
        ("nothing", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_line_of_a_value(where: str, line: int | None, ending: str):
    assert line_of(TEXT.replace("\n", ending), where) == line


def test_the_line_of_a_field_that_is_in_the_way():
    assert line_of(TEXT, "share", "Object contains unknown field `port`") == 15
    assert line_of(TEXT, "", "Object contains unknown field `network`") == 2
    assert line_of(TEXT, "mounts[1]", "Object missing required field `target`") == 21


def by_prefixes(text: str, path: list[str | int]) -> int | None:
    """The same by parsing the file up to each line."""
    lines, begins = text.split("\n"), 1
    for count in range(1, len(lines) + 1):
        try:
            found: Any = tomllib.loads("\n".join(lines[:count]) + "\n")
        except tomllib.TOMLDecodeError:
            continue
        try:
            for step in path:
                found = found[step]
        except (KeyError, IndexError, TypeError):
            begins = count + 1
            continue
        return begins
    return None


STATEMENTS = (
    "# [a", "", "a.b = 1", 'a.c = """\n[x]\n\\"""\n"""""', "b = '''\n# [ { '''''", 'd = "[ # \\" {"', "e = '[ # {'",
    "f = [\n  1, # ]\n  [2], {g = '}'},\n]", "[t]", "[t.u]", "[[v]]", "[v.w]", "[[v.x]]", "y = 1", "'z z'.a = {b = 1}",
)  # fmt: skip


@given(st.lists(st.sampled_from(STATEMENTS), max_size=12))
def test_every_value_is_where_parsing_line_by_line_finds_it(statements: list[str]):
    text = "\n".join(statements)
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    for path, where in paths(found):
        if "z z" not in where:
            assert line_of(text, where) == by_prefixes(text, path), (text, where)


def paths(value: Any, path: tuple[str | int, ...] = (), where: str = "") -> Iterator[tuple[list[str | int], str]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in entries:
        shown = f"{where}[{step}]" if isinstance(step, int) else f"{where}.{step}".lstrip(".")
        yield [*path, step], shown
        yield from paths(inner, (*path, step), shown)


def test_a_long_file_is_read_once(monkeypatch: pytest.MonkeyPatch):
    read = 0
    loads = tomllib.loads

    def counted(text: str) -> dict[str, Any]:
        nonlocal read
        read += len(text)
        return loads(text)

    monkeypatch.setattr(tomllib, "loads", counted)
    text = "a = [\n" + "1,\n" * 1000 + "]\n" + "".join(f"k{number} = {number}\n" for number in range(1000)) + "z = 1\n"
    assert line_of(text, "z") == 2003
    assert read <= 2 * len(text)
