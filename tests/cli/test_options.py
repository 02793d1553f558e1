from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import FakeCommandLine


@pytest.mark.parametrize("address", [".", "./", "../website", "./../website"])
def test_a_path_that_begins_with_a_dot_is_one_from_the_current_folder_on(
    fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    repo = tmp_path / "website"
    repo.mkdir()
    monkeypatch.chdir(repo)
    assert fake("repo", "add", "website", address).out == f"website is {repo}.\n"


def test_other_addresses_stay_as_they_are(fake: FakeCommandLine) -> None:
    for address in ("git@example.org:team/website.git", "https://example.org/a", "/srv/website"):
        assert fake("repo", "add", "website", address).out.startswith(f"website is {address}")
    assert "'.website'" in fake("create", "Fix", "--repo", ".website").err
