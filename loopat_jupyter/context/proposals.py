"""`Proposals`: what waits to be merged into a context: listed, shown, merged, discarded."""

from __future__ import annotations

import datetime
import logging
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.context.checkouts import context_branch
from loopat_jupyter.context.extent import LARGEST_COMMIT_BYTES, refuse_bomb, refuse_large_commits, too_much
from loopat_jupyter.context.merging import Author, drop, merge_and_push
from loopat_jupyter.deadlines import deadline, side_by_side
from loopat_jupyter.errors import ConflictError, GitError, LoopatError, NotFoundError
from loopat_jupyter.models import CONTEXT_KINDS, ContextKind, Promotion, Proposal
from loopat_jupyter.repos.git import NO_SETTINGS, lines_of
from loopat_jupyter.workspace.paths import is_loop_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopat_jupyter.context.origins import Origins
    from loopat_jupyter.repos.git import Access, Completed, Git
    from loopat_jupyter.repos.mirrors import Mirror
    from loopat_jupyter.workspace.records import LoopStore

_log = logging.getLogger(__name__)

LARGEST_DIFF_BYTES = 2 * 2**20
_PATIENCE_S = 5.0
"""With a remote where next to nothing waits: nobody looks at the rest meanwhile."""
LARGEST_NAMES_BYTES = 2**18
"""Names of the files that a proposal changes; no person reads more of them."""

_DIFF = ("--no-ext-diff", "--no-textconv", "--no-renames")
"""No program of anybody's is run, and no file compared with every other one to find renames."""

_BRANCH = "%(refname:lstrip=3) %(objectname) %(objectsize)"
_COMMIT = "%H%x00%an%x00%ct%x00%s"
_AT_ONCE = 128
"""Commits that git is asked for at once: as large as each may be, it says less of them than `Git` takes."""

_SHOWN_CHARACTERS = 200
"""Of an author and of a subject."""

_LATEST_S = 253402300799
"""The last second of the year 9999, where Python's calendar ends."""


def moment(seconds: str) -> datetime.datetime:
    """A time as git says it. Whoever commits says when that was, so it may be any; the nearest that there is, then.

    Args:
        seconds: Since 1970; empty where the commit names none.
    """
    return datetime.datetime.fromtimestamp(min(max(int(seconds or 0), 0), _LATEST_S), tz=datetime.UTC)


class _Said(NamedTuple):
    """What a commit says of itself."""

    author: str
    created_at: datetime.datetime
    subject: str


_TOO_LONG = _Said("", moment(""), "(what its last commit says is too long)")


class _Branch(NamedTuple):
    """A loop's branch that waits."""

    loop_id: str
    commit: str
    author: str
    created_at: datetime.datetime
    title: str


