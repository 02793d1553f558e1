from __future__ import annotations

import datetime
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.repos.git import Git
from loopat_jupyter.repos.identity import Identity
from loopat_jupyter.workspace.records import LoopStore, new_record

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

NAMES = [
    "Ada Lovelace",
    'Ada "Countess" \\o/',
    "# Ada; [user]",
    "Ada\n[core]\n\tfsmonitor = evil",
    " \tAda ",
    "Ådä 日本",
]


async def applied(workspace: Workspace, settings: Path) -> Path:
    record = new_record(title="a", created_by="ada", now=datetime.datetime.now(datetime.UTC))
    LoopStore(workspace).create(record)
    git = Git({**os.environ, "HOME": str(settings.parent)})
    assert await Identity(workspace, git).apply(None, record, lambda _: None) == record  # type: ignore[arg-type]
    return workspace.loop_home(record.id) / ".config" / "git" / "config"


def settings_of(file: Path) -> dict[str, str]:
    listed = subprocess.run(
        ["git", "config", "--file", str(file), "--null", "--list"], check=True, capture_output=True, text=True
    )
    return dict(entry.split("\n", 1) for entry in listed.stdout.split("\0") if entry)


@pytest.mark.parametrize("name", NAMES)
async def test_git_inside_reads_the_name_as_it_is(workspace: Workspace, tmp_path: Path, name: str):
    settings = tmp_path / ".gitconfig"
    subprocess.run(["git", "config", "--file", str(settings), "user.email", "first@example.org"], check=True)
    subprocess.run(["git", "config", "--file", str(settings), "--add", "user.email", "ada@example.org"], check=True)
    subprocess.run(["git", "config", "--file", str(settings), "user.name", name], check=True)
    file = await applied(workspace, settings)
    assert settings_of(file) == {"user.name": name, "user.email": "ada@example.org"}


async def test_who_has_no_settings_is_the_member(workspace: Workspace, tmp_path: Path):
    file = await applied(workspace, tmp_path / ".gitconfig")
    assert settings_of(file) == {"user.name": "ada", "user.email": "ada@localhost"}
