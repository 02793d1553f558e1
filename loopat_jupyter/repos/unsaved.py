"""What would be lost with a loop: asked of git inside its sandbox, for its checkout may hold anything by now."""

from __future__ import annotations

import os
import shlex
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

_LONGEST_PATH = 4096
"""`PATH_MAX` of Linux."""

_FETCH_S = 20
"""What the remote has by now is worth no more waiting."""

_MOST_COMMITS = 10_000
"""More than that are not counted, for the answer is read whole."""

_IN_SUBMODULES = (
    f"git log --format='%h %s (in '\"$displaypath\"')' --ignore-missing {' '.join(_ONLY_HERE)} && "
    "git stash list --format='stash: %gd %s (in '\"$displaypath\"')'"
)
"""What git's own shell runs in each submodule, those of submodules included."""

_IN_TURN = 'mark=$1; shift; for command; do eval "$command" || exit; printf %s "$mark"; done'
"""Commands one after the other, a mark behind what each says: every command in a sandbox is a process more."""


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


async def find_unsaved(
    run: Callable[[Sequence[str]], Awaitable[Answered]], base: str | None, *, fetch: bool = False
) -> Unsaved:
    """Ask git in a loop's workdir.

    Args:
        run: Runs a command inside, in the workdir; and what came of it.
        base: The commit that the loop began from: it was the remote's.
        fetch: Look first at what the remote has by now, where it is within reach.

    Raises:
        ConflictError: Git cannot tell, so that nobody can know what would be lost.
    """

    async def told(*commands: str) -> list[str]:
        mark = os.urandom(16).hex()
        answer = await run(("sh", "-c", _IN_TURN, "sh", mark, *commands))
        *answers, cut = answer.stdout.decode("utf-8", "replace").split(mark)
        if answer.exit_code or cut or len(answers) != len(commands):
            problem = answer.complaint[:200] if answer.exit_code else "there is more of it than is read"
            raise ConflictError(
                f"Git cannot tell what is unsaved in the loop: {problem}. Look at it in a terminal of the loop, or "
                "force it (`--force`)."
            )
        return answers

    # Somebody may have begun anew, with `git init`: the commit that the loop began from is not there then.
    log = _git(
        "log",
        f"--max-count={_MOST_COMMITS}",
        "--format=%h %s",
        "--ignore-missing",
        *_ONLY_HERE,
        *((base,) if base else ()),
    )
    _, status, worktrees, commits, stashes, below = await told(
        f"timeout {_FETCH_S} {_git('fetch', '--quiet', 'origin')} || true" if fetch else "true",
        _git(*_STATUS),
        _git("worktree", "list", "--porcelain"),
        log,
        _git("stash", "list", "--format=%gd %s"),
        _git("submodule", "foreach", "--quiet", "--recursive", _IN_SUBMODULES),
    )
    files = changed_files(status)
    linked = linked_worktrees(worktrees)
    if linked:
        in_each = await told(*(_git("-C", folder, *_STATUS) for folder in linked))
        for folder, said in zip(linked, in_each, strict=True):
            files += tuple(f"{folder}/{file}" for file in changed_files(said))
    return Unsaved(files, lines_of(commits) + lines_of(below), lines_of(stashes))


def _git(*arguments: str) -> str:
    return shlex.join(("git", *_SETTINGS, *arguments))


def linked_worktrees(listing: str) -> tuple[str, ...]:
    """Further folders into which a checkout has checked out branches, in what `git worktree list --porcelain` prints.

    Args:
        listing: The output: the checkout itself comes first.

    Raises:
        ConflictError: There are more than anybody looks through, or one that cannot be.
    """
    _, *others = (entry.split("\n") for entry in listing.strip("\n").split("\n\n"))
    # Of one whose folder is gone there is nothing to lose but its commits.
    there = [entry for entry in others if not any(line.startswith("prunable") for line in entry)]
    if len(there) > _MOST_WORKTREES:
        raise ConflictError(
            f"The loop has more than {_MOST_WORKTREES} worktrees. Remove those that are done, or force it (`--force`)."
        )
    folders = tuple(entry[0].removeprefix("worktree ") for entry in there)
    if any("\0" in folder or len(folder) > _LONGEST_PATH for folder in folders):
        raise ConflictError("Git in the loop tells of a worktree where no folder can be. Force it (`--force`).")
    return folders


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
