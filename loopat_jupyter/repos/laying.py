"""Lays a checkout into a folder that nobody else sees yet; its objects stay in the mirror."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.repos.git import NO_SETTINGS, TRANSFER_TIMEOUT_S
from loopat_jupyter.workspace.paths import sandbox_mirror
from loopat_jupyter.workspace.walking import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.repos.git import Git
    from loopat_jupyter.repos.mirrors import Mirror


_PUSH = ("--config=push.autoSetupRemote=true", "--config=push.default=current")
"""`git push` without further words pushes the branch under its own name."""


async def lay(
    git: Git,
    mirror: Mirror,
    folder: Path,
    *,
    branch: str,
    commit: str | None,
    origin: str,
    follows: str = "",
    instead_of_push: str = "",
) -> None:
    """Check a commit out as a new branch.

    Until `borrow` is called, the checkout finds its objects where the host has them.

    Args:
        git: Runs git.
        mirror: Where the objects are.
        folder: An empty folder that no sandbox sees yet.
        branch: The new branch.
        commit: Where it begins; None leaves it unborn.
        origin: What `origin` is inside.
        follows: The branch of `origin` that `git pull` merges; empty for none.
        instead_of_push: What does what `git push` cannot do here, which says so then. Empty where it can.

    Raises:
        GitError: Git refused.
        StorageFullError: No space.
    """

    async def run(*arguments: str) -> None:
        await git.run(*arguments, folder=folder, timeout_s=TRANSFER_TIMEOUT_S, doing="check out", environ=NO_SETTINGS)

    options = ["--quiet", "--shared", "--no-checkout", "--template=", *_PUSH]
    if follows:
        upstream = (
            f"branch.{branch}.remote=origin",
            f"branch.{branch}.merge=refs/heads/{follows}",
            "pull.rebase=false",
        )
        options.extend(f"--config={setting}" for setting in upstream)
    if instead_of_push:
        options.append(f"--config=remote.origin.pushurl=loopat::{instead_of_push}")
    await run("clone", *options, "--", str(mirror.path), str(folder))
    await run("remote", "set-url", "origin", origin)
    if commit is None:
        await run("symbolic-ref", "HEAD", f"refs/heads/{branch}")
    else:
        await run("switch", "--quiet", "--no-track", "--create", branch, commit)


def borrow(mirror: Mirror, folder: Path) -> None:
    """From now on the checkout finds its objects where a sandbox sees them.

    Args:
        mirror: Where the objects are.
        folder: The checkout.
    """
    alternates = folder / ".git" / "objects" / "info" / "alternates"
    alternates.write_text(f"{sandbox_mirror(mirror.name)}/objects\n", encoding="utf-8")


def empty(folder: Path) -> None:
    """Remove what a failed checkout put into a folder.

    Args:
        folder: One that was empty before, and that no sandbox sees yet.
    """
    remove_tree(folder)
    folder.mkdir(exist_ok=True)
