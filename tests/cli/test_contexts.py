from __future__ import annotations

import datetime as dt
import io
import os
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.cli import contexts
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import Proposal, Pushed
from loopat_jupyter.repos.git import Git
from loopat_jupyter.workspace.config import Config, ContextConfig
from tests.context.test_proposals import LOOP, propose, proposed
from tests.git_remotes import git

if TYPE_CHECKING:
    from tests.cli.conftest import Answer, FakeCommandLine
    from tests.git_remotes import Remote

WAITING = Proposal(
    kind="knowledge",
    loop_id="0123abcd-0000-4000-8000-000000000000",
    title="Sales in May",
    author="ada",
    created_at=dt.datetime(2026, 5, 1, tzinfo=dt.UTC),
    commit="0" * 40,
    commits=1,
    files=("a",),
)


def test_a_proposal_is_named_as_its_loop_is(fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    proposals = fake.manager.cargo.contexts.proposals
    own = msgspec.structs.replace(
        WAITING, loop_id=fake.manager.create(title="Own things").id, title="What the record no longer says"
    )
    other = msgspec.structs.replace(WAITING, loop_id="4567abcd-0000-4000-8000-000000000000", title="Sales in June")

    async def waiting(kind: str | None = None) -> tuple[Proposal, ...]:
        assert kind == "knowledge"
        return WAITING, other, own

    async def diff(kind: str, loop_id: str) -> str:
        return f"{kind} of {loop_id}"

    monkeypatch.setattr(proposals, "waiting", waiting)
    monkeypatch.setattr(proposals, "diff", diff)
    for name in ("0123", "Sales in May"):
        assert fake("context", "diff", "knowledge", name).out == f"knowledge of {WAITING.loop_id}"
    for name in (own.loop_id, own.loop_id[:8], "own-things", "Own things"):
        assert fake("context", "diff", "knowledge", name).out == f"knowledge of {own.loop_id}"
    for name in ("Sales", "notes"):
        refused = fake("context", "diff", "knowledge", name)
        assert (refused.code, "`jupyter loopat context proposals` shows them" in refused.err) == (2, True)


@pytest.fixture
def team(fake: FakeCommandLine, remote: Remote) -> FakeCommandLine:
    """The command line where knowledge is at a remote, with one proposal."""
    propose(remote, "fact.md", "fact\n")
    plain = fake.manager
    config = Config(context=ContextConfig(knowledge=remote.url))
    fake.manager = LoopManager(plain.workspace, config, plain.engine, member="ada", git=Git(os.environ))
    return fake


class Person(io.StringIO):
    """Types answers."""

    def isatty(self) -> bool:
        return True


def test_what_was_looked_at_is_merged_without_asking(team: FakeCommandLine, remote: Remote) -> None:
    commit, trunk = proposed(remote), git(remote.path, "rev-parse", "trunk")
    assert team("context", "diff", "knowledge", LOOP[:8]).out.startswith(f"commit {commit}\n\ndiff --git")
    assert commit[:10] in team("context", "proposals").out
    [waiting] = msgspec.json.decode(team("context", "proposals", "--json").out)["proposals"]
    assert waiting["commit"] == commit
    more = propose(remote, "more.md", "more\n")
    for verb in ("merge", "discard"):
        late = team("context", verb, "knowledge", LOOP, "--commit", commit)
        assert (late.code, "has changed since" in late.err) == (1, True)
        short = team("context", verb, "knowledge", LOOP, "--commit", more[:10])
        assert (short.code, "give the whole commit" in short.err) == (2, True)
    assert (git(remote.path, "rev-parse", "trunk"), proposed(remote)) == (trunk, more)
    assert team("context", "merge", "knowledge", LOOP, "--commit", more).code == 0
    assert git(remote.path, "rev-parse", "trunk") == more


def test_where_nobody_is_a_commit_must_be_named(
    team: FakeCommandLine, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    commit, trunk = proposed(remote), git(remote.path, "rev-parse", "trunk")
    refused = team("context", "merge", "knowledge", LOOP)
    assert (refused.code, "Add --commit COMMIT" in refused.err) == (2, True)
    assert git(remote.path, "rev-parse", "trunk") == trunk
    assert team("context", "discard", "knowledge", LOOP, "--commit", commit).out == "Discarded.\n"
    assert git(remote.path, "for-each-ref", "refs/heads/loop") == ""


def test_whoever_is_there_sees_what_is_merged(
    team: FakeCommandLine, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "MOST_FILES_SHOWN", 2)
    monkeypatch.setattr(sys, "stdin", Person("n\n"))
    propose(remote, "b.bin", "\0")
    commit, trunk = propose(remote, "a.txt", "other\nlines\n"), git(remote.path, "rev-parse", "trunk")
    declined = team("context", "merge", "knowledge", LOOP)
    assert declined.code != 0
    assert git(remote.path, "rev-parse", "trunk") == trunk
    assert declined.err.startswith(
        "     +2      -1  a.txt\n   not compared  b.bin\n"
        "… and 1 file more, which `jupyter loopat context diff` shows.\n"
        f"Merge commit {commit[:10]} of Change (00000000) into the knowledge, for everybody? [y/N]"
    )
    monkeypatch.setattr(sys, "stdin", Person("y\n"))
    assert team("context", "merge", "knowledge", LOOP).out.startswith("Everybody has it now: ")
    assert git(remote.path, "rev-parse", "trunk") == commit


class Pushing:
    """A loop that is on a branch, and what was pushed of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, branch: str) -> None:
        self.branch = branch
        self.pushed: list[str | None] = []
        monkeypatch.setattr(contexts, "checked_out", self._checked_out)
        monkeypatch.setattr(contexts, "push_branch", self._push)

    async def _checked_out(self, *_: object, **__: object) -> str:
        return self.branch

    async def _push(self, *_: object, branch: str | None, on_progress: object) -> Pushed:
        del on_progress
        self.pushed.append(branch)
        return Pushed(branch=branch or "own", commit="0" * 40, remote="there")


OWN = "loop/fix-0123abcd"


def push(fake: FakeCommandLine, *options: str) -> Answer:
    """Push a loop that has a branch of its own."""
    record = msgspec.structs.replace(fake.manager.create(title="Fix"), branch=OWN, repo="site", origin="/srv/site.git")
    fake.manager.store.write(record)
    return fake("push", record.id, *options)


@pytest.mark.parametrize(("answer", "pushed"), [("y\n", ["main"]), ("n\n", [])])
def test_a_person_is_asked_before_another_branch_is_pushed(
    fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch, answer: str, pushed: list[str]
) -> None:
    loop = Pushing(monkeypatch, "main")
    monkeypatch.setattr(sys, "stdin", Person(answer))
    said = push(fake)
    assert "another branch than its own. Push to main of /srv/site.git? [y/N]" in said.err
    assert (said.code == 0, loop.pushed) == (bool(pushed), pushed)


def test_the_loops_own_branch_is_pushed_without_asking(fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Pushing(monkeypatch, OWN)
    monkeypatch.setattr(sys, "stdin", Person())
    assert push(fake).out == f"{OWN} of there is at 0000000000.\n"
    assert loop.pushed == [OWN]


def test_where_nobody_is_a_branch_is_named_or_the_loops_own(
    fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Pushing(monkeypatch, "main")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert (push(fake).code, push(fake, "--branch", "main").code) == (0, 0)
    # What is pushed without a name is looked at where it is done: only the loop's own.
    assert loop.pushed == [None, "main"]
