"""Commits of a loop, taken out of it. Real git; the loop is a folder here."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.context.bundles import Inside, take_commits
from loopat_jupyter.context.extent import LARGEST_COMMIT_BYTES
from loopat_jupyter.errors import ConflictError, GitError
from loopat_jupyter.repos.git import Git
from loopat_jupyter.sandbox.asking import Answered
from tests.context.test_extent import fed
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
    assert await take_commits(inside, ours, remote.path, "refs/loopat/loops/x") is None
    git(checkout, "commit", "--quiet", "--allow-empty", "--message=Mine")
    # A process that was killed left one; another one is at work.
    killed, at_work = remote.path / ".incoming-killed", remote.path / ".incoming-work"
    killed.mkdir()
    (killed / "bundle").touch()
    at_work.mkdir()
    os.utime(killed, (0, 0))
    commit = await take_commits(inside, ours, remote.path, "refs/loopat/loops/x")
    assert commit == git(checkout, "rev-parse", "HEAD") == git(remote.path, "rev-parse", "refs/loopat/loops/x")
    assert list(remote.path.glob(".incoming-*")) == [at_work]


async def test_a_checkout_without_a_first_commit_has_none(empty: Remote, tmp_path: Path):
    git(tmp_path, "init", "--quiet", "checkout")
    assert await take_commits(Inside(ask, str(tmp_path / "checkout")), Git(os.environ), empty.path, "refs/x") is None


async def test_what_is_in_the_middle_of_a_merge_is_not_committed(remote: Remote, tmp_path: Path):
    checkout = tmp_path / "checkout"
    git(tmp_path, "clone", "--quiet", str(remote.path), str(checkout))
    git(checkout, "switch", "--quiet", "--create", "other", "v1")
    (checkout / "a.txt").write_text("mine\n")
    git(checkout, "commit", "--quiet", "--all", "--message=Mine")
    subprocess.run(
        ["git", "merge", "trunk"], cwd=checkout, env={**os.environ, **NOBODY}, capture_output=True, check=False
    )
    with pytest.raises(ConflictError, match="is not finished"):
        await take_commits(Inside(ask, str(checkout)), Git(os.environ), remote.path, "refs/x", "ada", "All")
    assert git(checkout, "log", "-1", "--format=%s") == "Mine"


def says(data: bytes) -> Inside:
    """A loop in which git is somebody else's program."""

    async def lie(argv: Sequence[str], *, on_stdout: Callable[[bytes], object], **_: object) -> Answered:
        on_stdout(data)
        return Answered(0, b"", b"")

    return Inside(lie, "/nowhere")


@pytest.mark.abuse("A11")
async def test_a_loop_does_not_send_git_to_another_repo_of_the_host(remote: Remote, empty: Remote, tmp_path: Path):
    secret = empty.commit("secret.txt", "canary\n")
    planted = f"gitdir: {empty.path}\n".encode()
    (tmp_path / "bundle").write_bytes(planted)
    git(tmp_path, "clone", "--quiet", "--bare", str(remote.path), "naive.git")
    git(tmp_path / "naive.git", "fetch", "--quiet", str(tmp_path / "bundle"), "+HEAD:refs/taken")
    assert git(tmp_path / "naive.git", "rev-parse", "refs/taken") == secret, "git follows the note"
    for data in (planted, b"", b"nonsense", b"# v2 git bundle\n", b"# v2 git bundle\n" + b"1" * 40 + b" HEAD\n\nPACK"):
        with pytest.raises(GitError):
            await take_commits(says(data), Git(os.environ), remote.path, "refs/taken")
    assert list(remote.path.glob(".incoming-*")) == []
    ran = subprocess.run(["git", "cat-file", "-e", secret], cwd=remote.path, capture_output=True, check=False)
    assert ran.returncode


def planted(checkout: Path, what: str) -> str:
    """Make an object that no git of good faith makes; its name."""
    blob = fed(checkout, "x", "hash-object", "-w", "--stdin")
    inner = fed(checkout, f"100644 blob {blob}\tconfig\n", "mktree")
    entries = {".git": f"40000 .git\0{inner}", "..": f"40000 ..\0{inner}", "a/../../b": f"100644 a/../../b\0{blob}"}
    if what in entries:
        head, _, name = entries[what].partition("\0")
        data = head.encode() + b"\0" + bytes.fromhex(name)
        made = subprocess.run(
            ["git", "hash-object", "-t", "tree", "-w", "--stdin", "--literally"],
            cwd=checkout, input=data, capture_output=True, check=True,
        )  # fmt: skip
        tree = made.stdout.decode().strip()
    elif what == "option":
        modules = fed(
            checkout, '[submodule "x"]\n\tpath = x\n\turl = --upload-pack=evil\n', "hash-object", "-w", "--stdin"
        )
        tree = fed(
            checkout, f"100644 blob {modules}\t.gitmodules\n160000 commit {'1' * 40}\tx\n", "mktree", "--missing"
        )
    else:
        tree = inner
    if what == "tree":
        return tree
    commit = fed(checkout, "", "commit-tree", tree, "-p", "HEAD", "-m", "Planted")
    return (
        fed(checkout, f"object {commit}\ntype commit\ntag t\ntagger a <a> 1 +0000\n\nt\n", "mktag")
        if what == "tag"
        else commit
    )


@pytest.mark.parametrize("what", [".git", "..", "a/../../b", "option", "tag", "tree"])
async def test_what_would_harm_who_checks_it_out_is_not_taken(remote: Remote, tmp_path: Path, what: str):
    checkout = tmp_path / "checkout"
    git(tmp_path, "clone", "--quiet", str(remote.path), str(checkout))
    name = planted(checkout, what)
    git(checkout, "update-ref", "refs/x", name)
    packed = subprocess.run(
        ["git", "bundle", "create", "-", "refs/x", "--not", "--remotes=origin"],
        cwd=checkout, capture_output=True, check=True,
    )  # fmt: skip
    with pytest.raises(GitError):
        await take_commits(
            says(packed.stdout.replace(b" refs/x\n", b" HEAD\n")), Git(os.environ), remote.path, "refs/taken"
        )
    # Nor is it kept where sandboxes read.
    assert subprocess.run(["git", "cat-file", "-e", name], cwd=remote.path, capture_output=True, check=False).returncode


async def test_a_commit_that_is_too_large_is_not_taken(remote: Remote, tmp_path: Path):
    """Nor one behind another; of what the remote has already, nothing is said."""
    message = tmp_path / "message"
    message.write_text("m" * LARGEST_COMMIT_BYTES)
    large = ("commit", "--quiet", "--allow-empty", f"--file={message}")
    git(remote.elsewhere, *large)
    git(remote.elsewhere, "push", "--quiet", "origin", "HEAD")
    checkout = tmp_path / "checkout"
    git(tmp_path, "clone", "--quiet", str(remote.path), str(checkout))
    git(checkout, "commit", "--quiet", "--allow-empty", "--message=Mine")
    inside, ours = Inside(ask, str(checkout)), Git(os.environ)
    assert await take_commits(inside, ours, remote.path, "refs/x")
    git(checkout, *large)
    commit = git(checkout, "rev-parse", "HEAD")
    git(checkout, "commit", "--quiet", "--allow-empty", "--message=On top")
    with pytest.raises(ConflictError, match=rf"Commit {commit[:10]} is larger than 256 KiB.*`git rebase"):
        await take_commits(inside, ours, remote.path, "refs/taken")
    # Nor is it kept where sandboxes read.
    ran = subprocess.run(["git", "cat-file", "-e", commit], cwd=remote.path, capture_output=True, check=False)
    assert ran.returncode
