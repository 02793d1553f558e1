"""Commits of a loop, taken out of its sandbox as data: a bundle, which git on the host only reads objects from.

Whoever runs inside decides what the bundle holds, for the git inside is theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from loopat_jupyter.errors import ConflictError, GitError
from loopat_jupyter.repos.git import lines_of
from loopat_jupyter.workspace.files import full_disk_told
from loopat_jupyter.workspace.walking import remove_tree

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from loopat_jupyter.repos.git import Completed, Git
    from loopat_jupyter.sandbox.asking import Answered

LARGEST_BUNDLE_BYTES = 2 * 2**30
TAKE_MEMORY_BYTES = 1024**3
"""For git on the host, while it unpacks them."""

TAKE_TIMEOUT_S = 900.0

_TAKEN = "refs/heads/taken"
_LARGE = ("-c", "core.bigFileThreshold=16m")
"""A large file is never held in memory, however small it was packed; what is packed as a difference is."""


class Ask(Protocol):
    """Runs a command in a loop."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        on_stdout: Callable[[bytes], object] | None = None,
        timeout_s: float = ...,
    ) -> Awaitable[Answered]:
        """What came of it."""
        ...


class Inside(NamedTuple):
    """A checkout as its sandbox sees it.

    Attributes:
        ask: Runs commands in the sandbox.
        folder: The checkout, inside.
    """

    ask: Ask
    folder: str

    async def git(self, *arguments: str, ok: Sequence[int] = (0,)) -> Answered:
        """Run git in the checkout.

        Args:
            arguments: Everything after `git`.
            ok: Exit codes that count as success.

        Raises:
            GitError: It ended with another code.
        """
        return await self.run("git", *arguments, ok=ok, doing=arguments[0])

    async def run(self, *argv: str, ok: Sequence[int], doing: str) -> Answered:
        """Run a command in the checkout; it fails only where git does.

        Args:
            argv: The command.
            ok: Exit codes that count as success.
            doing: What this is for, completing "Git failed to …".

        Raises:
            GitError: It ended with another code.
        """
        answer = await self.ask(argv, cwd=self.folder)
        if answer.exit_code not in ok:
            raise GitError(f"Git inside the loop failed to {doing}: {answer.complaint[:300]}")
        return answer

    async def text(self, *arguments: str, ok: Sequence[int] = (0,)) -> str:
        """What git prints, without its last newline."""
        return (await self.git(*arguments, ok=ok)).stdout.decode("utf-8", "replace").strip()


async def has_commits(inside: Inside) -> bool:
    """Whether a checkout has committed anything since its origin.

    Args:
        inside: The checkout.

    Raises:
        GitError: Git inside refused.
    """
    # A branch without a first commit is no failure: HEAD is missing then.
    return await inside.text("rev-list", "--count", "--ignore-missing", "HEAD", "--not", "--remotes=origin") != "0"


async def take_commits(inside: Inside, git: Git, repo: Path, ref: str) -> str:
    """Bring what a checkout has committed since its origin into a bare repo of the host.

    Args:
        inside: The checkout; it has such commits.
        git: Runs git on the host.
        repo: The bare repo, which has what the checkout began from.
        ref: Where to keep the commits there.

    Returns:
        The checkout's newest commit.

    Raises:
        ConflictError: It is too large.
        GitError: Git inside or outside refused.
        StorageFullError: No space.
    """
    await asyncio.to_thread(_remove_abandoned, repo)
    box = repo / f".incoming-{os.urandom(8).hex()}"
    try:
        with full_disk_told(box):
            box.mkdir(mode=0o700)
            with (box / "bundle").open("xb") as file:
                await _receive(inside, file.write)
        await _unpack(git, repo, box)
        # Only what git finds no fault with gets into the repo, which sandboxes read and others check out.
        await git.run(
            "-c", "fetch.fsckObjects=true", *_LARGE,
            "fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--", str(box / "repo"), f"+{_TAKEN}:{ref}",
            folder=repo, timeout_s=TAKE_TIMEOUT_S, memory_bytes=TAKE_MEMORY_BYTES, doing="take the loop's commits",
        )  # fmt: skip
    finally:
        await asyncio.to_thread(remove_tree, box)
    return (await git.run("rev-parse", "--verify", ref, folder=repo)).text


async def _unpack(git: Git, repo: Path, box: Path) -> None:
    """Unpack a bundle into a repo of its own, which borrows what the other one has.

    `git fetch` does not do, for it takes what is no bundle for a note of where a repo is (`gitdir: …`), and goes there.
    """

    async def run(*arguments: str) -> Completed:
        return await git.run(
            *_LARGE, *arguments,
            folder=unpacked, timeout_s=TAKE_TIMEOUT_S, memory_bytes=TAKE_MEMORY_BYTES, doing="take the loop's commits",
        )  # fmt: skip

    unpacked = box / "repo"
    unpacked.mkdir()
    await run("init", "--quiet", "--bare", "--template=", ".")
    (unpacked / "objects" / "info" / "alternates").write_text(f"{repo / 'objects'}\n", encoding="utf-8")
    listed = await run("bundle", "unbundle", str(box / "bundle"))
    heads = [line.partition(" ")[0] for line in lines_of(listed.text) if line.endswith(" HEAD")]
    if len(heads) != 1:
        raise GitError("What git inside the loop packed has no newest commit. Nothing was taken.")
    # It refuses what is no commit.
    await run("update-ref", _TAKEN, heads[0])


def _remove_abandoned(repo: Path) -> None:
    """Remove what processes left that were killed while they took commits."""
    for left in repo.glob(".incoming-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > 2 * TAKE_TIMEOUT_S:
                remove_tree(left)


async def _receive(inside: Inside, write: Callable[[bytes], object]) -> None:
    size_bytes = 0

    def keep(piece: bytes) -> None:
        nonlocal size_bytes
        size_bytes += len(piece)
        if size_bytes > LARGEST_BUNDLE_BYTES:
            raise ConflictError(f"The loop's commits are larger than {LARGEST_BUNDLE_BYTES // 2**30} GiB.")
        write(piece)

    command = ("git", "bundle", "create", "--quiet", "-", "HEAD", "--not", "--remotes=origin")
    answer = await inside.ask(command, cwd=inside.folder, on_stdout=keep, timeout_s=TAKE_TIMEOUT_S)
    if answer.exit_code:
        said = answer.stderr.decode("utf-8", "replace").strip()
        raise GitError(f"Git inside the loop could not pack its commits: {said[-300:]}")