class ChangedFile(NamedTuple):
    """A file that a proposal changes.

    Attributes:
        path: Within the context.
        added: Lines; None for a file that is not compared line by line.
        removed: The same.
    """

    path: str
    added: int | None
    removed: int | None


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

    async def waiting(self, kind: ContextKind | None = None) -> tuple[Proposal, ...]:
        """Everything that waits, the newest first.

        Args:
            kind: The only context to look at; None looks at all, and leaves out those that are not gated and cannot be
                had, where next to nothing waits.

        Raises:
            GitError: A remote is out of reach.
        """
        kinds = (kind,) if kind else CONTEXT_KINDS
        # Each may be at another remote.
        found = await side_by_side(*(self._in(each, strict=bool(kind)) for each in kinds))
        return tuple(sorted(chain(*found), key=lambda proposal: proposal.created_at, reverse=True))

    async def _in(self, kind: ContextKind, *, strict: bool) -> list[Proposal]:
        must = strict or self._origins.is_gated(kind)
        try:
            async with deadline(None if must else _PATIENCE_S):
                mirror = await self._refresh(kind)
        except (LoopatError, TimeoutError) as error:
            if must:
                raise
            why = str(error) or f"Its remote did not answer within {_PATIENCE_S:g} s."
            _log.warning("Nobody looked for proposals on %s. %s", kind, why)
            return []
        return await self._of(kind, mirror)

    async def diff(self, kind: ContextKind, loop_id: str, commit: str | None = None) -> str:
        """What a proposal changes: its commit on the first line, then a unified diff; one that is very long is cut.

        Args:
            kind: The context.
            loop_id: The loop that it came from.
            commit: Where it must be; None is wherever it is by now.

        Raises:
            ConflictError: It is at another commit, or holds too much to be compared.
            GitError: The remote is out of reach.
            NotFoundError: There is no such proposal.
        """
        answer, commit = await self._compared(kind, loop_id, commit, "--no-color", cut_bytes=LARGEST_DIFF_BYTES)
        text = f"commit {commit}\n\n{answer.stdout.decode('utf-8', 'replace')}"
        return f"{text}\n… cut here: it is longer.\n" if answer.cut else text

    async def changed_files(self, kind: ContextKind, loop_id: str, commit: str) -> tuple[ChangedFile, ...]:
        """The files that a proposal changes, each with how many lines.

        Args:
            kind: The context.
            loop_id: The loop that it came from.
            commit: Where it must be.

        Raises:
            ConflictError: It is at another commit, or holds too much to be compared.
            GitError: The remote is out of reach.
            NotFoundError: There is no such proposal.
        """
        answer, _ = await self._compared(kind, loop_id, commit, "--numstat", "-z")
        entries = (entry.split("\t", 2) for entry in answer.stdout.decode("utf-8", "replace").split("\0")[:-1])
        return tuple(ChangedFile(path, _lines(added), _lines(removed)) for added, removed, path in entries)

    async def merge(self, kind: ContextKind, loop_id: str, commit: str) -> Promotion:
        """Bring a proposal into the context.

        Args:
            kind: The context.
            loop_id: The loop that it came from.
            commit: What somebody has looked at: that and nothing else is merged.

        Raises:
            ConflictError: It is at another commit, others changed the same places, or it is too large; the proposal is
                as it was.
            GitError: The remote refused; says whether to merge, or to take the proposal away.
            NotFoundError: There is no such proposal.
        """
        async with self._origins.changing(kind, self._member):
            return await self._merge(kind, loop_id, commit)

    async def _merge(self, kind: ContextKind, loop_id: str, commit: str) -> Promotion:
        mirror, proposal = await self._find(kind, loop_id, commit)
        await refuse_bomb(self._git, mirror.path, proposal.commit)
        await refuse_large_commits(self._git, mirror.path, proposal.commit, *_beyond(mirror))
        merged, _ = await merge_and_push(
            self._git,
            self._origins.mirrors,
            mirror,
            lambda: self._refresh(kind),
            proposal.commit,
            access=self._access(),
            author=Author(self._member),
            message=f"Merge {kind} of loop {proposal.title}",
        )
        try:
            # More may have been promoted meanwhile: that stays, as a proposal of its own.
            await self._drop(mirror, proposal)
        except GitError as error:
            raise GitError(f"The proposal is merged, but its branch stays. {error.message}") from error
        return Promotion(kind=kind, outcome="merged", commit=merged)

    async def discard(self, kind: ContextKind, loop_id: str, commit: str) -> None:
        """Take a proposal away. The loop that it came from keeps its commits.

        Args:
            kind: The context.
            loop_id: The loop that it came from.
            commit: What somebody has looked at.

        Raises:
            ConflictError: More was promoted to it since; it is still there.
            GitError: The remote refused.
            NotFoundError: There is no such proposal.
        """
        async with self._origins.changing(kind, self._member):
            mirror, proposal = await self._find(kind, loop_id, commit)
            dropped = await self._drop(mirror, proposal)
        if not dropped:
            raise _changed(kind, loop_id)

    async def _drop(self, mirror: Mirror, proposal: _Branch) -> bool:
        branch = context_branch(proposal.loop_id)
        dropped = await drop(self._git, mirror, proposal.commit, branch, self._access())
        if dropped:
            await self._origins.mirrors.note(mirror, branch, None, proposal.commit)
        return dropped

    async def _refresh(self, kind: ContextKind) -> Mirror:
        mirror = await self._origins.refresh(kind, self._member, self._access(), lambda _: None)
        if mirror.problem:
            raise GitError(f"{mirror.problem} Try again later.")
        return mirror

    async def _find(self, kind: ContextKind, loop_id: str, commit: str | None) -> tuple[Mirror, _Branch]:
        mirror = await self._refresh(kind)
        if is_loop_id(loop_id):
            for branch in await self._branches(mirror, loop_id):
                # Whatever runs in the loop may add to it at any time.
                if commit not in (None, branch.commit):
                    raise _changed(kind, loop_id)
                return mirror, branch
        raise NotFoundError(
            f"No proposal of loop {loop_id[:80]} waits on {kind}. `jupyter loopat context proposals` shows them."
        )

    async def _compared(
        self, kind: ContextKind, loop_id: str, commit: str | None, *how: str, cut_bytes: int | None = None
    ) -> tuple[Completed, str]:
        """What git says of the changes of a proposal, and its commit."""
        mirror, proposal = await self._find(kind, loop_id, commit)
        await refuse_bomb(self._git, mirror.path, proposal.commit)
        base = await self._base(mirror, f"refs/heads/{mirror.default_branch}", proposal.commit)
        # A larger file is told as changed, without its lines: git would hold two of them in memory.
        answer = await self._git.run(
            "-c", f"core.bigFileThreshold={LARGEST_DIFF_BYTES}", "diff", *_DIFF, *how,
            base, proposal.commit, "--",
            folder=mirror.path, doing="diff", environ=NO_SETTINGS, cut_bytes=cut_bytes,
        )  # fmt: skip
        return answer, proposal.commit

    async def _of(self, kind: ContextKind, mirror: Mirror) -> list[Proposal]:
        base = None if mirror.commit is None else f"refs/heads/{mirror.default_branch}"
        found = []
        for branch in await self._branches(mirror):
            counted, files = await self._extent(mirror, base, branch.commit)
            found.append(
                Proposal(
                    kind=kind,
                    loop_id=branch.loop_id,
                    title=branch.title,
                    author=branch.author,
                    created_at=branch.created_at,
                    commit=branch.commit,
                    commits=counted,
                    files=files,
                )
            )
        return found

    async def _branches(self, mirror: Mirror, loop_id: str = "") -> list[_Branch]:
        """What waits, or what of one loop does, without what it holds: git looks long at each."""
        unmerged = () if mirror.commit is None else (f"--no-merged=refs/heads/{mirror.default_branch}",)
        listed = await self._git.run(
            "for-each-ref", f"--format={_BRANCH}", *unmerged, f"refs/heads/loop/{loop_id}", folder=mirror.path
        )
        lines = [line.split(" ") for line in lines_of(listed.text)]
        found = [(name, commit, int(size_bytes)) for name, commit, size_bytes in lines if is_loop_id(name)]
        # Whoever runs in a loop writes what its commits say: as much as they like, where somebody else took them.
        small = [commit for _, commit, size_bytes in found if size_bytes <= LARGEST_COMMIT_BYTES]
        said = await self._said(mirror, small)
        branches = []
        for name, commit, _ in found:
            author, created_at, subject = said.get(commit, _TOO_LONG)
            branches.append(_Branch(name, commit, author, created_at, self._title(name) or subject))
        return branches

    async def _said(self, mirror: Mirror, commits: Sequence[str]) -> dict[str, _Said]:
        """What commits say of themselves, by name: only of such as are not too large."""
        said = {}
        for start in range(0, len(commits), _AT_ONCE):
            asked = "\n".join(commits[start : start + _AT_ONCE]).encode()
            listed = await self._git.run(
                "rev-list", "--no-walk=unsorted", "--no-commit-header", f"--format={_COMMIT}", "--stdin",
                folder=mirror.path, stdin=asked, doing="list what waits",
            )  # fmt: skip
            for line in lines_of(listed.text):
                commit, author, seconds, subject = line.split("\0")
                said[commit] = _Said(_cut(author), moment(seconds), _cut(subject))
        return said

    async def _extent(self, mirror: Mirror, base: str | None, commit: str) -> tuple[int, tuple[str, ...]]:
        counted = await self._git.run("rev-list", "--count", commit, *_beyond(mirror), folder=mirror.path)
        changed: tuple[str, ...] = ("ls-tree", "-rz", "--name-only", commit)
        # Git compares all before it says anything of it.
        if base and not await too_much(self._git, mirror.path, commit):
            changed = ("diff", *_DIFF, "--name-only", "-z", await self._base(mirror, base, commit), commit)
        answer = await self._git.run(*changed, folder=mirror.path, cut_bytes=LARGEST_NAMES_BYTES)
        *files, _ = answer.stdout.decode("utf-8", "replace").split("\0")
        return int(counted.text), (*files, "… and more") if answer.cut else tuple(files)

    async def _base(self, mirror: Mirror, base: str, commit: str) -> str:
        """What a proposal is compared with: where it began, or all there is for one with a history of its own."""
        found = await self._git.run("merge-base", base, commit, folder=mirror.path, ok=(0, 1))
        return found.text or base

    def _title(self, loop_id: str) -> str:
        try:
            return self._store.read(loop_id).title
        except LoopatError:
            return ""


def _beyond(mirror: Mirror) -> tuple[str, ...]:
    """Which commits are left out, for `git rev-list`: those that everybody has."""
    return () if mirror.commit is None else ("--not", f"refs/heads/{mirror.default_branch}")


def _cut(text: str) -> str:
    """As much of a text as a person reads in a list."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _lines(number: str) -> int | None:
    """A number of lines as git says it: `-` where it did not look at lines."""
    return None if number == "-" else int(number)


def _changed(kind: ContextKind, loop_id: str) -> ConflictError:
    return ConflictError(
        f"The proposal of loop {loop_id[:8]} on {kind} has changed since, so it was left as it is. Look at it again: "
        f"`jupyter loopat context diff {kind} {loop_id[:8]}` shows it."
    )
