from __future__ import annotations

import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.models import LoopConfig
from loopat_jupyter.server.base import decode
from loopat_jupyter.server.requests import (
    MAX_ARGV_BYTES,
    ChangeLoop,
    CreateLoop,
    RunCommand,
    check_command,
    check_path,
)


def test_only_what_was_sent_is_a_change() -> None:
    assert decode(b"{}", ChangeLoop).changes() == {}
    assert decode(b'{"image":null,"config":{"network":"none"}}', ChangeLoop).changes() == {
        "image": None,
        "config": LoopConfig(network="none"),
    }


@pytest.mark.parametrize(
    ("body", "field", "problem"),
    [
        (b"", "body", "is not JSON"),
        (b"{", "body", "is not JSON"),
        (b"[]", "body", "must be an object, not a list"),
        (b'"\xff"', "body", ""),
        (b'{"\xff":1}', "body", "UTF-8"),
        (b"\xef\xbb\xbf{}", "body", "is not JSON"),
        (b'{"title":' + b"[" * 100_000, "title", "must be text, not a list"),
        (b'{"metadata":' + b'{"a":' * 100_000, "body", "is nested too deeply"),
        (b"{}", "title", "is required"),
        (b'{"title":1}', "title", "must be text, not a whole number"),
        (b'{"title":null}', "title", "must be text, not nothing"),
        (b'{"title":"\\ud800"}', "body", "half of a character"),
        (b'{"title":"\\ud83d\\ude00 \\uDEAD"}', "body", "half of a character"),
        (b'{"title":"\\ud83d\\ude00', "body", "is not JSON"),
        (b'{"title":"a","repos":"x"}', "repos", "is not known"),
        (b'{"title":"a","config":{"network":"host"}}', "config.network", "'host' is not one of bridge, none"),
        (b'{"title":"a","config":{"privileged":true}}', "config.privileged", "is not known"),
        (b'{"title":"a","config":{"shared_tmp":1}}', "config.shared_tmp", "must be true or false, not a whole number"),
        (b'{"title":"a","metadata":[]}', "metadata", "must be an object, not a list"),
        (b'{"title":"a","metadata":{"x":1e999}}', "metadata[...]", "number out of range"),
    ],
)
def test_bad_bodies_name_the_field(body: bytes, field: str, problem: str) -> None:
    with pytest.raises(BadInputError) as caught:
        decode(body, CreateLoop)
    assert caught.value.field == field
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (RunCommand(argv=[""]), "argv"),
        (RunCommand(argv=["echo", "a\0b"]), "argv"),
        (RunCommand(argv=["echo", "x" * MAX_ARGV_BYTES]), "argv"),
        (RunCommand(argv=["true"], cwd=""), "cwd"),
        (RunCommand(argv=["true"], cwd="a\0"), "cwd"),
        (RunCommand(argv=["true"], cwd="é" * 3000), "cwd"),
        (RunCommand(argv=["true"], env={"1A": ""}), "env"),
        (RunCommand(argv=["true"], env={"A\n": ""}), "env"),
        (RunCommand(argv=["true"], env={"": ""}), "env"),
        (RunCommand(argv=["true"], env={"A=B": ""}), "env"),
        (RunCommand(argv=["true"], env={"É": ""}), "env"),
        (RunCommand(argv=["true"], env={"A": "secret\0"}), "env"),
    ],
)
def test_commands_that_cannot_start_are_refused(command: RunCommand, field: str) -> None:
    with pytest.raises(BadInputError) as caught:
        check_command(command)
    assert caught.value.field == field
    assert "secret" not in caught.value.message


def test_ordinary_commands_pass() -> None:
    check_command(RunCommand(argv=["-v", "--", "ü"], cwd="../x y", env={"_A1": "a\nb", "B": ""}))
    check_path("cwd", None)


@pytest.mark.parametrize(
    "fields",
    [
        b'"argv":[]',
        b'"argv":"ls"',
        b'"argv":["a"],"timeout_s":0',
        b'"argv":["a"],"timeout_s":1e9',
        b'"argv":["a"],"timeout_s":true',
        b'"argv":["a"],"env":{"A":1}',
    ],
)
def test_bad_fields_of_commands(fields: bytes) -> None:
    with pytest.raises(BadInputError):
        decode(b"{" + fields + b"}", RunCommand)
