"""Where contexts are kept, when that changes: real git, no podman."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from loopat_jupyter.errors import BadInputError, ConfigurationError, ConflictError, EngineTimeoutError, GitError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import NewLoop
from loopat_jupyter.outgoing import promote
from loopat_jupyter.repos import mirrors
from loopat_jupyter.repos.git import Completed, Git
from loopat_jupyter.workspace.config import Config, ContextConfig
from tests.git_remotes import git, make_remote

if TYPE_CHECKING:
    from pathlib import Path

    from tests.git_remotes import Remote


@pytest.fixture
def solo(plain: LoopManager) -> LoopManager:
    return LoopManager(plain.workspace, Config(), plain.engine, member="ada", git=Git(os.environ))


async def test_a_remote_that_becomes_unsafe_is_a_warning_and_another_takes_its_place(
    solo: LoopManager, empty: Remote, tmp_path: Path
):
    await solo.cargo.contexts.attach("notes", empty.url)
    git(empty.elsewhere, "pull", "--quiet", "origin", "main:trunk")
    empty.commit("team.md", "theirs\n")
    git(empty.elsewhere, "push", "--quiet", "origin", "HEAD:main")
    assert (await solo.make(NewLoop(title="Before"))).warnings == ()
    shutil.move(empty.path, tmp_path / "moved")
    empty.path.symlink_to(tmp_path / "moved")
    record = await solo.make(NewLoop(title="After"))
    [warning] = record.warnings
    assert "symbolic link" in warning
    assert str(solo.workspace.contexts_file) in warning
    assert [start.kind for start in record.contexts] == ["knowledge", "personal"]
    assert [known.remote for known in solo.cargo.contexts.remotes()] == [None, empty.url, None]
    with pytest.raises(ConfigurationError, match="jupyter loopat context attach notes"):
        await solo.cargo.contexts.origins.address("notes", "ada")
    (tmp_path / "other").mkdir()
    other = make_remote(tmp_path / "other", branch="main")
    await solo.cargo.contexts.attach("notes", other.url)
    assert git(other.path, "show", "main:team.md") == "theirs"
    again = await solo.make(NewLoop(title="Again"))
    assert again.warnings == ()
    assert (solo.workspace.context(again.id, "notes") / "team.md").read_text() == "theirs\n"


async def test_a_remote_with_another_history_is_refused_and_nothing_changes(solo: LoopManager, tmp_path: Path):
    contexts, remote = solo.cargo.contexts, make_remote(tmp_path, branch="main")
    remote.commit("a.txt", "theirs\n")
    await solo.make(NewLoop(title="a"))
    with pytest.raises(GitError, match="has a history of its own"):
        await contexts.attach("notes", remote.url)
    assert [found.remote for found in contexts.remotes()] == [None] * 3


async def test_nothing_is_promoted_to_a_remote_that_is_being_left(
    solo: LoopManager, empty: Remote, monkeypatch: pytest.MonkeyPatch
):
    contexts = solo.cargo.contexts
    monkeypatch.setattr(mirrors, "_WAIT_TIMEOUT_S", 0)
    async with contexts.origins.changing("notes", "ada"):
        with pytest.raises(EngineTimeoutError, match="notes"):
            await contexts.attach("notes", empty.url)
        with pytest.raises(EngineTimeoutError, match="notes"):
            await contexts.proposals.merge("notes", "x", "0" * 40)
        with pytest.raises(EngineTimeoutError, match="notes"):
            await contexts.proposals.discard("notes", "x", "0" * 40)
    await contexts.attach("knowledge", empty.url)


async def test_a_context_out_of_reach_is_a_warning(plain: LoopManager, tmp_path: Path, empty: Remote):
    shutil.move(empty.path, tmp_path / "moved")
    config = Config(context=ContextConfig(notes=empty.url))
    team = LoopManager(plain.workspace, config, plain.engine, member="ada", git=Git(os.environ))
    record = await team.make(NewLoop(title="a"))
    [warning] = record.warnings
    assert warning.startswith("The loop has no notes.")
    assert [start.kind for start in record.contexts] == ["knowledge", "personal"]
    with pytest.raises(ConflictError, match="has no notes"):
        await promote(team, record, "notes")
    assert team.sandboxes.state_files(record.id).running() is None


async def test_a_remote_that_a_loop_can_write_is_refused(solo: LoopManager, tmp_path: Path):
    """Git on the host would run the hooks that the loop planted in it."""
    record = solo.create(title="a")
    planted = solo.workspace.workdir(record.id) / "evil.git"
    git(tmp_path, "init", "--quiet", "--bare", str(planted))
    hook = planted / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/proof\n")
    hook.chmod(0o755)
    for address in (str(planted), f"file://{planted}"):
        with pytest.raises(BadInputError, match="lies in the workspace"):
            await solo.cargo.contexts.attach("notes", address)
    assert not (tmp_path / "proof").exists()


class Noted(Git):
    """Notes which of its commands ran."""

    def __init__(self) -> None:
        super().__init__(os.environ)
        self.ran: list[str] = []

    async def run(self, *arguments: str, **options: Any) -> Completed:
        self.ran += arguments
        return await super().run(*arguments, **options)


async def test_what_the_workspace_keeps_itself_is_fetched_when_it_has_changed(plain: LoopManager):
    noted = Noted()
    manager = LoopManager(plain.workspace, Config(), plain.engine, member="ada", git=noted)
    first = await manager.make(NewLoop(title="First"))
    noted.ran.clear()
    assert (await manager.make(NewLoop(title="Second"))).contexts == first.contexts
    assert "fetch" not in noted.ran
    origin = plain.workspace.origins / "notes.git"
    change = git(origin, "commit-tree", "main^{tree}", "-p", "main", "-m", "Change")
    git(origin, "update-ref", "refs/heads/main", change)
    third = await manager.make(NewLoop(title="Third"))
    assert [start.commit == change for start in third.contexts] == [False, True, False]
    assert noted.ran.count("fetch") == 1
    git(origin, "tag", "v1")
    await manager.make(NewLoop(title="Fourth"))
    assert git(plain.workspace.mirrors / "context-notes.git", "rev-parse", "v1") == change
