from __future__ import annotations

import pytest

from loopat_jupyter.sandbox.versions import is_at_least, read_version, too_old


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        (b'{"Client": {"APIVersion": "4.3.1", "Version": "4.3.1"}}', "4.3.1"),
        (b"podman version 4.0.0\n", "4.0.0"),
        (b'{"Client":{"Version":"5.0.0-dev"}}', "5.0.0-dev"),
        (b"\xff nonsense", ""),
        (b"", ""),
    ],
)
def test_the_version_is_read(answer: bytes, version: str):
    assert read_version(answer) == version


@pytest.mark.parametrize(
    ("version", "enough"),
    [("5.3.2", True), ("5.3.10", True), ("5.10.0-dev", True), ("5.3.1", False), ("4.9.9", False), ("", False)],
)
def test_versions_are_compared_as_numbers(version: str, enough: bool):
    assert is_at_least(version, (5, 3, 2)) is enough


@pytest.mark.fault("F7")
@pytest.mark.parametrize(("version", "old"), [("4.2.9", True), ("4.3.0", False), ("5.0.0-dev", False), ("", False)])
def test_what_is_older_than_needed_is_too_old(version: str, old: bool):
    assert too_old(version) == (f"version {version} is older than 4.3" if old else None)
