from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.sandbox.trust import find_ca_bundle

if TYPE_CHECKING:
    from pathlib import Path


def test_auto_takes_the_first_place_that_is_there(tmp_path: Path):
    places = [tmp_path / name for name in ("debian", "fedora", "macos")]
    assert find_ca_bundle("auto", places) is None
    places[2].write_text("certificates")
    places[1].write_text("certificates")
    assert find_ca_bundle("auto", places) == places[1]


def test_symlinks_are_resolved(tmp_path: Path):
    real = tmp_path / "real.pem"
    real.write_text("certificates")
    (tmp_path / "one").symlink_to(real)
    (tmp_path / "two").symlink_to("one")
    assert find_ca_bundle("auto", [tmp_path / "two"]) == real
    assert find_ca_bundle(str(tmp_path / "two")) == real


def test_a_folder_or_a_dangling_link_is_no_bundle(tmp_path: Path):
    (tmp_path / "dangling").symlink_to("nowhere")
    assert find_ca_bundle("auto", [tmp_path, tmp_path / "dangling"]) is None


def test_an_empty_setting_means_none(tmp_path: Path):
    (tmp_path / "bundle").write_text("certificates")
    assert find_ca_bundle("", [tmp_path / "bundle"]) is None


@pytest.mark.parametrize("setting", ["bundle.pem", "Auto", "./auto", "/nowhere/bundle.pem", "/etc"])
def test_anything_else_is_refused_by_name(setting: str):
    with pytest.raises(BadInputError) as caught:
        find_ca_bundle(setting)
    assert caught.value.field == "trust.ca_bundle"
    assert setting in caught.value.problem


def test_a_path_that_podman_would_take_apart_is_refused(tmp_path: Path):
    (tmp_path / "a:rw").write_text("certificates")
    (tmp_path / "link").symlink_to("a:rw")
    with pytest.raises(BadInputError, match=r"trust\.ca_bundle: .* has a colon"):
        find_ca_bundle(str(tmp_path / "link"))
