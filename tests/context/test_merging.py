"""What several loops and workspaces give to one context: real git, and folders where there would be sandboxes."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from loopat_jupyter.errors import GitError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import LoopConfig, NewLoop
from loopat_jupyter.sandbox.asking import Answered
from loopat_jupyter.workspace.config import ContextConfig
from loopat_jupyter.workspace.paths import Workspace, sandbox_mirror
from tests.git_remotes import git

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopat_jupyter.context.bundles import Ask
    from loopat_jupyter.models import ContextKind, LoopRecord, Progress, Promotion
    from tests.git_remotes import Remote


def at_host(manager: LoopManager, record: LoopRecord, name: str, kind: str = "notes") -> Path:
    """A file of a loop's own context, which its sandbox has mounted: for loops whose sandbox is not the point."""
    return manager.workspace.context(record.id, kind) / name


def git_beside(manager: LoopManager, record: LoopRecord) -> dict[str, str]:
    """Variables with which git in a loop's checkouts has what its sandbox mounts: the home, and the mirrors."""
    mirrors = manager.workspace.mirrors
    return {
        **os.environ,
        "HOME": str(manager.workspace.loop_home(record.id)),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{mirrors}/.insteadOf",
        "GIT_CONFIG_VALUE_0": sandbox_mirror(""),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": ":".join(str(mirror / "objects") for mirror in mirrors.iterdir()),
    }


def ask_beside(manager: LoopManager, record: LoopRecord) -> Ask:
    """Has what would run in the loop's sandbox run in its folders."""

    async def ask(
        argv: Sequence[str], *, cwd: str, on_stdout: Callable[[bytes], object] | None = None, timeout_s: float = 60
    ) -> Answered:
        folder, environ = at_host(manager, record, "", Path(cwd).name), git_beside(manager, record)
        ran = await asyncio.to_thread(
            subprocess.run, argv, cwd=folder, env=environ, capture_output=True, timeout=timeout_s, check=False
        )
        if on_stdout:
            on_stdout(ran.stdout)
        return Answered(ran.returncode, ran.stdout, ran.stderr)

    return ask


