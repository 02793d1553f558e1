"""What leaves a loop: its work on a context, and the branch of its repo."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from typing import TYPE_CHECKING, Any, Protocol

from loopat_jupyter.context.bundles import Inside, take_commits
from loopat_jupyter.context.merging import push
from loopat_jupyter.context.requests import CUT_SHORT, MOST_WAITING, answer, give_up, take, waiting
from loopat_jupyter.errors import BadInputError, ConflictError, GitError, LoopatError
from loopat_jupyter.household import ignore
from loopat_jupyter.models import LoopEvent, Progress, Pushed
from loopat_jupyter.repos.addresses import check_ref, shown
from loopat_jupyter.sandbox.plan import sandbox_workdir

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from pathlib import Path

    from loopat_jupyter.context.requests import Request, Waiting
    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import ContextKind, LoopRecord, Promotion


async def promote(
    manager: LoopManager,
    record: LoopRecord,
    kind: ContextKind,
    *,
    message: str = "",
    on_progress: Callable[[Progress], None] = ignore,
) -> Promotion:
    """Give everybody what a loop changed in a context, or propose it: where the context is gated or the loop `strict`.

    Args:
        manager: The loops.
        record: The loop.
        kind: The context.
        message: Of the commit; empty says which loop it comes from.
        on_progress: Told about each step.

    Raises:
        ConflictError: Others changed the same places, or the loop has no such context. Nothing is lost.
        EngineError: Podman refused.
        GitError: Git or the remote refused.
    """
    promoter = manager.cargo.contexts.promoter
    promoter.check(record, kind)
    inside = manager.inside(record, await manager.use(record, on_progress))
    promotion = await promoter.promote(record, kind, inside, message=message, author=manager.member, tell=on_progress)
    manager.on_event(LoopEvent(action="updated", loop_id=record.id))
    return promotion


def outcome(promotion: Promotion) -> str:
    """What came of promoting, for a person.

    Args:
        promotion: What came of it.
    """
    if promotion.outcome == "proposed":
        return f"It waits as a proposal on the {promotion.kind}, until somebody merges it."
    if promotion.outcome == "merged":
        return f"Everybody has it now: {(promotion.commit or '')[:10]}."
    return f"There is nothing new in the {promotion.kind} of this loop."


class Spawn(Protocol):
    """Runs something in the background, for one loop."""

    def __call__(self, work: Coroutine[Any, Any, None], *, loop_id: str) -> asyncio.Task[None]:
        """The task."""
        ...


class Answering:
    """Does what `loopat-promote` asks for: one request after the other in each loop, and no loop waits for another.

    Args:
        spawn: Runs the answers.
    """

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def look(self, manager: LoopManager) -> None:
        """Begin to answer in those loops that were started here, where nothing is being answered yet.

        Args:
            manager: The loops.
        """
        self._busy = {loop_id: task for loop_id, task in self._busy.items() if not task.done()}
        for loop_id in await asyncio.to_thread(manager.workspace.started_loops):
            if loop_id not in self._busy:
                found = await asyncio.to_thread(waiting, manager.workspace.run(loop_id))
                if any(found):
                    self._busy[loop_id] = self._spawn(_answer_all(manager, loop_id, found), loop_id=loop_id)


async def _answer_all(manager: LoopManager, loop_id: str, found: Waiting) -> None:
    run = manager.workspace.run(loop_id)
    for taken in found.abandoned:
        await asyncio.to_thread(give_up, run, taken)
    await asyncio.to_thread(_refuse, run, found.asked[MOST_WAITING:])
    for name in found.asked[:MOST_WAITING]:
        with _refused_told(run, name):
            request = take(run, name)
            if request:
                await _answer(manager, loop_id, request)


def _refuse(run: Path, names: Sequence[str]) -> None:
    for name in names:
        with _refused_told(run, name):
            if take(run, name):
                raise BadInputError("requests", f"{MOST_WAITING} of this loop wait already. Try again later")


@contextlib.contextmanager
def _refused_told(run: Path, name: str) -> Iterator[None]:
    try:
        yield
    except BadInputError as error:
        answer(run, name, code=1, text=error.message)


async def _answer(manager: LoopManager, loop_id: str, request: Request) -> None:
    code, text = 1, CUT_SHORT
    try:
        record = manager.store.read(loop_id)
        text = outcome(await promote(manager, record, request.kind, message=request.message))
        code = 0
    except LoopatError as error:
        text = error.message
    except OSError as error:
        text = f"The host could not do it: {error.strerror or error}. Nothing of the loop is lost; try again."
    finally:
        # Whatever has happened: somebody waits.
        answer(manager.workspace.run(loop_id), request.name, code=code, text=text)


async def checked_out(
    manager: LoopManager, record: LoopRecord, *, on_progress: Callable[[Progress], None] = ignore
) -> str:
    """The branch that is checked out in a loop: what runs there chooses it.

    Args:
        manager: The loops.
        record: The loop.
        on_progress: Told about each step.

    Raises:
        BadInputError: The branch is called what no remote takes.
        ConflictError: The loop has no repo or no branch.
        EngineError: Podman refused.
        GitError: Git refused.
    """
    _origin(record)
    return await _branch(await _workdir(manager, record, on_progress))


async def push_branch(
    manager: LoopManager,
    record: LoopRecord,
    *,
    branch: str | None = None,
    on_progress: Callable[[Progress], None] = ignore,
) -> Pushed:
    """Push the branch that is checked out in a loop to the remote of its repo, with the host's way to reach it.

    For remotes that the loop itself does not reach: a path on the host, a key that the loop should not have.

    Args:
        manager: The loops.
        record: The loop.
        branch: The branch that a person allows to be pushed to; None is the loop's own.
        on_progress: Told about each step.

    Raises:
        BadInputError: The branch is called what no remote takes.
        ConflictError: The loop has no repo or no branch, is on another branch than it may push to, or somebody else
            pushed to that branch.
        EngineError: Podman refused.
        GitError: Git or the remote refused.
    """
    origin = _origin(record)
    inside = await _workdir(manager, record, on_progress)
    found = await _branch(inside)
    branch = branch or record.branch
    if branch is None or found != branch:
        raise _elsewhere(record, found, branch)
    access = manager.cargo.checkout.access(record)
    on_progress(Progress(label=f"reaching {shown(origin)}"))
    mirror = await manager.cargo.checkout.mirrors.refresh(origin, access, on_progress)
    if mirror.problem:
        raise GitError(f"{mirror.problem} Nothing was pushed. Try again later.")
    kept = f"refs/loopat/loops/{record.id}-{os.urandom(4).hex()}"
    git = manager.cargo.checkout.git
    try:
        commit = await take_commits(inside, git, mirror.path, kept)
        if commit is None:
            return Pushed(branch=branch, commit=None, remote=shown(origin))
        on_progress(Progress(label="pushing"))
        if not await push(git, mirror, commit, branch, access):
            raise ConflictError(
                f"Somebody else pushed to {branch}. Run `git pull --no-rebase origin {branch}` in the loop, then push."
            )
    finally:
        await git.run("update-ref", "-d", kept, folder=mirror.path)
    # The loop learns what the remote has now, without having to reach it; one that was just stopped learns it later.
    with contextlib.suppress(LoopatError):
        await inside.git("update-ref", f"refs/remotes/origin/{branch}", commit)
    return Pushed(branch=branch, commit=commit, remote=shown(origin))


def _origin(record: LoopRecord) -> str:
    if record.origin is None:
        raise ConflictError(f"Loop {record.title!r} has no repo to push to.")
    return record.origin


async def _workdir(manager: LoopManager, record: LoopRecord, on_progress: Callable[[Progress], None]) -> Inside:
    return Inside(manager.inside(record, await manager.use(record, on_progress)), sandbox_workdir(record.id))


async def _branch(inside: Inside) -> str:
    branch = await inside.text("branch", "--show-current")
    if not branch:
        raise ConflictError("No branch is checked out in the loop. Switch to one, and push again.")
    return check_ref(branch, "branch")


def _elsewhere(record: LoopRecord, found: str, allowed: str | None) -> ConflictError:
    command = f"jupyter loopat push {record.id[:8]} --branch {shlex.quote(found)}"
    return ConflictError(
        f"Nothing was pushed: the loop is on branch {found}, not on {allowed or 'a branch of its own'}. If it is meant "
        f"to push there, name the branch: `{command}`, or `branch` in REST. Otherwise switch back in the loop."
    )
