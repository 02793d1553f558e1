"""What a loop would lose; asked of real git in a real sandbox."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import ConflictError
from loopat_jupyter.models import ExecSpec, NewLoop
from loopat_jupyter.repos import unsaved as module
from loopat_jupyter.repos.unsaved import Unsaved, changed_files, find_unsaved
from loopat_jupyter.sandbox.asking import Answered
from tests.git_remotes import NOBODY, git, unsaved

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord
    from tests.git_remotes import Remote

pytestmark = pytest.mark.lonely


def test_files_of_a_status():
    status = " M a.txt\x00R  new name\x00old name\x00?? dir/\x00A  \n\x00"
    assert changed_files(status) == ("a.txt", "new name", "dir/", "\n")


def test_it_is_told_in_few_words():
    unsaved = Unsaved(("a", "b", "c", "d"), ("1234 Fix",), ("stash@{0} x", "stash@{1} y"))
    assert str(unsaved) == (
        "4 uncommitted files (a, b, c and 1 more); 1 unpushed commit (1234 Fix); 2 stashes (stash@{0} x, stash@{1} y)"
    )
    assert not Unsaved((), (), ())
    assert str(Unsaved(("a\x1b[2Jb\nc",), (), ())) == "1 uncommitted file (a�[2Jb�c)"


async def found_after(plain: LoopManager, remote: Remote, script: str) -> Unsaved:
    """What is unsaved after a script in a checkout, which sees the mirror where the host has it."""
    git(remote.path, "tag", "--force", "aside", git(remote.path, "commit-tree", "-m", "Aside", "trunk^{tree}"))
    record = await plain.make(NewLoop(title="a", repo=remote.url))
    workdir = plain.workspace.workdir(record.id)
    objects = plain.workspace.mirrors / str(record.mirror) / "objects"
    (workdir / ".git/objects/info/alternates").write_text(f"{objects}\n")

    async def run(argv: Sequence[str]) -> Answered:
        ran = subprocess.run(argv, cwd=workdir, env={**os.environ, **NOBODY}, capture_output=True, check=False)
        return Answered(ran.returncode, ran.stdout, ran.stderr)

    await run(("bash", "-c", script))
    return await find_unsaved(run, record.commit)


_COMMIT = "git commit --quiet --allow-empty --message=$'Lost\\u2028or\\u0085not'"


@pytest.mark.parametrize(
    "script",
    [
        f"{_COMMIT}; git tag mine",
        f"{_COMMIT}; git tag mine; git reset --quiet --hard HEAD~",
        f"{_COMMIT}; git switch --quiet --orphan new",
        f"git switch --quiet --detach; {_COMMIT}",
        f"rm -rf .git; git init --quiet .; git add .; {_COMMIT}",
        f"git worktree add --quiet --detach ../tree; cd ../tree; {_COMMIT}",
        f"git worktree add --quiet ../tree; cd ../tree; {_COMMIT}; rm -rf ../tree",
    ],
)
async def test_commits_that_only_the_loop_has_are_found_wherever_they_are(
    plain: LoopManager, remote: Remote, script: str
):
    found = await found_after(plain, remote, script)
    assert [commit.partition(" ")[2] for commit in found.commits] == ["Lost\u2028or\x85not"]
    assert found.files == ()


async def test_so_are_files_of_further_worktrees(plain: LoopManager, remote: Remote, monkeypatch: pytest.MonkeyPatch):
    script = "mkdir .git/info; echo /tree >.git/info/exclude; git worktree add --quiet tree; echo x >tree/new.txt"
    found = await found_after(plain, remote, script)
    assert [file.rpartition("/workdir/")[2] for file in found.files] == ["tree/new.txt"]
    monkeypatch.setattr(module, "_MOST_WORKTREES", 0)
    with pytest.raises(ConflictError, match="more than 0 worktrees"):
        await found_after(plain, remote, script)


async def test_so_are_commits_in_submodules(plain: LoopManager, remote: Remote, empty: Remote):
    empty.commit("inner.txt", "inner\n")
    add = f"git -c protocol.file.allow=always submodule --quiet add {empty.path}"
    record = "git commit --quiet --all --message=Sub"
    push = f"git push --quiet {remote.path} HEAD:trunk; git fetch --quiet {remote.path} trunk:refs/remotes/origin/new"
    assert not await found_after(plain, remote, f"{add} one; {record}; {push}")
    # The repo names the commit by now, and nobody else has it. That git is to keep quiet about it changes nothing.
    lose = f"(cd two; {_COMMIT}); {record}; git config submodule.two.ignore all"
    found = await found_after(plain, remote, f"{add} two; {lose}; {push}")
    assert found.files == ()
    assert [commit.partition(" ")[2] for commit in found.commits] == ["Lost\u2028or\x85not (in two)"]


async def test_more_than_anybody_reads_is_no_leave_to_delete():
    async def run(_: Sequence[str]) -> Answered:
        return Answered(0, b"?? its beginning", b"")

    with pytest.raises(ConflictError, match="more of it than is read"):
        await find_unsaved(run, None)


async def test_what_the_remote_has_is_not_lost(plain: LoopManager, remote: Remote):
    assert not await found_after(plain, remote, "git switch --quiet --detach aside; git branch --track x origin/trunk")


async def test_a_checkout_without_its_git_is_no_leave_to_delete(plain: LoopManager, remote: Remote):
    record = await plain.make(NewLoop(title="a", repo=remote.url))
    (plain.workspace.workdir(record.id) / ".git").rename(plain.workspace.home / "moved")
    with pytest.raises(ConflictError, match=r"its \.git is gone"):
        await unsaved(plain, record)


async def inside(manager: LoopManager, record: LoopRecord, script: str) -> None:
    events = [event async for event in manager.exec(record, ExecSpec(argv=("bash", "-ec", script)))]
    assert events[-1].exit_code == 0, events


@pytest.mark.podman
@pytest.mark.lonely
async def test_delete_names_what_is_nowhere_else(manager: LoopManager, remote: Remote):
    record = await manager.make(NewLoop(title="a", repo=remote.url))
    # The checkout works there as anywhere, and cannot write to the mirror.
    await inside(
        manager,
        record,
        "git fsck --connectivity-only; git fetch; git log -1; git gc --quiet; git status --porcelain; "
        "! touch /loopat/context/repos/*/objects/x",
    )
    assert await unsaved(manager, record) == Unsaved((), (), ())
    identity = "git config user.email a@example.org; git config user.name Ada"
    await inside(manager, record, f"{identity}; echo x > new.txt; git add .; git commit -qm 'Add new'; echo y > b.txt")
    with pytest.raises(ConflictError) as caught:
        await manager.delete(record.id)
    assert "1 uncommitted file (b.txt); 1 unpushed commit (" in caught.value.message
    assert "Add new)" in caught.value.message
    assert (manager.workspace.workdir(record.id) / "new.txt").exists()
    await manager.stop(record)
    with pytest.raises(ConflictError, match="unpushed commit"):
        await manager.delete(record.id)
    # A planted setting runs inside, and nowhere else; what git cannot read is no leave to delete.
    settings = manager.workspace.workdir(record.id) / ".git"
    with (settings / "config").open("a") as file:
        file.write("[core]\n\tfsmonitor = touch /tmp/planted\n")
    (settings / "HEAD").write_text("broken\n")
    with pytest.raises(ConflictError, match="Git cannot tell"):
        await manager.delete(record.id)
    await manager.delete(record.id, force=True)
    assert not manager.workspace.loop(record.id).exists()


@pytest.mark.podman
@pytest.mark.lonely
async def test_a_loop_with_nothing_of_its_own_goes_without_force(manager: LoopManager, remote: Remote):
    record = await manager.make(NewLoop(title="a", repo=remote.url, ref="v1"))
    await manager.update(record.id, {"archived": True})
    await manager.delete(record.id)
    assert not manager.workspace.loop(record.id).exists()
