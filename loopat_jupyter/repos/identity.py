"""`Identity`: the step of a new loop that says who commits in it, so that git inside need not ask.

It is the lowest setting there: a vault's `.gitconfig`, and what somebody sets inside, win.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from loopat_jupyter.errors import GitError, GitUnavailableError, UnsafePathError
from loopat_jupyter.workspace.nofollow import make_folders

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopat_jupyter.models import LoopRecord, NewLoop, Progress
    from loopat_jupyter.repos.git import Git
    from loopat_jupyter.workspace.paths import Workspace


class Identity:
    """Names the committer in new loops.

    Args:
        workspace: Where the loops are.
        git: Runs git on the host, whose settings say who the person is.
    """

    def __init__(self, workspace: Workspace, git: Git) -> None:
        self._workspace = workspace
        self._git = git

    def check(self, new: NewLoop) -> None:
        """Nothing can be wrong."""

    async def apply(self, new: NewLoop, record: LoopRecord, tell: Callable[[Progress], None]) -> LoopRecord:
        """Write the loop's `.gitconfig`, unless the skeleton of homes brought one."""
        del new, tell
        home = self._workspace.loop_home(record.id)
        file = home / ".config" / "git" / "config"
        if any(map(os.path.lexists, (file, home / ".gitconfig"))):
            return record
        try:
            settings = await self._settings()
        except (GitError, GitUnavailableError):
            # Nobody needs it who has no git.
            return record
        name = settings.get("user.name") or record.created_by
        email = settings.get("user.email") or f"{record.created_by}@localhost"
        try:
            make_folders(home, ".config", "git")
        except UnsafePathError:
            # The skeleton has something else there; a link in it leads out of the loop.
            return record
        file.write_text(f"[user]\n\tname = {_quoted(name)}\n\temail = {_quoted(email)}\n", encoding="utf-8")
        return record

    async def _settings(self) -> dict[str, str]:
        """What the person's own settings say of them; the last word on each counts."""
        said = await self._git.run("config", "--global", "--null", "--get-regexp", r"^user\.(name|email)$", ok=(0, 1))
        lines = (entry.partition("\n") for entry in said.text.split("\0"))
        return {key: value for key, _, value in lines}


def _quoted(value: str) -> str:
    """A value as git's files of settings have it: see "Syntax" in git-config(1)."""
    for character, written in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        value = value.replace(character, written)
    return f'"{value}"'
