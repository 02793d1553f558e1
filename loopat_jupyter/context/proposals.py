"""`Proposals`: what waits on a gated context: listed, shown, merged, discarded."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from loopat_jupyter.context.checkouts import context_branch
from loopat_jupyter.context.merging import Author, merge_and_push, push
from loopat_jupyter.errors import GitError, LoopatError, NotFoundError
from loopat_jupyter.models import CONTEXT_KINDS, ContextKind, Promotion, Proposal
from loopat_jupyter.repos.git import NO_SETTINGS
from loopat_jupyter.workspace.paths import is_loop_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopat_jupyter.context.origins import Origins
    from loopat_jupyter.repos.git import Access, Git
    from loopat_jupyter.repos.mirrors import Mirror
    from loopat_jupyter.workspace.records import LoopStore

LARGEST_DIFF_BYTES = 2 * 2**20

_FORMAT = "%(refname:lstrip=3)%00%(objectname)%00%(authorname)%00%(creatordate:unix)%00%(contents:subject)"


class Proposals:
    """Proposals on the contexts of one workspace.

    Args:
        origins: Where the contexts are kept.
        store: Records of the loops that they come from.
        git: Runs git.
        access: How the remotes are reached.
        member: Who looks.
    """

    def __init__(
        self, origins: Origins, store: LoopStore, git: Git, access: Callable[[], Access], *, member: str
    ) -> None:
        self._origins = origins
        self._store = store
        self._git = git
        self._access = access
        self._member = member

    async def waiting(self) -> tuple[Proposal, ...]:
        """Everything that waits, the newest first.

        Raises:
            GitError: A remote is out of reach.
        """
        found: list[Proposal] = []
        for kind in CONTEXT_KINDS:
            if self._origins.is_gated(kind):
                found += await self._of(kind, await self._refresh(kind))
        return tuple(sorted(found, key=lambda proposal: proposal.created_at, reverse=True))

    async def diff(self, kind: ContextKind, loop_id: str) -> str:
        """What a proposal changes, as a unified diff; one that is very long is cut.

        Raises:
            GitError: The remote is out of reach.
            NotFoundError: There is no such proposal.
        """
        mirror, _ = await self._find(kind, loop_id)
        base = f"refs/heads/{mirror.default_branch}"
        range_ = f"{base}...refs/heads/{context_branch(loop_id)}"
        answer = await self._git.run(
            "diff",
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            range_,
            "--",
            folder=mirror.path,
            doing="diff",
            environ=NO_SETTINGS,
        )
        text = answer.stdout[:LARGEST_DIFF_BYTES].decode("utf-8", "replace")
        return text if len(answer.stdout) <= LARGEST_DIFF_BYTES else f"{text}\n… cut here: it is longer.\n"

    async def merge(self, kind: ContextKind, loop_id: str) -> Promotion:
        """Bring a proposal into the context.

        Raises:
            ConflictError: Others changed the same places; the proposal is as it was.
            GitError: The remote refused.
            NotFoundError: There is no such proposal.
        """
        mirror, proposal = await self._find(kind, loop_id)
        merged, _ = await merge_and_push(
            self._git,
            mirror,
            lambda: self._refresh(kind),
            proposal.commit,
            access=self._access(),
            author=Author(self._member),
            message=f"Merge {kind} of loop {proposal.title}",
        )
        await self._drop(mirror, kind, loop_id)
        return Promotion(kind=kind, outcome="merged", commit=merged)

    async def discard(self, kind: ContextKind, loop_id: str) -> None:
        """Take a proposal away. The loop that it came from keeps its commits.

        Raises:
            GitError: The remote refused.
            NotFoundError: There is no such proposal.
        """
        mirror, _ = await self._find(kind, loop_id)
        await self._drop(mirror, kind, loop_id)

    async def _drop(self, mirror: Mirror, kind: ContextKind, loop_id: str) -> None:
        await push(self._git, mirror, "", context_branch(loop_id), self._access())
        await self._refresh(kind)

    async def _refresh(self, kind: ContextKind) -> Mirror:
        mirror = await self._origins.refresh(kind, self._member, self._access(), lambda _: None)
        if mirror.problem:
            raise GitError(f"{mirror.problem} Try again later.")
        return mirror

    async def _find(self, kind: ContextKind, loop_id: str) -> tuple[Mirror, Proposal]:
        mirror = await self._refresh(kind)
        for proposal in await self._of(kind, mirror):
            if proposal.loop_id == loop_id:
                return mirror, proposal
        raise NotFoundError(
            f"No proposal of loop {loop_id[:80]} waits on {kind}. `jupyter loopat context proposals` shows them."
        )

    async def _of(self, kind: ContextKind, mirror: Mirror) -> list[Proposal]:
        base = f"refs/heads/{mirror.default_branch}"
        has_base = await self._git.run("show-ref", "--verify", "--quiet", base, folder=mirror.path, ok=(0, 1))
        unmerged = (f"--no-merged={base}",) if has_base.returncode == 0 else ()
        listed = await self._git.run(
            "for-each-ref", f"--format={_FORMAT}", *unmerged, "refs/heads/loop/", folder=mirror.path
        )
        found = []
        for line in filter(None, listed.text.split("\n")):
            name, commit, author, seconds, subject = line.split("\0")
            if is_loop_id(name):
                made = datetime.datetime.fromtimestamp(int(seconds), tz=datetime.UTC)
                counted, files = await self._extent(mirror, base if unmerged else None, commit)
                found.append(
                    Proposal(
                        kind=kind,
                        loop_id=name,
                        title=self._title(name) or subject,
                        author=author,
                        created_at=made,
                        commit=commit,
                        commits=counted,
                        files=files,
                    )
                )
        return found

    async def _extent(self, mirror: Mirror, base: str | None, commit: str) -> tuple[int, tuple[str, ...]]:
        exclude = ("--not", base) if base else ()
        counted = await self._git.run("rev-list", "--count", commit, *exclude, folder=mirror.path)
        changed = (
            ("diff", "--name-only", "-z", f"{base}...{commit}") if base else ("ls-tree", "-rz", "--name-only", commit)
        )
        files = await self._git.run(*changed, folder=mirror.path)
        return int(counted.text), tuple(name for name in files.text.split("\0") if name)

    def _title(self, loop_id: str) -> str:
        try:
            return self._store.read(loop_id).title
        except LoopatError:
            return ""
