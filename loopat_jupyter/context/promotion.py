"""`Promoter`: a loop's work on a context goes to everybody, or waits as a proposal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from loopat_jupyter.context.bundles import Ask, Inside, take_commits
from loopat_jupyter.context.checkouts import context_branch
from loopat_jupyter.context.extent import refuse_bomb
from loopat_jupyter.context.merging import Author, merge_and_push, push
from loopat_jupyter.errors import ConflictError, GitError, LoopatError
from loopat_jupyter.models import ContextKind, LoopRecord, Progress, Promotion
from loopat_jupyter.workspace.paths import SANDBOX_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopat_jupyter.context.origins import Origins
    from loopat_jupyter.repos.git import Access, Git
    from loopat_jupyter.repos.mirrors import Mirror


_log = logging.getLogger(__name__)


class Promoter:
    """Promotes what loops changed.

    Args:
        origins: Where the contexts are kept.
        git: Runs git on the host.
        access: How the remotes of a loop's vault are reached.
    """

    def __init__(self, origins: Origins, git: Git, access: Callable[[LoopRecord], Access]) -> None:
        self._origins = origins
        self._git = git
        self._access = access

    @staticmethod
    def check(record: LoopRecord, kind: ContextKind) -> None:
        """Refuse a context that the loop cannot promote, before its sandbox is started for that.

        Args:
            record: The loop.
            kind: The context.

        Raises:
            ConflictError: The loop has no such context, or may only read it.
        """
        if kind not in [start.kind for start in record.contexts]:
            raise ConflictError(
                f"Loop {record.title!r} has no {kind}. It was made without contexts. A new loop has them."
            )
        if kind == "knowledge" and not record.config.knowledge_rw:
            raise ConflictError(
                "This loop can only read the knowledge. To let it change its copy, and promote that: "
                f"jupyter loopat set {record.id[:8]} --knowledge-rw"
            )

    async def promote(
        self,
        record: LoopRecord,
        kind: ContextKind,
        ask: Ask,
        *,
        message: str = "",
        author: str,
        tell: Callable[[Progress], None],
    ) -> Promotion:
        """Commit what changed, merge what others did, and push; or leave it as a proposal.

        Args:
            record: The loop; its sandbox runs.
            kind: The context, which `check` let pass.
            ask: Runs commands in the sandbox.
            message: Of the commit; empty says which loop it comes from.
            author: Who promotes, where git inside knows no name.
            tell: Told about each step.

        Raises:
            ConflictError: It is in the middle of a merge, others changed the same places, or it is more than everybody
                can be given. Nothing is lost.
            GitError: Git or the remote refused.
        """
        access = self._access(record)
        inside = Inside(ask, f"{SANDBOX_CONTEXT}/{kind}")
        message = message or f"Work of loop {record.title}"

        def wait() -> None:
            tell(Progress(label=f"waiting for others who change {kind}"))

        async with self._origins.giving(kind, record.id, wait):
            tell(Progress(label="committing"))
            folder = await self._origins.mirror(kind, record.created_by, access, tell)
            ours = await take_commits(inside, self._git, folder, _kept(record.id), author, message)
            if ours is None:
                return Promotion(kind=kind, outcome="unchanged", commit=None)
            await refuse_bomb(self._git, folder, ours)
            async with self._origins.changing(kind, record.created_by, wait):
                mirror = await self._refresh(kind, record, access, tell)
                tell(Progress(label="pushing"))
                if self._origins.waits(kind, record):
                    return await self._propose(record, kind, mirror, ours, access)
                promotion = await self._give(record, kind, mirror, ours, access, author=author, tell=tell)
            try:
                await self._follow(inside, mirror.default_branch)
            except LoopatError as error:
                # Everybody has it; the loop comes after when it is promoted from again.
                _log.warning("Loop %s does not follow its %s. %s", record.id, kind, error.message)
        return promotion

    async def _give(
        self,
        record: LoopRecord,
        kind: ContextKind,
        mirror: Mirror,
        ours: str,
        access: Access,
        *,
        author: str,
        tell: Callable[[Progress], None],
    ) -> Promotion:
        merged, known = await merge_and_push(
            self._git,
            self._origins.mirrors,
            mirror,
            lambda: self._refresh(kind, record, access, tell),
            ours,
            access=access,
            author=Author(author),
            message=f"Merge {kind} of loop {record.title}",
        )
        return Promotion(kind=kind, outcome="unchanged" if known else "merged", commit=merged)

    async def _refresh(
        self, kind: ContextKind, record: LoopRecord, access: Access, tell: Callable[[Progress], None]
    ) -> Mirror:
        mirror = await self._origins.refresh(kind, record.created_by, access, tell)
        if mirror.problem:
            raise GitError(f"{mirror.problem} Nothing was promoted; what the loop has is safe. Try again later.")
        return mirror

    async def _propose(
        self, record: LoopRecord, kind: ContextKind, mirror: Mirror, ours: str, access: Access
    ) -> Promotion:
        branch = context_branch(record.id)
        if not await push(self._git, mirror, ours, branch, access):
            raise ConflictError(
                f"The proposal of this loop on {kind} was changed by somebody else. Merge or discard that one first."
            )
        await self._origins.mirrors.note(mirror, branch, ours)
        return Promotion(kind=kind, outcome="proposed", commit=ours)

    @staticmethod
    async def _follow(inside: Inside, default_branch: str) -> None:
        """Bring the loop's branch to where everybody is now; it is part of that, so this cannot conflict."""
        await inside.git("pull", "--quiet", "--no-rebase", "--ff-only", "origin", default_branch)


def _kept(loop_id: str) -> str:
    """Where a mirror keeps what was last taken out of a loop."""
    return f"refs/loopat/loops/{loop_id}"
