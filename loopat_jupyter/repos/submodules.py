"""Submodules of a new loop. Whoever can push to the repo says where they are, and git on the host would go there.

So the host goes only where it went for the repo itself, and with nothing that the loop does not have: over https or
ssh, to the same host, with the keys of the loop's vault and none of the person's own. The rest is left to the loop.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from loopat_jupyter.errors import GitError, plain
from loopat_jupyter.models import Progress
from loopat_jupyter.repos.addresses import host, shown
from loopat_jupyter.repos.git import NO_SETTINGS, TRANSFER_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopat_jupyter.repos.git import Access, Git

MOST_LEVELS = 8
"""Submodules of submodules that the host still fetches."""

MOST_SUBMODULES = 200
"""In all of them together: a repo that names itself several times would have no end."""

_NAMED = 3
_AGAIN = "To fetch what is missing, run `git submodule update --init --recursive` in the loop."

_NOTHING_OF_THE_PERSON = {**NO_SETTINGS, "HOME": os.devnull}
"""Neither credential helpers nor `.netrc`, nor anything that would rewrite an address that was looked at."""


class Submodules:
    """Fetches the submodules of one repo into checkouts that nobody else sees yet.

    Args:
        git: Runs git.
        address: Where the repo comes from.
        access: How the remotes of the loop's vault are reached.
    """

    def __init__(self, git: Git, address: str, access: Access) -> None:
        self._git = git
        self._address = address
        self._access = access
        self._refused: list[str] = []
        self._seen = 0

    async def fetch(self, workdir: Path, tell: Callable[[Progress], None]) -> list[str]:
        """Fetch them.

        Args:
            workdir: The checkout.
            tell: Told that it takes a while.

        Returns:
            What was left out, as a warning; nothing where all are there.
        """
        if not await asyncio.to_thread(os.path.lexists, workdir / ".gitmodules"):
            return []
        tell(Progress(label="submodules"))
        try:
            await self._fetch(workdir, 0)
        except GitError as error:
            return [f"{error.message} {_AGAIN}"]
        if not self._refused:
            return []
        more = len(self._refused) - _NAMED
        named = ", ".join(self._refused[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        warning = (
            f"Submodules are missing: {named}. Only those on the host of the repo itself are fetched, over https or "
            f"ssh, with the keys of the loop's vault. {_AGAIN}"
        )
        return [warning]

    async def _fetch(self, folder: Path, level: int) -> None:
        await self._run(folder, "submodule", "--quiet", "init")
        # Addresses as git is going to use them, those that were relative made whole.
        listed = await self._run(folder, "config", "--null", "--get-regexp", r"^submodule\..*\.url$", ok=(0, 1))
        for entry in filter(None, listed.split("\0")):
            key, _, url = entry.partition("\n")
            with_keys = bool(self._access.identity_files)
            self._seen += 1
            deep = level >= MOST_LEVELS or self._seen > MOST_SUBMODULES
            if deep or not may_fetch(url, self._address, with_keys=with_keys):
                self._refused.append(plain(shown(url)[:200], kept=""))
                await self._run(folder, "config", "--remove-section", key.removesuffix(".url"))
        await self._run(folder, "submodule", "--quiet", "update", "--jobs=4")
        staged = await self._run(folder, "ls-files", "--stage", "-z")
        inner = (folder / entry.partition("\t")[2] for entry in staged.split("\0") if entry.startswith("160000 "))
        for checkout in await asyncio.to_thread(lambda: [path for path in inner if _has_submodules(path)]):
            await self._fetch(checkout, level + 1)

    async def _run(self, folder: Path, *arguments: str, ok: tuple[int, ...] = (0,)) -> str:
        # The host of the repo must not send git on to another one.
        answer = await self._git.run(
            "-c", "http.followRedirects=false", *arguments,
            folder=folder, ok=ok, timeout_s=TRANSFER_TIMEOUT_S, doing="fetch the submodules",
            access=self._access, environ=_NOTHING_OF_THE_PERSON,
        )  # fmt: skip
        return answer.text


def _has_submodules(checkout: Path) -> bool:
    return os.path.lexists(checkout / ".git") and os.path.lexists(checkout / ".gitmodules")


def may_fetch(url: str, address: str, *, with_keys: bool) -> bool:
    """Whether the host fetches a submodule.

    Args:
        url: What the repo names.
        address: Where the repo itself comes from.
        with_keys: Whether the loop's vault has keys for ssh; those of the person are not used.
    """
    there = host(url)
    over_ssh = not url.startswith("https://")
    return there is not None and there == host(address) and (with_keys or not over_ssh)
