"""Loops give back what they changed: real git, real sandboxes."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from loopat_jupyter.errors import ConflictError, NotFoundError
from loopat_jupyter.models import ExecSpec, LoopConfig, NewLoop
from loopat_jupyter.outgoing import Answering, checked_out, promote, push_branch
from tests.conftest import real_manager
from tests.context.test_merging import at_host, git_beside, promote_beside
from tests.git_remotes import git, unsaved

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.asking import Answered
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.workspace.paths import Workspace
    from tests.git_remotes import Remote

pytestmark = [pytest.mark.podman, pytest.mark.lonely]


@pytest.fixture
def manager_of_module(workspace_of_module: Workspace, sandbox_image: str) -> LoopManager:
    """Loops on real podman, for tests in which what others give to the same contexts is in nobody's way."""
    return real_manager(workspace_of_module, sandbox_image)


async def inside(manager: LoopManager, record: LoopRecord, script: str) -> str:
    """Run a script in the loop; what it prints."""
    events = [event async for event in manager.exec(record, ExecSpec(argv=("bash", "-ec", script)))]
    output = b"".join(event.data for event in events[:-1]).decode()
    assert events[-1].exit_code == 0, output
    return output.strip()


async def test_alone_without_any_remote_loops_share_their_notes(manager: LoopManager):
    first = await manager.make(NewLoop(title="First"))
    assert first.warnings == ()
    written = "echo learned > /loopat/context/notes/a.md; echo mine > /loopat/context/personal/p.md"
    told = await inside(manager, first, f"{written}; ! git -C /loopat/context/notes push 2>&1")
    assert (
        told == "Nothing was pushed: a loop does not reach this remote by itself. Run in the loop: loopat-promote notes"
    )
    asked: list[str] = []
    manager.inside = counted(manager, asked)
    promotion = await promote(manager, first, "notes", message="What we learned")
    assert promotion.outcome == "merged"
    # Each is a process in the sandbox.
    assert asked == ["sh", "git pull"]
    # Git inside need not know who commits.
    (manager.workspace.loop_home(first.id) / ".config" / "git" / "config").unlink()
    assert (await promote(manager, first, "personal")).outcome == "merged"
    assert git(manager.workspace.mirrors / "context-personal-ada.git", "log", "-1", "--format=%ae") == "ada@localhost"
    asked.clear()
    assert (await promote(manager, first, "notes")).outcome == "unchanged"
    assert asked == ["sh"]
    second = await manager.make(NewLoop(title="Second"))
    assert at_host(manager, second, "a.md").read_text() == "learned\n"
    assert at_host(manager, second, "p.md", "personal").read_text() == "mine\n"
    told = git(manager.workspace.mirrors / "context-notes.git", "log", "--format=%an %s")
    assert told.endswith(" What we learned\nloopat Begin")
    # The commits that a loop began from reproduce it.
    at_host(manager, second, "a.md").write_text("later")
    await promote_beside(manager, second, "notes")
    # What others promoted is one command away, for a loop that is at work.
    assert await inside(manager, first, "cd /loopat/context/notes; git pull --quiet; cat a.md") == "later"
    begun = {start.kind: start.commit for start in second.contexts}
    again = await manager.make(NewLoop(title="Again", contexts=begun))
    assert again.contexts == second.contexts
    assert at_host(manager, again, "a.md").read_text() == "learned\n"


def counted(manager: LoopManager, asked: list[str]) -> Callable[..., Callable[..., Awaitable[Answered]]]:
    """What runs commands inside, which notes them."""
    whole = manager.inside

    def within(record: LoopRecord, running: Running) -> Callable[..., Awaitable[Answered]]:
        ask = whole(record, running)

        def noting(argv: tuple[str, ...], **options: object) -> Awaitable[Answered]:
            asked.append(" ".join(argv[: 1 if argv[0] == "sh" else 2]))
            return ask(argv, **options)

        return noting

    return within


