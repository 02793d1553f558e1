"""Commits of a loop, taken out of its sandbox as data: a bundle, which git on the host only reads objects from.

Whoever runs inside decides what the bundle holds, for the git inside is theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from loopat_jupyter.context.extent import refuse_large_commits
from loopat_jupyter.errors import ConflictError, GitError
from loopat_jupyter.repos.git import lines_of
from loopat_jupyter.repos.mirrors import past_stale_locks
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

_UNMERGED, _NOTHING = 91, 92
"""Exit codes that git has no use for."""

_PACK = f"""
commit() {{ git "$@" commit --quiet --no-verify --message="$message"; }}
commit_all() {{
  unmerged=$(git ls-files --unmerged) || return
  [ -z "$unmerged" ] || return {_UNMERGED}
  git add --all || return
  git diff --cached --quiet
  case $? in 0) return 0 ;; 1) ;; *) return ;; esac
  # Nothing is guessed, and nothing more is asked where git knows who commits, as it does in every new loop.
  commit -c user.useConfigOnly=true && return
  if [ -n "$(git config user.email)" ]; then commit; else commit -c user.name="$1" -c user.email="$1@localhost"; fi
}}
if [ $# -gt 0 ]; then
  message=$2
  commit_all "$1" >&2 || exit
fi
# A branch without a first commit is no failure: HEAD is missing then.
count=$(git rev-list --count --ignore-missing HEAD --not --remotes=origin) || exit
[ "$count" != 0 ] || exit {_NOTHING}
exec git bundle create --quiet - HEAD --not --remotes=origin
"""
"""One script, for each command in a sandbox is a process more: commits what changed, where an author and a message are
given, and packs what its origin has not."""

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
        answer = await self.ask(("git", *arguments), cwd=self.folder)
        if answer.exit_code not in ok:
            raise GitError(f"Git inside the loop failed to {arguments[0]}: {answer.complaint[:300]}")
        return answer

    async def text(self, *arguments: str, ok: Sequence[int] = (0,)) -> str:
        """What git prints, without its last newline."""
        return (await self.git(*arguments, ok=ok)).stdout.decode("utf-8", "replace").strip()


async def take_commits(inside: Inside, git: Git, repo: Path, ref: str, *commit: str) -> str | None:
    """Bring what a checkout has committed since its origin into a bare repo of the host.

    Args:
        inside: The checkout.
        git: Runs git on the host.
        repo: The bare repo, which has what the checkout began from.
        ref: Where to keep the commits there.
        commit: To commit what changed first: who does, where git inside knows no name, and the message.

    Returns:
        The checkout's newest commit; None where it has none that its origin has not.

    Raises:
        ConflictError: It is in the middle of a merge, or it or a commit is too large.
        GitError: Git inside or outside refused.
        StorageFullError: No space.
    """
    await asyncio.to_thread(_remove_abandoned, repo)
    box = repo / f".incoming-{os.urandom(8).hex()}"
    try:
        with full_disk_told(box):
            box.mkdir(mode=0o700)
            with (box / "bundle").open("xb") as file:
                if not await _receive(inside, file.write, commit):
                    return None
        newest = await _unpack(git, repo, box)
        await refuse_large_commits(git, box / "repo", newest, "--not", "--alternate-refs")

        async def take() -> None:
            # Only what git finds no fault with gets into the repo, which sandboxes read and others check out.
            await git.run(
                "-c", "fetch.fsckObjects=true", *_LARGE,
                "fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--", str(box / "repo"), f"+{_TAKEN}:{ref}",
                folder=repo, timeout_s=TAKE_TIMEOUT_S, memory_bytes=TAKE_MEMORY_BYTES, doing="take the loop's commits",
            )  # fmt: skip

        await past_stale_locks(repo, take)
    finally:
        await asyncio.to_thread(remove_tree, box)
    return newest


async def _unpack(git: Git, repo: Path, box: Path) -> str:
    """Unpack a bundle into a repo of its own, which borrows what the other one has; its newest commit.

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
    return heads[0]


def _remove_abandoned(repo: Path) -> None:
    """Remove what processes left that were killed while they took commits."""
    for left in repo.glob(".incoming-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > 2 * TAKE_TIMEOUT_S:
                remove_tree(left)


async def _receive(inside: Inside, write: Callable[[bytes], object], commit: Sequence[str]) -> bool:
    """Have the loop pack its commits; whether it has any."""
    size_bytes = 0

    def keep(piece: bytes) -> None:
        nonlocal size_bytes
        size_bytes += len(piece)
        if size_bytes > LARGEST_BUNDLE_BYTES:
            raise ConflictError(f"The loop's commits are larger than {LARGEST_BUNDLE_BYTES // 2**30} GiB.")
        write(piece)

    command = ("sh", "-c", _PACK, "sh", *commit)
    answer = await inside.ask(command, cwd=inside.folder, on_stdout=keep, timeout_s=TAKE_TIMEOUT_S)
    if answer.exit_code == _UNMERGED:
        raise ConflictError(f"A merge in {inside.folder} is not finished. Fix the files, commit, then promote.")
    if answer.exit_code not in (0, _NOTHING):
        doing = "commit and pack its work" if commit else "pack its commits"
        raise GitError(f"Git inside the loop could not {doing}: {answer.complaint[:300]}")
    return answer.exit_code == 0
