"""Lines of values in TOML, as people write it."""

from __future__ import annotations

import pytest

from loopat_jupyter.workspace.toml_lines import line_of

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