async def test_knowledge_is_read_only_and_what_is_promoted_waits(manager_of_module: LoopManager):
    manager = manager_of_module
    plain = await manager.make(NewLoop(title="Writer"))
    await inside(manager, plain, "! touch /loopat/context/knowledge/x 2>/dev/null")
    with pytest.raises(ConflictError, match="only read the knowledge"):
        await promote(manager, plain, "knowledge")
    # As the message says: it may be allowed later.
    first = await manager.update(plain.id, {"config": LoopConfig(knowledge_rw=True)})
    second = await manager.make(NewLoop(title="Other", config=LoopConfig(knowledge_rw=True)))
    await inside(manager, first, "echo fact > /loopat/context/knowledge/fact.md")
    # A subject may hold what Python takes for the end of a line.
    assert (await promote(manager, first, "knowledge", message="A\u2028fact")).outcome == "proposed"
    proposals = manager.cargo.contexts.proposals
    [waiting] = await proposals.waiting()
    assert (waiting.loop_id, waiting.title, waiting.files, waiting.commits) == (first.id, "Writer", ("fact.md",), 1)
    assert "+fact" in await proposals.diff("knowledge", first.id)
    later = await manager.make(NewLoop(title="Later"))
    assert not at_host(manager, later, "fact.md", "knowledge").exists()
    at_host(manager, second, "fact.md", "knowledge").write_text("another\n")
    assert (await promote_beside(manager, second, "knowledge")).outcome == "proposed"
    assert (await proposals.merge("knowledge", first.id, waiting.commit)).outcome == "merged"
    now = await manager.make(NewLoop(title="Now"))
    assert at_host(manager, now, "fact.md", "knowledge").read_text() == "fact\n"
    with pytest.raises(NotFoundError):
        await proposals.discard("knowledge", first.id, waiting.commit)
    # A proposal that conflicts is left as it was, and can be discarded.
    before = await proposals.waiting()
    assert [proposal.loop_id for proposal in before] == [second.id]
    with pytest.raises(ConflictError, match="fact.md"):
        await proposals.merge("knowledge", second.id, before[0].commit)
    assert await proposals.waiting() == before
    await proposals.discard("knowledge", second.id, before[0].commit)
    assert await proposals.waiting() == ()
    assert at_host(manager, second, "fact.md", "knowledge").read_text() == "another\n"


async def test_a_conflict_is_told_and_nothing_is_lost(manager_of_module: LoopManager):
    manager = manager_of_module
    loops = [await manager.make(NewLoop(title=title)) for title in ("One", "Two")]
    for number, record in enumerate(loops):
        at_host(manager, record, "same.md").write_text(f"{number}\n")
    await promote_beside(manager, loops[0], "notes")
    with pytest.raises(ConflictError, match="same.md.*nothing is lost"):
        await promote(manager, loops[1], "notes")
    assert at_host(manager, loops[1], "same.md").read_text() == "1\n"
    # As the message says.
    mend = "git pull -q --no-rebase origin main || true; echo both > same.md"
    await inside(manager, loops[1], f"cd /loopat/context/notes; {mend}; git add .; git commit -qm both")
    assert (await promote(manager, loops[1], "notes")).outcome == "merged"
    newest = await manager.make(NewLoop(title="Newest"))
    assert at_host(manager, newest, "same.md").read_text() == "both\n"


async def test_a_branch_is_pushed_from_the_host(manager_of_module: LoopManager, remote: Remote):
    manager = manager_of_module
    record = await manager.make(NewLoop(title="Fix", repo=remote.url))
    assert (await push_branch(manager, record)).commit is None
    commit = "git config user.email a@example.org; git config user.name Ada; git add .; git commit -qm Fix"
    await inside(manager, record, f"echo fixed > a.txt; {commit}")
    pushed = await push_branch(manager, record)
    assert (pushed.branch, pushed.commit) == (record.branch, git(remote.path, "rev-parse", str(record.branch)))
    assert not await unsaved(manager, record)
    git(remote.path, "branch", "--force", str(record.branch), "v1")
    workdir = manager.workspace.workdir(record.id)
    (workdir / "a.txt").write_text("more\n")
    subprocess.run(["git", "commit", "-qam", "More"], cwd=workdir, env=git_beside(manager, record), check=True)
    # Nobody's history is overwritten.
    git(remote.elsewhere, "fetch", "--quiet", "origin")
    git(remote.elsewhere, "switch", "--quiet", "--detach", "v1")
    (remote.elsewhere / "theirs.txt").write_text("theirs\n")
    git(remote.elsewhere, "add", ".")
    git(remote.elsewhere, "commit", "--quiet", "--message=Theirs")
    git(remote.elsewhere, "push", "--quiet", "origin", f"HEAD:{record.branch}")
    with pytest.raises(ConflictError, match="Somebody else pushed"):
        await push_branch(manager, record)


