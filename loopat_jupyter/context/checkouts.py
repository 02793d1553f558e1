"""`ContextCheckouts`: the step of a new loop that gives it a branch of its own of each context."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.context.unpromoted import MADE
from loopat_jupyter.deadlines import side_by_side
from loopat_jupyter.errors import BadInputError, ConfigurationError, GitError, GitUnavailableError, UnsafePathError
from loopat_jupyter.models import CONTEXT_KINDS, ContextKind, ContextStart, Progress
from loopat_jupyter.repos.addresses import is_commit
from loopat_jupyter.repos.laying import borrow, lay
from loopat_jupyter.workspace.paths import context_mirror, sandbox_mirror
from loopat_jupyter.workspace.walking import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopat_jupyter.context.origins import Origins
    from loopat_jupyter.models import LoopRecord, NewLoop
    from loopat_jupyter.repos.git import Access, Git
    from loopat_jupyter.workspace.paths import Workspace


def context_branch(loop_id: str) -> str:
    """A loop's branch of every context.

    Args:
        loop_id: The loop.
    """
    return f"loop/{loop_id}"


class ContextCheckouts:
    """Lays the contexts into new loops.

    Args:
        workspace: Where the loops are.
        origins: Where the contexts are kept.
        git: Runs git.
        access: How the remotes of a loop's vault are reached.
    """

    def __init__(
        self, workspace: Workspace, origins: Origins, git: Git, access: Callable[[LoopRecord], Access]
    ) -> None:
        self._workspace = workspace
        self._origins = origins
        self._mirrors = origins.mirrors
        self._git = git
        self._access = access

    def check(self, new: NewLoop) -> None:
        """Refuse commits that cannot be any.

        Raises:
            BadInputError: Names `contexts`.
        """
        for kind, commit in new.contexts.items():
            if not is_commit(commit):
                raise BadInputError(f"contexts.{kind}", f"{commit[:80]!r} is no commit")

    async def apply(self, new: NewLoop, record: LoopRecord, tell: Callable[[Progress], None]) -> LoopRecord:
        """Check the contexts out; one that cannot be had becomes a warning.

        Raises:
            BadInputError: There is no such commit.
            StorageFullError: No space.
        """
        if not self._origins.used:
            return record
        laid = await side_by_side(*(self._try(kind, new.contexts.get(kind), record, tell) for kind in CONTEXT_KINDS))
        starts = tuple(start for start, _ in laid if start is not None)
        warnings = (*record.warnings, *(warning for _, warning in laid if warning))
        if starts:
            (self._workspace.context(record.id, MADE)).touch()
        return msgspec.structs.replace(record, contexts=starts, warnings=warnings)

    async def _try(
        self, kind: ContextKind, commit: str | None, record: LoopRecord, tell: Callable[[Progress], None]
    ) -> tuple[ContextStart | None, str]:
        """Where the context begins, None if it cannot be had; and what to warn of."""
        try:
            if await asyncio.to_thread(self._origins.remote, kind, record.created_by):
                tell(Progress(label=f"fetching the {kind}"))
            start, problem = await self._lay(kind, commit, record)
        except (GitError, GitUnavailableError, ConfigurationError, UnsafePathError) as error:
            await asyncio.to_thread(remove_tree, self._workspace.context(record.id, kind))
            return None, f"The loop has no {kind}. {error.message} To try again, make another loop."
        return start, f"The {kind} of the loop may be out of date. {problem}" if problem else ""

    async def _lay(self, kind: ContextKind, commit: str | None, record: LoopRecord) -> tuple[ContextStart, str]:
        access = self._access(record)
        mirror = await self._origins.refresh(kind, record.created_by, access, lambda _: None)
        try:
            start = await self._mirrors.resolve(mirror, commit, access)
        except BadInputError as error:
            raise BadInputError(f"contexts.{kind}", error.problem) from error
        folder = self._workspace.context(record.id, kind)
        folder.mkdir(parents=True)
        branch, origin = context_branch(record.id), sandbox_mirror(mirror.name)
        instead = f"in the loop: loopat-promote {kind}"
        await lay(
            self._git,
            mirror,
            folder,
            branch=branch,
            commit=start,
            origin=origin,
            follows=mirror.default_branch,
            instead_of_push=instead,
        )
        borrow(mirror, folder)
        return ContextStart(kind=kind, commit=start), mirror.problem

    async def restore(self, record: LoopRecord) -> None:
        """Have the mirrors that the loop borrows from, as after it was copied from another workspace.

        Args:
            record: The loop.
        """
        for start in record.contexts:
            if not self._mirrors.has(context_mirror(start.kind, record.created_by)):
                await self._bring_back(start.kind, record)

    async def _bring_back(self, kind: ContextKind, record: LoopRecord) -> None:
        try:
            await self._origins.refresh(kind, record.created_by, self._access(record), lambda _: None)
        except (GitError, ConfigurationError, UnsafePathError):
            await self._mirrors.stand_in(context_mirror(kind, record.created_by))
