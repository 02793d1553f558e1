"""What waits on a gated context, as anybody with the remote could have pushed it: real git, no podman."""

from __future__ import annotations

import datetime
import os
import uuid
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.context import extent, merging, proposals
from loopat_jupyter.context.proposals import ChangedFile, moment
from loopat_jupyter.errors import ConflictError, GitError, NotFoundError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.repos import git as repo_git
from loopat_jupyter.repos.git import Git
from loopat_jupyter.workspace.config import Config, ContextConfig
from tests.context.test_extent import bomb
from tests.context.test_origins import Noted
from tests.git_remotes import git

if TYPE_CHECKING:
    from loopat_jupyter.context.proposals import Proposals
    from tests.git_remotes import Remote

LOOP = str(uuid.UUID(int=1))
BRANCH = f"refs/heads/loop/{LOOP}"


@pytest.fixture
def team(plain: LoopManager, remote: Remote) -> LoopManager:
    """Loops whose knowledge is at a remote, where one proposal waits."""
    propose(remote, "fact.md", "fact\n")
    config = Config(context=ContextConfig(knowledge=remote.url))
    return LoopManager(plain.workspace, config, plain.engine, member="ada", git=Git(os.environ))


def propose(remote: Remote, name: str, text: str) -> str:
    """A loop somewhere promotes; the commit."""
    git(remote.elsewhere, "switch", "--quiet", "--force-create", f"loop/{LOOP}")
    return remote.commit(name, text)


def proposed(remote: Remote) -> str:
    """The commit that waits."""
    return git(remote.path, "rev-parse", BRANCH)


def refuse_all(remote: Remote) -> None:
    """The remote's rules, or the rights there, do not allow it."""
    hook = remote.path / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'cannot lock ref: [rejected], says the rule' >&2\nexit 1\n")
    hook.chmod(0o755)


@pytest.mark.parametrize(
    ("seconds", "year"), [("", 1970), ("0", 1970), ("-5", 1970), ("1700000000", 2023), ("31556889864403199", 9999)]
)
def test_any_time_is_one(seconds: str, year: int):
    assert moment(seconds).year == year
    assert moment(seconds).tzinfo is datetime.UTC


async def test_a_date_far_off_does_not_break_the_list(team: LoopManager, remote: Remote):
    tree = git(remote.path, "rev-parse", f"{BRANCH}^{{tree}}")
    text = f"tree {tree}\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 31556889864403199 +0000\n\nLate\n"
    file = remote.path / "commit"
    file.write_text(text)
    commit = git(remote.path, "hash-object", "-t", "commit", "-w", str(file))
    git(remote.path, "update-ref", BRANCH, commit)
    [waiting] = await team.cargo.contexts.proposals.waiting()
    assert (waiting.commit, waiting.created_at.year) == (commit, 9999)


def huge(remote: Remote, size_bytes: int) -> str:
    """What waits is a commit with a subject of this length; its name."""
    tree = git(remote.path, "rev-parse", f"{BRANCH}^{{tree}}")
    file = remote.path / "commit"
    file.write_text(f"tree {tree}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n{'s' * size_bytes}\n")
    commit = git(remote.path, "hash-object", "-t", "commit", "-w", str(file))
    git(remote.path, "update-ref", BRANCH, commit)
    return commit


