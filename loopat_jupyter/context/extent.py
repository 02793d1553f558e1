"""How much a commit may hold that goes to everybody: a few objects can be made to stand for any number of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.errors import ConflictError

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.repos.git import Git

MOST_FILES = 100_000
LARGEST_FILES_BYTES = 2 * 2**30
LONGEST_NAME_BYTES = 255
LONGEST_PATH_BYTES = 3000
"""What any file system takes (NAME_MAX, and PATH_MAX with room for the folder of a loop): one file that cannot be
written keeps every loop from having any."""

LARGEST_COMMIT_BYTES = 2**18
"""Who wrote it and its message: a pull request can have one of 65,536 characters. Whatever lists commits reads that."""

_LISTING_BYTES = 32 * 2**20


async def too_much(git: Git, repo: Path, commit: str) -> str | None:
    """Why a commit must not go to everybody; None where it may.

    Args:
        git: Runs git.
        repo: A bare repo that has it.
        commit: The commit.
    """
    # Of all that git can do with a commit this alone says something at once, and can be ended when it is enough.
    listed = await git.run(
        "ls-tree", "-r", "-t", "--long", "-z", "--full-tree", commit,
        folder=repo, doing="look at the commits", cut_bytes=_LISTING_BYTES,
    )  # fmt: skip
    if listed.cut or listed.stdout.count(b"\0") > MOST_FILES:
        return f"has more than {MOST_FILES} files and folders"
    entries = listed.stdout.split(b"\0")[:-1]
    paths = [entry.partition(b"\t")[2] for entry in entries]
    if any(len(path) > LONGEST_PATH_BYTES or max(map(len, path.split(b"/"))) > LONGEST_NAME_BYTES for path in paths):
        return f"has names of more than {LONGEST_NAME_BYTES} bytes, or paths of more than {LONGEST_PATH_BYTES}"
    # Mode, type, name of the object, size; `-` for a folder.
    sizes = (entry.partition(b"\t")[0].split()[-1] for entry in entries)
    if sum(int(size) for size in sizes if size.isdigit()) > LARGEST_FILES_BYTES:
        return f"has files of more than {LARGEST_FILES_BYTES // 2**30} GiB"
    return None


async def refuse_bomb(git: Git, repo: Path, commit: str) -> None:
    """Refuse a commit whose files would fill everybody's disk.

    Args:
        git: Runs git.
        repo: A bare repo that has it.
        commit: The commit.

    Raises:
        ConflictError: It has too many files and folders, or they are too large.
    """
    problem = await too_much(git, repo, commit)
    if problem:
        raise ConflictError(
            f"Commit {commit[:10]} {problem}, which is too much to give everybody. Nothing is lost: take some away in "
            "the loop, commit, and promote again."
        )


async def refuse_large_commits(git: Git, repo: Path, *revisions: str) -> None:
    """Refuse commits of which no list can be made: neither git nor anybody's view of it bounds what a message may hold.

    Args:
        git: Runs git.
        repo: A bare repo that has them.
        revisions: Which commits, as `git rev-list` takes them.

    Raises:
        ConflictError: One is too large; names it.
    """
    doing = "look at the commits"
    listed = await git.run("rev-list", *revisions, folder=repo, doing=doing)
    sizes = await git.run(
        "cat-file", "--batch-check=%(objectname) %(objectsize)", folder=repo, stdin=listed.stdout, doing=doing
    )
    for commit, size_bytes in (line.split(b" ") for line in sizes.stdout.splitlines()):
        if int(size_bytes) > LARGEST_COMMIT_BYTES:
            raise ConflictError(
                f"Commit {commit[:10].decode()} is larger than {LARGEST_COMMIT_BYTES // 2**10} KiB, which nobody can "
                "be given. Nothing is lost: shorten its message in the loop, with `git commit --amend` or "
                "`git rebase --interactive`, and try again."
            )
