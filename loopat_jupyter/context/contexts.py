"""`Contexts`: everything about the contexts of one workspace, ready made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from loopat_jupyter.context.checkouts import ContextCheckouts
from loopat_jupyter.context.origins import Origins
from loopat_jupyter.context.promotion import Promoter
from loopat_jupyter.context.proposals import Proposals

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopat_jupyter.models import ContextKind, ContextRemote, LoopRecord
    from loopat_jupyter.repos.git import Access, Git
    from loopat_jupyter.repos.mirrors import Mirrors
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.records import LoopStore


class Remotes:
    """How a member reaches remotes.

    Args:
        member: The name.
        of_loop: With the vault of a loop.
        of_member: With the member's default vault.
    """

    def __init__(self, member: str, of_loop: Callable[[LoopRecord], Access], of_member: Callable[[], Access]) -> None:
        self.member = member
        self.of_loop = of_loop
        self.of_member = of_member


class Contexts:
    """The contexts of one workspace.

    Args:
        config: Its settings.
        store: Its loops.
        git: Runs git on the host.
        mirrors: Copies of remotes.
        remotes: How they are reached, and by whom.
    """

    def __init__(self, config: Config, store: LoopStore, git: Git, mirrors: Mirrors, remotes: Remotes) -> None:
        self._remotes = remotes
        self.origins = Origins(store.workspace, config, git, mirrors)
        self.checkouts = ContextCheckouts(store.workspace, self.origins, git, remotes.of_loop)
        self.promoter = Promoter(self.origins, git, remotes.of_loop)
        self.proposals = Proposals(self.origins, store, git, remotes.of_member, member=remotes.member)

    def remotes(self) -> tuple[ContextRemote, ...]:
        """Where each context is kept."""
        return self.origins.remotes(self._remotes.member)

    async def attach(self, kind: ContextKind, address: str) -> ContextRemote:
        """Give a context a remote; what the workspace has of it is pushed there.

        Args:
            kind: The context.
            address: Empty, or with the same history.

        Raises:
            BadInputError: The address is none.
            ConflictError: The remote stands in the configuration.
            GitError: The remote refused; nothing has changed.
        """
        await self.origins.attach(kind, self._remotes.member, address, self._remotes.of_member())
        return next(remote for remote in await asyncio.to_thread(self.remotes) if remote.kind == kind)
