from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.workspace.plugins import find_plugins, pin_plugins

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / ".claude" / "plugins"
    folder.mkdir(parents=True)
    (folder / "installed_plugins.json").write_text(json.dumps({"a": {"installPath": f"{folder}/cache/a"}}))
    return tmp_path / "home"


def test_plugins_are_there_with_their_list(home: Path, tmp_path: Path):
    assert find_plugins(home) == home / ".claude" / "plugins"
    assert find_plugins(tmp_path) is None
    (home / ".claude" / "plugins" / "installed_plugins.json").unlink()
    assert find_plugins(home) is None


def test_a_loop_keeps_the_list_with_the_places_inside(home: Path, tmp_path: Path):
    pinned = tmp_path / "pinned.json"
    plugins = find_plugins(home)
    assert pin_plugins(plugins, "/inside/plugins", pinned)
    assert json.loads(pinned.read_text()) == {"a": {"installPath": "/inside/plugins/cache/a"}}


def test_a_list_that_is_no_plain_file_is_not_kept(home: Path, tmp_path: Path):
    plugins = find_plugins(home)
    listed = plugins / "installed_plugins.json"
    listed.rename(tmp_path / "elsewhere")
    listed.symlink_to(tmp_path / "elsewhere")
    assert not pin_plugins(plugins, "/inside", tmp_path / "pinned.json")
    listed.unlink()
    assert not pin_plugins(plugins, "/inside", tmp_path / "pinned.json")
    assert not (tmp_path / "pinned.json").exists()
