"""Settings that are read again once their files have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.workspace import loading
from loopat_jupyter.workspace.config import load_config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Each time that files are read."""
    found: list[object] = []
    monkeypatch.setattr(loading, "load_config", lambda *args: found.append(args) or load_config(*args))
    return found


def test_files_are_read_again_when_one_of_them_has_changed(tmp_path: Path, reads: list[object]):
    own, site = tmp_path / "config.toml", tmp_path / "site.toml"
    loader = loading.ConfigLoader(site)
    first = loader.load(own, {})
    assert loader.load(own, {}) is first
    own.write_text("idle_timeout_s = 60\n")
    second = loader.load(own, {})
    assert loader.load(own, {}) is second
    site.write_text("idle_timeout_s = 3600\nfixed = ['idle_timeout_s']\n")
    third = loader.load(own, {})
    assert loader.load(own, {}) is third
    own.unlink()
    site.unlink()
    assert loader.load(own, {}) == first
    assert [each.idle_timeout_s for each in (first, second, third)] == [1800, 60, 3600]
    assert len(reads) == 4


def test_one_that_is_wrong_is_read_again_when_it_has_changed(tmp_path: Path, reads: list[object]):
    own = tmp_path / "config.toml"
    loader = loading.ConfigLoader(tmp_path / "site.toml")
    own.write_text("idle_timeout_s = 'soon'\n")
    for _ in range(3):
        with pytest.raises(BadInputError, match=r"idle_timeout_s: .*line 1"):
            loader.load(own, {})
    assert len(reads) == 1
    own.write_text("idle_timeout_s = 60\n")
    assert [loader.load(own, {}).idle_timeout_s for _ in range(2)] == [60, 60]
    assert len(reads) == 2


def test_one_that_cannot_be_read_is_tried_each_time(tmp_path: Path, reads: list[object]):
    own = tmp_path / "config.toml"
    own.mkdir()
    loader = loading.ConfigLoader(tmp_path / "site.toml")
    for _ in range(2):
        with pytest.raises(BadInputError, match="cannot be read"):
            loader.load(own, {})
    assert len(reads) == 2
