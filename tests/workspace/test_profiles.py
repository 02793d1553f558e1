from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.workspace.profiles import Composed, Profile, check_profiles, compose_tiers, list_profiles
from loopat_jupyter.workspace.tiers import Section, Tier

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace


def make(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_profiles_by_name(workspace: Workspace, tmp_path: Path):
    assert list_profiles(workspace) == ()
    make(workspace.profiles / "web", profile__toml='description = "Web work"')
    make(workspace.profiles / "data")
    make(workspace.profiles / "broken", profile__toml="[")
    make(workspace.profiles / "-v")
    (workspace.profiles / "file").write_text("")
    (workspace.profiles / "link").symlink_to(tmp_path)
    found = list_profiles(workspace)
    assert found[0].description.startswith(f"{workspace.profiles / 'broken' / 'profile.toml'} is broken: ")
    assert found == (
        Profile(name="broken", description=found[0].description),
        Profile(name="data", description=""),
        Profile(name="web", description="Web work"),
    )


@pytest.mark.abuse("A1")
@pytest.mark.parametrize(
    "name",
    [
        "",
        "-v",
        "../data",
        "data/",
        "a/b",
        "da\0ta",
        "data\n",
        "x" * 300,
        "d\u0430ta",
        "DATA",
        ".",
        "..",
        "nothing",
        "link",
    ],
)
def test_names_that_are_no_profile_are_refused(workspace: Workspace, tmp_path: Path, name: str):
    make(workspace.profiles / "data")
    (workspace.profiles / "link").symlink_to(workspace.profiles / "data")
    check_profiles(workspace, ["data"])
    with pytest.raises(BadInputError, match="^profiles: there is no profile .* There are: data$") as caught:
        check_profiles(workspace, ["data", name])
    assert caught.value.field == "profiles"


def test_a_profile_counts_once(workspace: Workspace):
    make(workspace.profiles / "data")
    with pytest.raises(BadInputError, match="named twice"):
        check_profiles(workspace, ["data", "data"])
    with pytest.raises(BadInputError, match="at most"):
        check_profiles(workspace, ["data"] * 51)


def test_the_order_of_tiers(workspace: Workspace):
    make(workspace.tier, CLAUDE__md="one", settings__json='{"a": 1, "b": 1, "c": 1, "d": 1}')
    make(workspace.profiles / "first", CLAUDE__md="two", settings__json='{"b": 2, "c": 2, "d": 2}')
    make(workspace.profiles / "second", CLAUDE__md="three", settings__json='{"c": 3, "d": 3}', mise__toml="[")
    make(workspace.members / "ada" / "tier", CLAUDE__md="four", settings__json='{"d": 4}')
    tier, problems = compose_tiers(workspace, ["first", "second"], "ada")
    assert tier == Tier(
        settings={"a": 1, "b": 2, "c": 3, "d": 4},
        instructions=(
            Section("Workspace", "one"),
            Section("Profile first", "two"),
            Section("Profile second", "three"),
            Section("Personal", "four"),
        ),
    )
    assert len(problems) == 1
    assert problems[0].startswith("Profile second: mise.toml is broken")
    assert compose_tiers(workspace, ["second", "first"], "bob").tier.settings["c"] == 2


@pytest.mark.parametrize("member", ["..", ".", "", "a/b", "x" * 300, "a\0"])
def test_a_member_with_the_name_of_a_path_has_no_tier(workspace: Workspace, member: str):
    make(workspace.home / "tier", CLAUDE__md="of the workspace")
    workspace.members.mkdir()
    assert len(compose_tiers(workspace, (), member).tier.instructions) == 1


def test_no_tiers_at_all(workspace: Workspace):
    assert compose_tiers(workspace, (), "ada") == Composed(Tier(), ())
