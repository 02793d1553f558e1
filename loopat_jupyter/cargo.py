"""`Cargo`: what the loops of a workspace carry, ready made: repos, contexts, profiles, snapshots of other loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.context.contexts import Contexts, Remotes
from loopat_jupyter.distilling import Distillation
from loopat_jupyter.models import DEFAULT_VAULT
from loopat_jupyter.profiles import Composition
from loopat_jupyter.repos.checkout import Checkout
from loopat_jupyter.repos.git import Access
from loopat_jupyter.repos.identity import Identity
from loopat_jupyter.workspace.ssh_keys import known_hosts, ssh_keys
from loopat_jupyter.workspace.vault_keys import Keys
from loopat_jupyter.workspace.vaults import VaultStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopat_jupyter.creation import Step
    from loopat_jupyter.models import LoopRecord, Progress
    from loopat_jupyter.repos.git import Git
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.records import LoopStore


class Cargo:
    """What loops carry.

    Args:
        store: The loops.
        config: The workspace's settings.
        git: Runs git on the host.
        member: Who works here.
        plugins: Where the person keeps plugins of agents; None where there are none.

    Attributes:
        checkout: Repos.
        contexts: Knowledge, notes and personal files.
    """

    def __init__(self, store: LoopStore, config: Config, git: Git, *, member: str, plugins: Path | None = None) -> None:
        workspace = store.workspace
        self.checkout = Checkout(workspace, config, git, self.access)
        self._vaults = VaultStore(workspace, Keys(None))
        remotes = Remotes(member, self.access, lambda: self._reach(member, DEFAULT_VAULT))
        self.contexts = Contexts(config, store, git, self.checkout.mirrors, remotes)
        self._identity = Identity(workspace, git)
        self._composition = Composition(workspace, plugins)
        self._distillation = Distillation(workspace, store)

    @property
    def steps(self) -> tuple[Step, ...]:
        """What is laid into a new loop, in this order."""
        return (self._identity, self.checkout, self.contexts.checkouts, self._composition, self._distillation)

    def access(self, record: LoopRecord) -> Access:
        """How the remotes of a loop are reached.

        Args:
            record: The loop.
        """
        return self._reach(record.created_by, record.vault)

    def _reach(self, member: str, vault: str) -> Access:
        """With the keys of a vault; without any, with the person's own."""
        keys = ssh_keys(self._vaults, member, vault)
        return Access(keys, known_hosts(self._vaults.workspace)) if keys else Access()

    async def restore(self, record: LoopRecord, tell: Callable[[Progress], None]) -> None:
        """Have everything that the loop's sandbox mounts, as after the loop was copied from another workspace.

        Args:
            record: The loop.
            tell: Told about long work.
        """
        await self.checkout.restore(record, tell)
        await self.contexts.checkouts.restore(record)
