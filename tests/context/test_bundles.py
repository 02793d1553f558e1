"""Commits of a loop, taken out of it. Real git; the loop is a folder here."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from loopat_jupyter.context.bundles import Inside, has_commits, take_commits
from loopat_jupyter.repos.git import Git
from loopat_jupyter.sandbox.asking import Answered
from tests.git_remotes import NOBODY, git

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.git_remotes import Remote


async def ask(
    argv: Sequence[str], *, cwd: str, on_stdout: Callable[[bytes], object] | None = None, timeout_s: float = 60
) -> Answered:
    """What a sandbox would answer."""
    ran = subprocess.run(
        argv, cwd=cwd, env={**os.environ, **NOBODY}, capture_output=True, timeout=timeout_s, check=False
    )
    if on_stdout:
        on_stdout(ran.stdout)
    return Answered(ran.returncode, ran.stdout, ran.stderr)


async def test_commits_are_taken_and_nothing_else_stays(remote: Remote, tmp_path: Path):
    checkout = tmp_path / "checkout"
    git(tmp_path, "clone", "--quiet", str(remote.path), str(checkout))
    inside, ours = Inside(ask, str(checkout)), Git(os.environ)
    assert not await has_commits(inside)
    git(checkout, "commit", "--quiet", "--allow-empty", "--message=Mine")
    assert await has_commits(inside)
    # A process that was killed left one; another one is at work.
    killed, at_work = remote.path / ".incoming-killed", remote.path / ".incoming-work"
    killed.touch()
    at_work.touch()
    os.utime(killed, (0, 0))
    commit = await take_commits(inside, ours, remote.path, "refs/loopat/loops/x")
    assert commit == git(checkout, "rev-parse", "HEAD") == git(remote.path, "rev-parse", "refs/loopat/loops/x")
    assert list(remote.path.glob(".incoming-*")) == [at_work]


async def test_a_checkout_without_a_first_commit_has_none(tmp_path: Path):
    git(tmp_path, "init", "--quiet", "checkout")
    assert not await has_commits(Inside(ask, str(tmp_path / "checkout")))
