"""Merges in a bare repo, and pushes; begins again when somebody else was first.

Nothing is ever rebased or forced: history that others have seen stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.errors import ConflictError, GitError, plain
from loopat_jupyter.repos.git import NO_SETTINGS, TRANSFER_TIMEOUT_S
from loopat_jupyter.repos.mirrors import LOCKED, past_stale_locks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from loopat_jupyter.repos.git import Access, Completed, Git
    from loopat_jupyter.repos.mirrors import Mirror, Mirrors

ATTEMPTS = 20
"""Each one that fails means that somebody else got through."""

MERGE_MEMORY_BYTES = 1024**3
"""Of two files that differ git holds both, and what they were, however small they were packed."""

_FIRST_WINS = ("\t[rejected]", "(cannot lock ref", "(failed to update ref)", "(incorrect old value provided)")
"""How git says of a ref that somebody else was first. Any other `[remote rejected]` refuses: a hook, rights."""

_NO_RIGHTS = "Permission denied"


class Author(NamedTuple):
    """Who a merge is by."""

    name: str

    def environ(self) -> dict[str, str]:
        """The same for git."""
        email = f"{self.name}@localhost"
        return {
            "GIT_AUTHOR_NAME": self.name,
            "GIT_AUTHOR_EMAIL": email,
            "GIT_COMMITTER_NAME": self.name,
            "GIT_COMMITTER_EMAIL": email,
        }


async def merge_and_push(
    git: Git,
    mirrors: Mirrors,
    mirror: Mirror,
    refresh: Callable[[], Awaitable[Mirror]],
    ours: str,
    *,
    access: Access,
    author: Author,
    message: str,
) -> tuple[str, bool]:
    """Bring a commit into the default branch of a remote.

    Args:
        git: Runs git.
        mirrors: Where the mirror is.
        mirror: The remote's copy as it was just fetched; it has `ours` already.
        refresh: Fetches again, and fails where the remote is out of reach.
        ours: The commit.
        access: How the remote is reached.
        author: Who merges.
        message: Of the merge, where one is needed.

    Returns:
        The default branch's newest commit with ours in it, and whether it was there before.

    Raises:
        ConflictError: The two changed the same lines; names the files. Nothing was changed.
        GitError: The remote refused.
    """
    for _ in range(ATTEMPTS):
        theirs = mirror.commit
        base = None if theirs is None else await _base(git, mirror.path, theirs, ours)
        if theirs is not None and base == ours:
            return theirs, True
        merged = ours
        if theirs is not None and base != theirs:
            tree = await _merged_tree(git, mirror, theirs, ours)
            parents = ("-p", theirs, "-p", ours)
            made = await git.run(
                "commit-tree", tree, *parents, "-m", message, folder=mirror.path, environ=author.environ()
            )
            merged = made.text
        pushed = await push(git, mirror, merged, mirror.default_branch, access)
        if pushed:
            await mirrors.note(mirror, mirror.default_branch, merged, theirs or "")
            return merged, False
        mirror = await refresh()
    raise GitError(f"The remote changed {ATTEMPTS} times while this was being pushed. Try again.")


async def push(git: Git, mirror: Mirror, commit: str, branch: str, access: Access) -> bool:
    """Push one commit to one branch of a remote, never by force.

    Args:
        git: Runs git.
        mirror: The remote's copy, which has the commit.
        commit: What to push.
        branch: Where to.
        access: How the remote is reached.

    Returns:
        False when somebody else was first.

    Raises:
        GitError: The remote refused for another reason.
    """
    return await _push(git, mirror, f"{commit}:refs/heads/{branch}", access)


async def drop(git: Git, mirror: Mirror, commit: str, branch: str, access: Access) -> bool:
    """Delete a branch of a remote that is as it was seen.

    Args:
        git: Runs git.
        mirror: The remote's copy.
        commit: Where the branch was.
        branch: Its name.
        access: How the remote is reached.

    Returns:
        False when it is somewhere else by now, and still there.

    Raises:
        GitError: The remote refused.
    """
    return await _push(git, mirror, f":refs/heads/{branch}", access, f"--force-with-lease=refs/heads/{branch}:{commit}")


async def _push(git: Git, mirror: Mirror, refspec: str, access: Access, *options: str) -> bool:
    async def attempt() -> Completed:
        answer = await git.run(
            "push", "--porcelain", *options, "--", mirror.address, refspec,
            folder=mirror.path, timeout_s=TRANSFER_TIMEOUT_S, access=access, ok=(0, 1, 128), doing="push",
        )  # fmt: skip
        if mirror.origin and answer.returncode and LOCKED in answer.stderr:
            raise GitError(
                "Another git changes this context, or was killed while it did. Nothing was promoted and nothing is "
                "lost. Try again in a minute.",
                stderr=answer.stderr,
            )
        return answer

    # Locks in a remote of others are theirs.
    answer = await (past_stale_locks(mirror.origin, attempt) if mirror.origin else attempt())
    if answer.returncode == 0:
        return True
    # What the remote's programs say goes to standard error; what became of the ref is git's own word.
    verdict = "\n".join(line for line in answer.text.splitlines() if line.startswith("!\t"))
    if any(sign in verdict for sign in _FIRST_WINS) and _NO_RIGHTS not in answer.stderr:
        return False
    said = "\n".join((*answer.stderr.splitlines()[-8:], verdict)).strip()
    raise GitError(
        f"The remote refused to change {refspec.rpartition('/heads/')[2]}: {said[-500:]}", stderr=answer.stderr
    )


async def _merged_tree(git: Git, mirror: Mirror, theirs: str, ours: str) -> str:
    """The tree that has both; no files are touched, for there are none."""
    answer = await git.run(
        "merge-tree",
        "--write-tree",
        "--name-only",
        "--no-messages",
        "-z",
        theirs,
        ours,
        folder=mirror.path,
        memory_bytes=MERGE_MEMORY_BYTES,
        ok=(0, 1),
        environ=NO_SETTINGS,
    )
    tree, *files = answer.text.rstrip("\0").split("\0")
    if answer.returncode:
        named = plain(", ".join(sorted({file for file in files if file})[:10]), kept="")
        raise ConflictError(
            f"Others changed the same places meanwhile: {named}. Nothing was promoted and nothing is lost. In the "
            f"loop, run `git pull --no-rebase origin {mirror.default_branch}` in that folder, fix the files, "
            "commit, and promote again."
        )
    return tree


async def _base(git: Git, repo: Path, theirs: str, ours: str) -> str:
    """Where two commits part: one of the two where the other one has it; empty where they have nothing in common."""
    return (await git.run("merge-base", theirs, ours, folder=repo, ok=(0, 1))).text
