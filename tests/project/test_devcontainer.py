from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopat_jupyter.project import ProjectFile
from loopat_jupyter.project.devcontainer import read_devcontainer, without_comments

LOOP = "0a1b2c3d-0000-4000-8000-000000000000"
FILE = ".devcontainer/devcontainer.json"
WHOLE = """{
  // what people write
  "name": "A project", /* all of it */
  "image": "example.org/dev:1",
  "build": {"dockerfile": "Dockerfile", "context": "..", "args": {"A": "1"}},
  "containerEnv": {
    "URL": "http://example.org//x", // two slashes
    "ROOT": "${containerWorkspaceFolder}/src",
    "HOST": "${localEnv:HOME}",
    "bad-name": "x",
  },
  "postCreateCommand": "make install",
  "forwardPorts": [3000, "db:5432", 70000],
  "features": {"x": {}},
  "runArgs": ["--privileged"],
}"""


def read(text: str | bytes, file: str = FILE) -> tuple[ProjectFile, ...]:
    return read_devcontainer(file, text.encode() if isinstance(text, str) else text, LOOP)


def test_everything_that_is_asked_for_is_answered():
    found = {entry.kind: entry for entry in read(WHOLE)}
    assert {kind: (entry.honoured, entry.command, entry.value) for kind, entry in found.items()} == {
        "image": (True, None, "example.org/dev:1"),
        "build": (True, None, {"dockerfile": ".devcontainer/Dockerfile", "context": "."}),
        "variables": (
            True,
            None,
            {"URL": "http://example.org//x", "ROOT": f"/loopat/loop/{LOOP}/workdir/src"},
        ),
        "command": (True, "make install", None),
        "ports": (False, None, [3000]),
        "other": (False, None, None),
    }
    assert found["other"].note == "Not honoured: features, runArgs."
    assert found["build"].note.endswith("Not honoured of it: args.")
    assert found["variables"].note.endswith("Not honoured: HOST, bad-name.")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("make", "make"),
        (["echo", "a b"], "echo 'a b'"),
        ({"one": "make", "two": ["echo", "$x"]}, "make && echo '$x'"),
        ("", None),
        (7, None),
        (["a", 7], None),
        ({"one": "make", "two": 7}, None),
        ({}, None),
    ],
)
def test_a_command_in_each_of_its_forms(command: Any, line: str | None):
    (entry,) = read(json.dumps({"postCreateCommand": command}))
    assert entry.command == line
    assert entry.kind == ("other" if line is None else "command")


@pytest.mark.parametrize(
    ("file", "build", "value"),
    [
        (FILE, {"dockerfile": "D"}, {"dockerfile": ".devcontainer/D", "context": ".devcontainer"}),
        (".devcontainer.json", {"dockerfile": "D"}, {"dockerfile": "D", "context": "."}),
        (FILE, {"dockerfile": "../../D"}, None),
        (FILE, {"dockerfile": "/etc/passwd"}, None),
        (FILE, {"dockerfile": "D", "context": "../.."}, None),
        (FILE, {"dockerfile": "D\0"}, None),
        (FILE, {"dockerfile": 7}, None),
        (FILE, "D", None),
    ],
)
def test_a_build_stays_in_the_project(file: str, build: Any, value: dict[str, str] | None):
    (entry,) = read(json.dumps({"build": build}), file)
    assert entry.value == value
    assert entry.honoured == (value is not None)


def test_the_older_form_of_a_build():
    (entry,) = read('{"dockerFile": "D", "context": ".."}')
    assert entry.value == {"dockerfile": ".devcontainer/D", "context": "."}


@pytest.mark.parametrize("text", ["{", "[1]", "", "7", b"\xff", "[" * 100_000])
def test_a_broken_file_is_named(text: str | bytes):
    (entry,) = read(text)
    assert (entry.kind, entry.honoured, entry.note[:12]) == ("other", False, "It is broken")


@pytest.mark.parametrize("image", ["--privileged", 7, "", "a b"])
def test_an_image_that_is_none_is_not_honoured(image: Any):
    (entry,) = read(json.dumps({"image": image}))
    assert entry.note == "Not honoured: image."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_json_without_comments_stays_what_it_is(value: Any):
    assert json.loads(without_comments(json.dumps(value, ensure_ascii=False))) == value


KEYS = st.sampled_from(
    ["image", "build", "dockerFile", "context", "containerEnv", "postCreateCommand", "forwardPorts", "name", "x"]
)


@settings(max_examples=40)
@given(st.dictionaries(KEYS, JSON | st.dictionaries(st.sampled_from(["dockerfile", "context", "A"]), JSON)))
def test_whatever_is_asked_for_is_answered_with_values(wanted: dict[str, Any]):
    for entry in read(json.dumps(wanted)):
        assert msgspec.convert(msgspec.to_builtins(entry), ProjectFile) == entry


@pytest.mark.parametrize("piece", ["/*a", '"', '\\"', '"\\"', ",", ", "])
def test_a_file_that_never_closes_anything_is_read_at_once(piece: str) -> None:
    """Looking for the end again at each place would take hours for a file of this size."""
    data = (piece * 250_000).encode()
    assert read_devcontainer("devcontainer.json", data, LOOP) is not None