async def test_a_loop_does_not_choose_where_it_is_pushed_to(manager_of_module: LoopManager, remote: Remote):
    manager = manager_of_module
    record = await manager.make(NewLoop(title="Elsewhere", repo=remote.url))
    author = "-c user.email=a@example.org -c user.name=Ada"
    await inside(manager, record, f"git checkout -qB trunk; git {author} commit -q --allow-empty -m Sly")
    trunk = git(remote.path, "rev-parse", "trunk")
    command = f"`jupyter loopat push {record.id[:8]} --branch trunk`"
    with pytest.raises(ConflictError, match=f"is on branch trunk, not on {record.branch}.*{command}"):
        await push_branch(manager, record)
    # Nor does it when a person named another one, as what runs in the loop may switch meanwhile.
    for named in (str(record.branch), "other"):
        with pytest.raises(ConflictError, match=f"is on branch trunk, not on {named}"):
            await push_branch(manager, record, branch=named)
    assert git(remote.path, "rev-parse", "trunk") == trunk
    assert await checked_out(manager, record) == "trunk"
    pushed = await push_branch(manager, record, branch="trunk")
    assert pushed.commit == git(remote.path, "rev-parse", "trunk") != trunk
    # A name that a shell would run is no command to copy.
    await inside(manager, record, "git checkout -qb 'a;b'")
    with pytest.raises(ConflictError, match="--branch 'a;b'`"):
        await push_branch(manager, record)


def spawned(work: Coroutine[Any, Any, None], *, loop_id: str) -> asyncio.Task[None]:
    """What the server does, without the server."""
    return asyncio.create_task(work, name=loop_id)


async def answered(manager: LoopManager, record: LoopRecord, script: str) -> list[str]:
    """What a script in the loop prints, while the host answers it."""
    asking = asyncio.ensure_future(inside(manager, record, script))
    answering = Answering(spawned)
    while not asking.done():
        await answering.look(manager)
        await asyncio.sleep(0.05)
    return asking.result().splitlines()


async def test_commands_inside_ask_and_are_told(manager_of_module: LoopManager):
    manager = manager_of_module
    record = await manager.make(NewLoop(title="a"))
    at_host(manager, record, "a.md").write_text("learned")
    one = "loopat-promote -m 'From inside' && git log -1 --format=%s"
    left = "ls /loopat/run/{ask-,said}* 2>/dev/null | wc -l"
    # Many at once are all told.
    many = "for n in {1..12}; do loopat-promote knowledge 2>/dev/null & done; wait"
    script = f"cd /loopat/context/notes; {one}; {left}; {many}; {left}"
    told, subject, left_of_one, *told_all, left_of_all = await answered(manager, record, script)
    assert told.startswith("Everybody has it now: ")
    assert subject == "From inside"
    assert (left_of_one, left_of_all) == ("0", "0")
    begins = {text.partition(" of ")[0].partition(" can ")[0] for text in told_all}
    assert begins <= {"This loop", "requests: 8"}
    assert len(told_all) == 12
    # What is asked wrongly is told at once.
    wrong = "loopat-promote nonsense && exit 9; [ $? = 2 ]; loopat-promote -m && exit 9; [ $? = 2 ]; loopat-promote -h"
    # Where nobody is there to answer, it does not wait for ever, and leaves no request.
    alone = "LOOPAT_PROMOTE_TIMEOUT_S=0 loopat-promote 2>&1 || echo $?; ls /loopat/run/ask-* 2>/dev/null | wc -l"
    *usage, told, code, left = (await inside(manager, record, f"exec 2>&1; {wrong}; {alone}")).splitlines()
    assert any("Usage: loopat-promote" in line for line in usage)
    assert (code, left) == ("75", "0")
    assert told.endswith("give the notes back from the host: jupyter loopat promote")


async def test_a_loop_is_not_deleted_with_what_it_has_not_promoted(
    manager_of_module: LoopManager, caplog: pytest.LogCaptureFixture
):
    manager = manager_of_module
    record = await manager.make(NewLoop(title="a"))
    at_host(manager, record, "precious.md").write_text("precious")
    with pytest.raises(ConflictError, match=r"notes: 1 uncommitted file \(precious.md\)"):
        await manager.delete(record.id)
    # What the loop has in the way keeps its branch from following: what everybody has is not told as a failure.
    config = manager.workspace.context(record.id, "notes") / ".git" / "config"
    before = config.read_text()
    git(config.parent, "config", "remote.origin.url", "/nowhere")
    assert (await promote(manager, record, "notes")).outcome == "merged"
    assert "does not follow its notes" in caplog.text
    config.write_text(before)
    await manager.delete(record.id)
    untouched = await manager.make(NewLoop(title="b"))
    await manager.delete(untouched.id)
    assert not manager.workspace.loop(untouched.id).exists()