async def test_a_commit_of_any_size_hides_no_other_proposal_and_can_be_discarded(
    team: LoopManager, remote: Remote, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(repo_git, "LARGEST_OUTPUT_BYTES", 2**22)
    there, other, ordinary = team.cargo.contexts.proposals, str(uuid.UUID(int=2)), proposed(remote)
    git(remote.path, "update-ref", f"refs/heads/loop/{other}", ordinary)
    # More than git may say to anybody.
    commit = huge(remote, repo_git.LARGEST_OUTPUT_BYTES + 1)
    waiting = {proposal.loop_id: proposal for proposal in await there.waiting()}
    assert (waiting[other].author, waiting[other].title) == ("Ada", "Change")
    assert (waiting[LOOP].commit, waiting[LOOP].author) == (commit, "")
    assert waiting[LOOP].title == "(what its last commit says is too long)"
    assert (await there.diff("knowledge", LOOP, commit)).startswith(f"commit {commit}\n\ndiff ")
    trunk = git(remote.path, "rev-parse", "trunk")
    with pytest.raises(ConflictError, match=r"larger than 256 KiB.*nobody can be given"):
        await there.merge("knowledge", LOOP, commit)
    assert git(remote.path, "rev-parse", "trunk") == trunk
    await there.discard("knowledge", LOOP, commit)
    assert [proposal.loop_id for proposal in await there.waiting()] == [other]


async def test_a_context_that_is_not_gated_and_out_of_reach_hides_nothing(team: LoopManager, remote: Remote):
    config = Config(context=ContextConfig(knowledge=remote.url, notes=f"{remote.url}-gone"))
    there = LoopManager(team.workspace, config, team.engine, member="ada").cargo.contexts.proposals
    assert [waiting.kind for waiting in await there.waiting()] == ["knowledge"]
    with pytest.raises(GitError, match="-gone"):
        await there.waiting("notes")
    gated = msgspec.structs.replace(config.context, gated=("notes",))
    there = LoopManager(team.workspace, Config(context=gated), team.engine, member="ada").cargo.contexts.proposals
    with pytest.raises(GitError, match="-gone"):
        await there.waiting()


async def test_a_long_subject_is_cut(team: LoopManager, remote: Remote):
    huge(remote, 1000)
    [waiting] = await team.cargo.contexts.proposals.waiting()
    assert waiting.title == "s" * 200 + "…"


async def test_discarding_takes_it_away(team: LoopManager, remote: Remote):
    other = str(uuid.UUID(int=2))
    for missing in (other, f"{LOOP}/x", LOOP[:-1], "*", ""):
        with pytest.raises(NotFoundError, match="No proposal of loop"):
            await team.cargo.contexts.proposals.discard("knowledge", missing, proposed(remote))
    git(remote.path, "update-ref", f"refs/heads/loop/{other}", BRANCH)
    noted = Noted()
    person = LoopManager(team.workspace, team.config, team.engine, member="ada", git=noted)
    commit = proposed(remote)
    await person.cargo.contexts.proposals.discard("knowledge", LOOP, commit)
    # Nobody waits for git to look into what is not kept.
    assert not {"--count", "ls-tree", "merge-base", "diff"} & {*noted.ran}
    assert [waiting.loop_id for waiting in await team.cargo.contexts.proposals.waiting()] == [other]
    await team.cargo.contexts.proposals.discard("knowledge", other, commit)
    assert await team.cargo.contexts.proposals.waiting() == ()
    assert git(remote.path, "for-each-ref", "--format=%(refname)") == "refs/heads/trunk\nrefs/tags/v1"


@pytest.mark.parametrize("verb", ["discard", "merge"])
async def test_a_refusal_of_the_remote_is_told_at_once(team: LoopManager, remote: Remote, verb: str):
    before = await team.cargo.contexts.proposals.waiting()
    refuse_all(remote)
    with pytest.raises(GitError, match="hook declined"):
        await getattr(team.cargo.contexts.proposals, verb)("knowledge", LOOP, proposed(remote))
    assert await team.cargo.contexts.proposals.waiting() == before


async def test_what_was_merged_is_told_also_when_its_branch_stays(team: LoopManager, remote: Remote):
    git(remote.path, "config", "receive.denyDeletes", "true")
    with pytest.raises(GitError, match=r"(?s)The proposal is merged, but its branch stays.*\(deletion prohibited\)"):
        await team.cargo.contexts.proposals.merge("knowledge", LOOP, proposed(remote))
    assert git(remote.path, "show", "trunk:fact.md") == "fact"
    assert await team.cargo.contexts.proposals.waiting() == ()


def propose_meanwhile(there: Proposals, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """More is promoted to a proposal right after it was found."""
    find = there._find

    async def find_and_add(*arguments: object) -> object:
        found = await find(*arguments)
        propose(remote, "more.md", "more\n")
        return found

    monkeypatch.setattr(there, "_find", find_and_add)


async def test_what_was_added_meanwhile_is_not_discarded(
    team: LoopManager, remote: Remote, monkeypatch: pytest.MonkeyPatch
):
    there = team.cargo.contexts.proposals
    propose_meanwhile(there, remote, monkeypatch)
    with pytest.raises(ConflictError, match="has changed since"):
        await there.discard("knowledge", LOOP, proposed(remote))
    [waiting] = await there.waiting()
    assert "more.md" in waiting.files


async def test_only_what_was_looked_at_is_merged_or_discarded(team: LoopManager, remote: Remote):
    there = team.cargo.contexts.proposals
    [looked_at] = await there.waiting()
    assert (await there.diff("knowledge", LOOP, looked_at.commit)).startswith(f"commit {looked_at.commit}\n\ndiff ")
    trunk = git(remote.path, "rev-parse", "trunk")
    more = propose(remote, "more.md", "more\n")
    for verb in (there.diff, there.changed_files, there.merge, there.discard):
        # Nor is a commit named by a part of its name: a loop can make two that begin alike.
        for commit in (looked_at.commit, more[:10], ""):
            with pytest.raises(ConflictError, match=rf"has changed since.*context diff knowledge {LOOP[:8]}"):
                await verb("knowledge", LOOP, commit)
    assert (git(remote.path, "rev-parse", "trunk"), proposed(remote)) == (trunk, more)
    await there.merge("knowledge", LOOP, more)
    assert git(remote.path, "rev-parse", "trunk") == more


async def test_what_is_promoted_during_a_merge_waits_again(
    team: LoopManager, remote: Remote, monkeypatch: pytest.MonkeyPatch
):
    there, looked_at = team.cargo.contexts.proposals, proposed(remote)
    propose_meanwhile(there, remote, monkeypatch)
    merged = await there.merge("knowledge", LOOP, looked_at)
    assert merged.commit == git(remote.path, "rev-parse", "trunk") == looked_at
    [waiting] = await there.waiting()
    assert (waiting.commit, waiting.files) == (proposed(remote), ("more.md",))


async def test_files_that_change_are_told_with_their_lines(
    team: LoopManager, remote: Remote, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(proposals, "LARGEST_DIFF_BYTES", 1000)
    propose(remote, "large.txt", "line\n" * 1000)
    commit = propose(remote, "a tab\t.txt", "one\ntwo\n")
    assert await team.cargo.contexts.proposals.changed_files("knowledge", LOOP, commit) == (
        ChangedFile("a tab\t.txt", 2, 0),
        ChangedFile("fact.md", 1, 0),
        ChangedFile("large.txt", None, None),
    )


async def test_a_bomb_is_listed_and_never_merged(team: LoopManager, remote: Remote, monkeypatch: pytest.MonkeyPatch):
    # Where it is cut in earnest: test_extent.py.
    monkeypatch.setattr(extent, "_LISTING_BYTES", 2**20)
    git(remote.path, "update-ref", BRANCH, bomb(remote.path, levels=10, width=10))
    there = team.cargo.contexts.proposals
    [waiting] = await there.waiting()
    assert waiting.files[-1] == "… and more"
    before = git(remote.path, "rev-parse", "trunk")
    for verb in (there.diff, there.merge):
        with pytest.raises(ConflictError, match="too much to give everybody"):
            await verb("knowledge", LOOP, proposed(remote))
    assert git(remote.path, "rev-parse", "trunk") == before


async def test_renames_are_not_looked_for(team: LoopManager, remote: Remote):
    """Git would compare each file that is gone with each that is new."""
    git(remote.elsewhere, "mv", "a.txt", "b.txt")
    propose(remote, "fact.md", "fact\n")
    diff = await team.cargo.contexts.proposals.diff("knowledge", LOOP)
    assert "deleted file" in diff
    assert "rename from" not in diff
    [waiting] = await team.cargo.contexts.proposals.waiting()
    assert waiting.files == ("a.txt", "b.txt", "fact.md")


async def test_a_long_diff_is_cut_with_a_sentence(team: LoopManager, remote: Remote, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(proposals, "LARGEST_DIFF_BYTES", 100)
    for number in range(2):
        propose(remote, f"{number}.txt", "line\n" * 10)
    assert (await team.cargo.contexts.proposals.diff("knowledge", LOOP)).endswith("\n… cut here: it is longer.\n")


async def test_a_large_file_is_not_compared_line_by_line(
    team: LoopManager, remote: Remote, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(proposals, "LARGEST_DIFF_BYTES", 1000)
    propose(remote, "large.txt", "line\n" * 1000)
    assert "Binary files /dev/null and b/large.txt differ" in await team.cargo.contexts.proposals.diff(
        "knowledge", LOOP
    )


async def test_files_too_large_to_be_merged_fill_no_memory(
    team: LoopManager, remote: Remote, monkeypatch: pytest.MonkeyPatch
):
    propose(remote, "a.txt", "theirs\n" * 400_000)
    git(remote.elsewhere, "switch", "--quiet", "trunk")
    trunk = remote.commit("a.txt", "ours\n" * 600_000)
    monkeypatch.setattr(merging, "MERGE_MEMORY_BYTES", 16 * 2**20)
    with pytest.raises(GitError, match="Git failed to merge-tree"):
        await team.cargo.contexts.proposals.merge("knowledge", LOOP, proposed(remote))
    assert git(remote.path, "rev-parse", "trunk") == trunk


async def test_a_remote_that_is_away_after_it_took_the_work_is_no_failure(
    team: LoopManager, remote: Remote, monkeypatch: pytest.MonkeyPatch
):
    contexts = team.cargo.contexts
    assert len(await contexts.proposals.waiting()) == 1
    refresh, calls = type(contexts.proposals)._refresh, 0

    async def away(self, kind):
        nonlocal calls
        calls += 1
        if calls > 1:
            raise GitError("The remote is out of reach. Try again later.")
        return await refresh(self, kind)

    monkeypatch.setattr(type(contexts.proposals), "_refresh", away)
    merged = await contexts.proposals.merge("knowledge", LOOP, proposed(remote))
    assert calls == 1
    assert merged.outcome == "merged"
    # What it took is known without asking it.
    mirror = team.workspace.mirrors / "context-knowledge.git"
    assert git(mirror, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads") == (
        f"{merged.commit} refs/heads/trunk"
    )
    assert git(remote.path, "show", "HEAD:fact.md") == "fact"
