"""Repos on this machine that a sandbox could change."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import BadInputError, ConfigurationError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import LoopConfig, NewLoop
from loopat_jupyter.repos import places
from loopat_jupyter.repos.git import Git
from loopat_jupyter.repos.places import unsafe_place
from loopat_jupyter.workspace.config import Config, ContextConfig, MountConfig

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace
    from tests.git_remotes import Remote


def sharing(folder: Path, **changes: object) -> Config:
    """Settings with a folder that all loops can write."""
    mounts = (MountConfig(source=str(folder), target="/data", mode="rw"),)
    return Config(mounts=mounts, context=ContextConfig(use=False, **changes))


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "address", ["https://h/x.git", "git@h:x.git", "/srv/x.git", "file:///srv/x.git", "ssh://git@h/shared/x.git"]
)
def test_what_no_loop_can_write_is_used(workspace: Workspace, shared: Path, address: str):
    assert unsafe_place(address, workspace, sharing(shared)) is None


@pytest.mark.parametrize("shape", ["{}", "{}/x.git", "{}/a/../x.git", "file://{}/x.git"])
def test_what_loops_can_write_is_not(workspace: Workspace, shared: Path, shape: str):
    problem = unsafe_place(shape.format(shared), workspace, sharing(shared)) or ""
    assert problem.startswith(f"Loops can write {shared}")
    assert unsafe_place(shape.format(shared), workspace, Config()) is None


def test_nor_is_what_holds_such_a_folder(workspace: Workspace, shared: Path):
    assert unsafe_place(str(shared), workspace, sharing(shared / ".git" / "hooks"))


def test_letters_are_read_as_git_reads_them(workspace: Workspace, shared: Path):
    hidden = "".join(f"%{ord(letter):02x}" for letter in "shared")
    assert unsafe_place(f"file://{shared.parent}/{hidden}/x.git", workspace, sharing(shared))


@pytest.mark.parametrize("parts", [("loops", "x", "workdir"), ("members", "ada", "personal"), ("mirrors", "x.git")])
def test_nothing_of_the_workspace_is_used(workspace: Workspace, parts: tuple[str, ...]):
    assert "lies in the workspace" in (unsafe_place(str(workspace.home.joinpath(*parts)), workspace, Config()) or "")
    assert "lies in the workspace" in (unsafe_place(str(workspace.runtime / "a/run/x.git"), workspace, Config()) or "")
    assert unsafe_place(str(workspace.origins / "notes.git"), workspace, Config()) is None


def test_a_link_is_not_followed(workspace: Workspace, shared: Path, tmp_path: Path):
    (shared / "real").mkdir()
    (tmp_path / "link").symlink_to(shared)
    assert f"Name the folder itself, {shared}/real" in (
        unsafe_place(str(tmp_path / "link/real"), workspace, Config()) or ""
    )


def test_a_tmp_that_one_loop_shares_counts(
    workspace: Workspace, plain: LoopManager, shared: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(places, "_TMP", shared)
    address = str(shared / "x.git")
    assert unsafe_place(address, workspace, Config()) is None
    plain.create(title="a", config=LoopConfig(shared_tmp=True))
    assert unsafe_place(address, workspace, Config())


async def test_a_repo_is_looked_at_each_time_that_it_is_used(plain: LoopManager, remote: Remote, tmp_path: Path):
    """It was good when it was registered; then its folder was shared, or a link put in its place."""
    await plain.cargo.checkout.registry.add("thing", str(remote.path))
    record = await plain.make(NewLoop(title="a", repo="thing"))
    later = LoopManager(plain.workspace, sharing(remote.path.parent), plain.engine, member="ada", git=Git(os.environ))
    with pytest.raises(BadInputError, match="Loops can write"):
        await later.make(NewLoop(title="b", repo="thing"))
    secret = tmp_path / "secret.git"
    remote.path.rename(secret)
    remote.path.symlink_to(secret)
    with pytest.raises(BadInputError, match="symbolic link"):
        await plain.make(NewLoop(title="b", repo="thing"))
    # Nor is it fetched again for a loop that is there.
    (plain.workspace.mirrors / str(record.mirror)).rename(tmp_path / "gone")
    await plain.cargo.restore(record, lambda _: None)
    assert plain.cargo.checkout.mirrors.default_branch(str(record.mirror)) == "main"


async def test_so_is_the_remote_of_a_context(plain: LoopManager, remote: Remote):
    config = sharing(remote.path.parent, notes=remote.url)
    later = LoopManager(plain.workspace, config, plain.engine, member="ada", git=Git(os.environ))
    with pytest.raises(ConfigurationError, match="Loops can write"):
        later.cargo.contexts.origins.remote("notes", "ada")
