from __future__ import annotations

import pytest

from loopat_jupyter.sandbox.versions import read_version, too_old


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


@pytest.mark.fault("F7")
@pytest.mark.parametrize(("version", "old"), [("4.2.9", True), ("4.3.0", False), ("5.0.0-dev", False), ("", False)])
def test_what_is_older_than_needed_is_too_old(version: str, old: bool):
    assert too_old(version) == (f"version {version} is older than 4.3" if old else None)
