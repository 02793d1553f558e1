"""Which branches and tags a repo has, in what git prints; and that a remote with nothing new is asked once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import NewLoop
from loopat_jupyter.repos import mirrors
from loopat_jupyter.repos.git import Completed
from loopat_jupyter.repos.refs import head_branch, listed
from tests.context.test_origins import Noted
from tests.git_remotes import git

if TYPE_CHECKING:
    import pytest

    from tests.git_remotes import Remote


def test_the_default_branch_is_what_the_remote_says():
    assert head_branch("ref: refs/heads/trunk\tHEAD\n0123\tHEAD\n") == "trunk"
    assert head_branch("0123\tHEAD\n") is None
    assert head_branch("") is None


def test_what_a_remote_lists_is_what_a_mirror_does():
    remote = (
        b"ref: refs/heads/trunk\tHEAD\n1\tHEAD\n1\trefs/heads/a/\xff\nref: refs/heads/trunk\trefs/heads/alias\n"
        b"1\trefs/heads/alias\n1\trefs/heads/trunk\n3\trefs/pull/1/refs/heads/trunk\n2\trefs/tags/v1\n1\trefs/tags/v1^{}\n"
    )
    mirror = b"1\trefs/heads/a/\xff\n1\trefs/heads/alias\n1\trefs/heads/trunk\n2\trefs/tags/v1\n"
    theirs, ours = (listed(Completed(0, text, "")) for text in (remote, mirror))
    assert theirs.lines == ours.lines
    assert (theirs.head, ours.head) == ("trunk", None)
    assert [ours.commit(branch) for branch in ("trunk", "unk", "v1")] == ["1", None, None]
    assert listed(Completed(0, remote[:40], "", cut=True)) == ("trunk", None)


async def test_a_remote_with_nothing_new_is_asked_once(
    plain: LoopManager, remote: Remote, monkeypatch: pytest.MonkeyPatch
):
    git(remote.elsewhere, "tag", "--annotate", "--message=Second", "v2")
    git(remote.elsewhere, "push", "--quiet", "origin", "v2", "HEAD:refs/heads/some/other")
    await plain.make(NewLoop(title="a", repo=remote.url))

    async def asked() -> list[str]:
        noted = Noted()
        again = LoopManager(plain.workspace, plain.config, plain.engine, member="ada", git=noted)
        record = await again.make(NewLoop(title="b", repo=remote.url))
        assert record.commit == git(remote.path, "rev-parse", "trunk")
        return [verb for verb in noted.ran if verb in ("ls-remote", "fetch")]

    # Whatever has changed is fetched: a branch, a tag, one that is gone.
    for change in (
        ("update-ref", "refs/heads/trunk", "v1"),
        ("tag", "--force", "v2", "v1"),
        ("branch", "-D", "some/other"),
    ):
        git(remote.path, *change)
        assert await asked() == ["ls-remote", "fetch"]
    assert await asked() == ["ls-remote"]
    # More of them than are looked through may have changed.
    monkeypatch.setattr(mirrors, "_MOST_REFS_BYTES", 50)
    assert await asked() == ["ls-remote", "fetch"]