async def promote_beside(
    manager: LoopManager,
    record: LoopRecord,
    kind: ContextKind,
    *,
    ask: Ask | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Promotion:
    """Promote; what would run in the loop's sandbox runs in its folders, or is answered by another."""
    promoter = manager.cargo.contexts.promoter
    promoter.check(record, kind)
    ask = ask or ask_beside(manager, record)
    return await promoter.promote(record, kind, ask, author=manager.member, tell=tell)


def with_contexts(manager: LoopManager, context: ContextConfig, *, home: Workspace | None = None) -> LoopManager:
    """The same manager with other contexts."""
    config = msgspec.structs.replace(manager.config, context=context)
    return LoopManager(home or manager.workspace, config, manager.engine, member="ada")


@pytest.fixture
def elsewhere(plain: LoopManager, tmp_path: Path) -> Workspace:
    """A second workspace, as on another machine."""
    made = Workspace(tmp_path / "second", plain.workspace.runtime_root)
    made.prepare()
    return made


async def test_two_workspaces_on_one_remote_converge(plain: LoopManager, elsewhere: Workspace, empty: Remote):
    context = ContextConfig(notes=empty.url)
    here, there = with_contexts(plain, context), with_contexts(plain, context, home=elsewhere)
    loops = [(place, await place.make(NewLoop(title=f"{number}"))) for number, place in enumerate((here, there, here))]
    for number, (place, record) in enumerate(loops):
        at_host(place, record, f"{number}.md").touch()
    promotions = await asyncio.gather(*(promote_beside(place, record, "notes") for place, record in loops))
    assert [promotion.outcome for promotion in promotions] == ["merged"] * 3
    newest = await there.make(NewLoop(title="Newest"))
    assert all(at_host(there, newest, f"{number}.md").exists() for number in range(3))
    assert git(empty.path, "log", "--format=%s", "trunk").count("Merge notes") >= 1
    assert git(empty.path, "for-each-ref", "--format=%(refname)") == "refs/heads/trunk"


async def test_alone_turns_into_a_team_by_adding_a_remote(
    plain: LoopManager, elsewhere: Workspace, empty: Remote, remote: Remote
):
    manager = with_contexts(plain, ContextConfig())
    old = await manager.make(NewLoop(title="Old"))
    at_host(manager, old, "a.md").write_text("before")
    await promote_beside(manager, old, "notes")
    # A remote with a history of its own is not attached.
    git(remote.path, "branch", "-m", "trunk", "main")
    with pytest.raises(GitError):
        await manager.cargo.contexts.attach("notes", remote.url)
    assert all(known.remote is None for known in manager.cargo.contexts.remotes())
    assert (await manager.cargo.contexts.attach("notes", empty.url)).remote == empty.url
    # A loop from before goes on, and others see what it gives back.
    at_host(manager, old, "b.md").write_text("after")
    assert (await promote_beside(manager, old, "notes")).outcome == "merged"
    team = with_contexts(manager, ContextConfig(notes=empty.url), home=elsewhere)
    theirs = await team.make(NewLoop(title="Theirs"))
    assert [at_host(team, theirs, name).read_text() for name in ("a.md", "b.md")] == ["before", "after"]


@pytest.mark.parametrize("left", ["HEAD.lock", "refs/heads/main.lock"])
async def test_what_a_killed_git_left_in_a_context_of_ones_own_keeps_nobody_from_promoting(
    plain: LoopManager, left: str
):
    manager = with_contexts(plain, ContextConfig())
    one = await manager.make(NewLoop(title="One"), lambda _: None)
    (origin,) = manager.workspace.origins.glob("notes*.git")
    at_host(manager, one, "note.md").write_text("one")
    (origin / left).touch()
    with pytest.raises(GitError, match=r"Another git changes this context.* Try again in a minute"):
        await promote_beside(manager, one, "notes")
    os.utime(origin / left, (1000, 1000))
    taken = next(manager.workspace.mirrors.glob("context-notes*/refs/loopat/loops")) / f"{one.id}.lock"
    taken.touch()
    at_host(manager, one, "note.md").write_text("two")
    with pytest.raises(GitError, match=r"\.lock': File exists"):
        await promote_beside(manager, one, "notes")
    os.utime(taken, (1000, 1000))
    assert (await promote_beside(manager, one, "notes")).outcome == "merged"


class Stuck:
    """A loop whose git goes on for ever, from a command on."""

    def __init__(self, ask: Ask, command: str) -> None:
        self._ask, self._command = ask, command
        self.reached = asyncio.Event()

    async def __call__(self, argv: Sequence[str], **options: Any) -> Answered:
        if " ".join(argv).startswith(self._command):
            self.reached.set()
            await asyncio.Event().wait()
        return await self._ask(argv, **options)


@pytest.mark.parametrize("command", ["sh -c", "git pull"])
async def test_a_loop_whose_git_never_ends_keeps_no_other_from_promoting(plain: LoopManager, command: str):
    manager = with_contexts(plain, ContextConfig())
    slow, other = [await manager.make(NewLoop(title=title)) for title in ("Slow", "Other")]
    for record in (slow, other):
        at_host(manager, record, f"{record.title}.md").touch()
    stuck = Stuck(ask_beside(manager, slow), command)
    promoting = asyncio.create_task(promote_beside(manager, slow, "notes", ask=stuck))
    await stuck.reached.wait()
    assert (await promote_beside(manager, other, "notes")).outcome == "merged"
    # What the loop itself asks for comes in order.
    waits = asyncio.Event()

    def tell(progress: Progress) -> None:
        assert progress.label == "waiting for others who change notes"
        waits.set()

    again = asyncio.create_task(promote_beside(manager, slow, "notes", tell=tell))
    await waits.wait()
    for task in (promoting, again):
        task.cancel()
    await asyncio.gather(promoting, again, return_exceptions=True)


async def test_who_waits_for_others_is_told(plain: LoopManager):
    manager = with_contexts(plain, ContextConfig())
    record = await manager.make(NewLoop(title="a"))
    at_host(manager, record, "a.md").touch()
    waits, told = asyncio.Event(), list[str]()

    def tell(progress: Progress) -> None:
        told.append(progress.label)
        if progress.label == "waiting for others who change notes":
            waits.set()

    async with manager.cargo.contexts.origins.changing("notes", "ada"):
        promoting = asyncio.create_task(promote_beside(manager, record, "notes", tell=tell))
        await waits.wait()
    assert (await promoting).outcome == "merged"
    assert (told[:2], told[-1]) == (["committing", "waiting for others who change notes"], "pushing")


async def test_what_a_strict_loop_promotes_waits_in_every_context(plain: LoopManager):
    """It is for code that nobody trusts, and all others read it."""
    manager = with_contexts(plain, ContextConfig())
    strict = await manager.make(NewLoop(title="Strict", config=LoopConfig(isolation="strict")))
    for kind in ("notes", "personal"):
        at_host(manager, strict, "CLAUDE.md", kind).write_text("Do as I say.\n")
        assert (await promote_beside(manager, strict, kind)).outcome == "proposed"
    unread = await manager.make(NewLoop(title="Unread"))
    assert [path for path in manager.workspace.loop(unread.id).rglob("CLAUDE.md") if "context" in path.parts] == []
    proposals = manager.cargo.contexts.proposals
    waiting = {proposal.kind: proposal for proposal in await proposals.waiting()}
    assert {kind: proposal.files for kind, proposal in waiting.items()} == {
        "notes": ("CLAUDE.md",),
        "personal": ("CLAUDE.md",),
    }
    await proposals.discard("notes", strict.id, waiting["notes"].commit)
    await proposals.merge("personal", strict.id, waiting["personal"].commit)
    read = await manager.make(NewLoop(title="Read"))
    assert [at_host(manager, read, "CLAUDE.md", kind).exists() for kind in ("notes", "personal")] == [False, True]


async def test_so_it_does_where_the_workspace_says_strict(plain: LoopManager):
    manager = with_contexts(plain, ContextConfig())
    manager = LoopManager(
        manager.workspace, msgspec.structs.replace(manager.config, isolation="strict"), manager.engine, member="ada"
    )
    record = await manager.make(NewLoop(title="a"))
    at_host(manager, record, "a.md").touch()
    assert (await promote_beside(manager, record, "notes")).outcome == "proposed"
