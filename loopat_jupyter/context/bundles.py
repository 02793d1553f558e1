"""Commits of a loop, taken out of its sandbox as data: a bundle, which git on the host only reads objects from."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from loopat_jupyter.errors import ConflictError, GitError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from loopat_jupyter.repos.git import Git
    from loopat_jupyter.sandbox.asking import Answered

LARGEST_BUNDLE_BYTES = 2 * 2**30
TAKE_MEMORY_BYTES = 1024**3
"""For git on the host, while it unpacks them."""

TAKE_TIMEOUT_S = 900.0


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
        answer = await self.ask(("git", *arguments), cwd=self.folder)
        if answer.exit_code not in ok:
            raise GitError(f"Git inside the loop failed to {arguments[0]}: {answer.complaint[:300]}")
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
    _remove_abandoned(repo)
    bundle = repo / f".incoming-{os.urandom(8).hex()}"
    try:
        with bundle.open("xb") as file:
            await _receive(inside, file.write)
        await git.run(
            # A large file is never held in memory, however small it was packed; what is packed as a difference is.
            "-c", "fetch.fsckObjects=true", "-c", "core.bigFileThreshold=16m",
            "fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--", str(bundle), f"+HEAD:{ref}",
            folder=repo, timeout_s=TAKE_TIMEOUT_S, memory_bytes=TAKE_MEMORY_BYTES, doing="take the loop's commits",
        )  # fmt: skip
    finally:
        bundle.unlink(missing_ok=True)
    return (await git.run("rev-parse", "--verify", ref, folder=repo)).text


def _remove_abandoned(repo: Path) -> None:
    """Remove what processes left that were killed while they took commits."""
    for left in repo.glob(".incoming-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > 2 * TAKE_TIMEOUT_S:
                left.unlink()


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
