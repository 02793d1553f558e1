"""A few objects that stand for any number of files."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.context import extent
from loopat_jupyter.context.extent import refuse_bomb
from loopat_jupyter.errors import ConflictError
from loopat_jupyter.repos.git import Git
from tests.git_remotes import NOBODY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.git_remotes import Remote


def fed(repo: Path, text: str, *arguments: str) -> str:
    """Run git with standard input; what it prints."""
    ran = subprocess.run(
        ["git", *arguments],
        cwd=repo,
        input=text,
        env={**os.environ, **NOBODY},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()


def bomb(repo: Path, *, levels: int, width: int) -> str:
    """A commit of `width` to the power of `levels` files, in as many objects as it has levels."""
    blob = fed(repo, "x", "hash-object", "-w", "--stdin")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        ["git", "mktree", "--batch"], cwd=repo, stdin=pipe, stdout=pipe, text=True, bufsize=1
    ) as making:
        assert making.stdin
        assert making.stdout

        def tree_of(lines: str) -> str:
            making.stdin.write(f"{lines}\n")
            return making.stdout.readline().strip()

        tree = tree_of(f"100644 blob {blob}\tx\n")
        for _ in range(levels):
            tree = tree_of("".join(f"040000 tree {tree}\t{number}\n" for number in range(width)))
        making.stdin.close()
    return fed(repo, "", "commit-tree", tree, "-m", "Bomb")


async def test_a_commit_that_people_make_is_fine(remote: Remote):
    await refuse_bomb(Git(os.environ), remote.path, "trunk")
    await refuse_bomb(Git(os.environ), remote.path, bomb(remote.path, levels=2, width=10))


@pytest.mark.parametrize(("levels", "width", "read_bytes"), [(10, 10, 2**20), (300, 2, extent._LISTING_BYTES)])
async def test_a_bomb_is_refused(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, levels: int, width: int, read_bytes: int
):
    """However much of it is read: git takes seconds to list what is flat and wide up to the real bound."""
    monkeypatch.setattr(extent, "_LISTING_BYTES", read_bytes)
    commit = bomb(remote.path, levels=levels, width=width)
    with pytest.raises(ConflictError, match="more than 100000 files and folders.*Nothing is lost"):
        await refuse_bomb(Git(os.environ), remote.path, commit)


async def test_so_are_files_that_are_too_large(remote: Remote, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extent, "LARGEST_FILES_BYTES", 3)
    with pytest.raises(ConflictError, match="too much to give everybody"):
        await refuse_bomb(Git(os.environ), remote.path, "trunk")


@pytest.mark.parametrize("name", ["n" * 256, "/".join(["n" * 250] * 13)])
async def test_so_are_names_that_no_file_system_takes(remote: Remote, name: str):
    blob = fed(remote.path, "x", "hash-object", "-w", "--stdin")
    first, *above = reversed(name.split("/"))
    tree = fed(remote.path, f"100644 blob {blob}\t{first}\n", "mktree")
    for part in above:
        tree = fed(remote.path, f"040000 tree {tree}\t{part}\n", "mktree")
    commit = fed(remote.path, "", "commit-tree", tree, "-m", "Names")
    with pytest.raises(ConflictError, match="has names of more than 255 bytes, or paths of more than 3000"):
        await refuse_bomb(Git(os.environ), remote.path, commit)
