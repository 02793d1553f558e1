from __future__ import annotations

import os
from pathlib import Path

import pytest

from loopat_jupyter.errors import GitError, StorageFullError
from loopat_jupyter.repos.git import Completed, Git, reason


@pytest.mark.fault("F13")
@pytest.mark.parametrize(
    "said", ["error: unable to write file f262", "fatal: failed to write new configuration file config.lock"]
)
async def test_a_file_that_git_could_not_write_is_told_as_a_full_disk_where_it_is_full(tmp_path: Path, said: str):
    script = tmp_path / "git"
    script.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 128\n")
    script.chmod(0o755)
    git = Git(os.environ, binary=str(script))
    # A file system without any space.
    with pytest.raises(StorageFullError):
        await git.run("switch", folder=Path("/proc"))
    for folder in (tmp_path, None):
        with pytest.raises(GitError, match="to write"):
            await git.run("switch", folder=folder)


def test_a_reason_is_the_same_each_time():
    said = "Failed to connect to 127.0.0.1 port 1 after {} ms: Couldn't connect to server"
    answers = [Completed(128, b"", f"fatal: unable to access 'http://x/': {said.format(ms)}\n") for ms in (0, 1204)]
    told = "unable to access 'http://x/': Failed to connect to 127.0.0.1 port 1: Couldn't connect to server."
    assert [reason(answer) for answer in answers] == [told, told]
