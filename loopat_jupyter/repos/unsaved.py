"""What would be lost with a loop: asked of git inside its sandbox, for its checkout may hold anything by now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.errors import ConflictError, plain
from loopat_jupyter.repos.git import lines_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from loopat_jupyter.sandbox.asking import Answered

_STATUS = ("status", "--porcelain=v1", "-z", "--untracked-files=normal", "--ignore-submodules=none")
_NAMED = 3
"""How many files and commits a message names; the rest is counted."""

_SETTINGS = ("-c", "core.fsmonitor=false", "-c", "core.alternateRefsPrefixes=refs/heads refs/tags")
_ONLY_HERE = ("--exclude=refs/stash", "--all", "--not", "--remotes", "--alternate-refs")
"""Whatever any branch, tag or worktree leads to, and no remote is known to have: by its branches as git saw them last,
or by the mirror, which has its tags too. A tag that was only made here is nowhere else."""

_MOST_WORKTREES = 50
"""More of one checkout than people and agents use at once; each is asked for by itself."""

_IN_SUBMODULES = (
    f"git log --format='%h %s (in '\"$displaypath\"')' --ignore-missing {' '.join(_ONLY_HERE)} && "
    "git stash list --format='stash: %gd %s (in '\"$displaypath\"')'"
)
"""What git's own shell runs in each submodule, those of submodules included."""


class Unsaved(NamedTuple):
    """What is in a checkout and nowhere else.

    Attributes:
        files: Changed and new files that are not committed.
        commits: Commits that no remote is known to have, as `<short id> <subject>`.
        stashes: Entries of the stash.
    """

    files: tuple[str, ...]
    commits: tuple[str, ...]
    stashes: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.files or self.commits or self.stashes)

    def __str__(self) -> str:
        parts = [
            _counted(self.files, "uncommitted file"),
            _counted(self.commits, "unpushed commit"),
            _counted(self.stashes, "stash", "stashes"),
        ]
        return "; ".join(part for part in parts if part)


def has_checkout(workdir: Path) -> bool:
    """Whether git has anything to say of a workdir.

    Args:
        workdir: The loop's files.
    """
    return os.path.lexists(workdir / ".git")


async def find_unsaved(run: Callable[[Sequence[str]], Awaitable[Answered]], base: str | None) -> Unsaved:
    """Ask git in a loop's workdir.

    Args:
        run: Runs a command inside, in the workdir; and what came of it.
        base: The commit that the loop began from: it was the remote's.

    Raises:
        ConflictError: Git cannot tell, so that nobody can know what would be lost.
    """

    async def git(*arguments: str) -> str:
        answer = await run(("git", *_SETTINGS, *arguments))
        if answer.exit_code:
            raise ConflictError(
                f"Git cannot tell what is unsaved in the loop: {answer.complaint[:200]}. Look at it in a terminal of "
                "the loop, or force it (`--force`)."
            )
        return answer.stdout.decode("utf-8", "replace")

    known = (base,) if base else ()
    files = changed_files(await git(*_STATUS))
    for folder in linked_worktrees(await git("worktree", "list", "--porcelain")):
        files += tuple(f"{folder}/{file}" for file in changed_files(await git("-C", folder, *_STATUS)))
    # Somebody may have begun anew, with `git init`: the commit that the loop began from is not there then.
    commits = await git("log", "--format=%h %s", "--ignore-missing", *_ONLY_HERE, *known)
    stashes = await git("stash", "list", "--format=%gd %s")
    below = await git("submodule", "foreach", "--quiet", "--recursive", _IN_SUBMODULES)
    return Unsaved(files, lines_of(commits) + lines_of(below), lines_of(stashes))


def linked_worktrees(listing: str) -> tuple[str, ...]:
    """Further folders into which a checkout has checked out branches, in what `git worktree list --porcelain` prints.

    Args:
        listing: The output: the checkout itself comes first.

    Raises:
        ConflictError: There are more than anybody looks through.
    """
    _, *others = (entry.split("\n") for entry in listing.strip("\n").split("\n\n"))
    # Of one whose folder is gone there is nothing to lose but its commits.
    there = [entry for entry in others if not any(line.startswith("prunable") for line in entry)]
    if len(there) > _MOST_WORKTREES:
        raise ConflictError(
            f"The loop has more than {_MOST_WORKTREES} worktrees. Remove those that are done, or force it (`--force`)."
        )
    return tuple(entry[0].removeprefix("worktree ") for entry in there)


def changed_files(status: str) -> tuple[str, ...]:
    """The files in what `git status --porcelain=v1 -z` prints.

    Args:
        status: The output; a renamed file is followed by its old name.
    """
    files, entries = [], iter(status.split("\0"))
    for entry in entries:
        if len(entry) > 3:
            files.append(entry[3:])
            if entry[0] in "RC":
                next(entries, None)
    return tuple(files)


def _counted(entries: Sequence[str], one: str, many: str = "") -> str:
    if not entries:
        return ""
    named = ", ".join(plain(entry[:80], kept="") for entry in entries[:_NAMED])
    more = f" and {len(entries) - _NAMED} more" if len(entries) > _NAMED else ""
    return f"{len(entries)} {one if len(entries) == 1 else many or one + 's'} ({named}{more})"
