"""`Listing`: loops as they are shown, page by page."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

from loopat_jupyter.errors import BadInputError, NotFoundError
from loopat_jupyter.models import Loop, LoopPage
from loopat_jupyter.workspace.order import Order
from loopat_jupyter.workspace.records import folder_name
from loopat_jupyter.workspace.vaults import no_vault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loopat_jupyter.models import ContainerFacts, LoopRecord, Status
    from loopat_jupyter.sandbox.glance import Glance
    from loopat_jupyter.sandbox.host import Advice
    from loopat_jupyter.sandbox.lifecycle import Sandboxes
    from loopat_jupyter.workspace.paths import Workspace
    from loopat_jupyter.workspace.records import LoopStore

DEFAULT_PAGE = 50
LARGEST_PAGE = 500


class Listing:
    """Shows the loops of a workspace.

    Args:
        workspace: Where they are.
        store: Their records.
        sandboxes: Their containers.
        glance: What podman says of all of them.
        advice: Says what a person should know of a loop.
    """

    def __init__(
        self,
        workspace: Workspace,
        store: LoopStore,
        sandboxes: Sandboxes,
        glance: Glance,
        advice: Advice,
    ) -> None:
        self._advice = advice
        self._workspace = workspace
        self._store = store
        self._order = Order(store)
        self._sandboxes = sandboxes
        self._glance = glance

    async def page(self, *, limit: int, after: str | None, archived: bool) -> LoopPage:
        """One page of loops, newest activity first.

        Args:
            limit: How many at most.
            after: `next` of the page before.
            archived: Show the archived ones in place of the others.

        Raises:
            BadInputError: `limit` is out of range, or `after` names no loop.
            EngineError: Podman could not say what runs.
        """
        if not 1 <= limit <= LARGEST_PAGE:
            raise BadInputError("limit", f"must be between 1 and {LARGEST_PAGE}")
        if after is None and not self._store.any():
            # A person who has no podman yet, and no loop, is not told about podman.
            return LoopPage(loops=())
        containers, found = await asyncio.gather(
            self._glance.containers(), asyncio.to_thread(self._choose, limit + 1, after, archived=archived)
        )
        shown = found[:limit]
        containers = await self._sandboxes.corrected(containers, [record.id for record in shown])
        warnings = await asyncio.to_thread(self._warnings, shown)
        return LoopPage(
            loops=tuple(self._describe_all(shown, containers, warnings)),
            next=shown[-1].id if len(found) > limit else None,
        )

    def _choose(self, count: int, after: str | None, *, archived: bool) -> list[LoopRecord]:
        return list(itertools.islice(self._order.records(after=after, archived=archived), count))

    def _warnings(self, records: list[LoopRecord]) -> dict[tuple[str, str], tuple[str, ...]]:
        """What to know of each vault; most loops have the same one, which need be looked at once only."""
        vaults = {(record.created_by, record.vault): record for record in records}
        return {vault: self._sandboxes.extras.warnings(record) for vault, record in vaults.items()}

    def _describe_all(
        self,
        records: list[LoopRecord],
        containers: Mapping[str, ContainerFacts],
        warnings: dict[tuple[str, str], tuple[str, ...]],
    ) -> Iterator[Loop]:
        shown = {record.id: containers[record.id] for record in records if record.id in containers}
        used = self._sandboxes.in_use(shown)
        for record in records:
            # Podman took its time: a loop may have been deleted meanwhile.
            with contextlib.suppress(NotFoundError):
                status = self._sandboxes.judge(record, shown.get(record.id), None, used.get(record.id))
                yield self._describe(record, status, warnings[record.created_by, record.vault])

    def describe(self, record: LoopRecord, status: Status) -> Loop:
        """A loop as it is shown. May wait for a keyring, so it is not for the event loop.

        Args:
            record: The loop.
            status: Its sandbox.

        Raises:
            NotFoundError: It was deleted meanwhile.
        """
        return self._describe(record, status, self._sandboxes.extras.warnings(record))

    def _describe(self, record: LoopRecord, status: Status, warnings: tuple[str, ...]) -> Loop:
        return Loop(
            id=record.id,
            title=record.title,
            slug=record.slug,
            created_at=record.created_at,
            created_by=record.created_by,
            archived=record.archived,
            state=status.state,
            restart_needed=status.restart_needed,
            build_failed=status.build_failed,
            repo_missing=record.repo_missing,
            vault_missing=no_vault(record.vault).message in warnings,
            progress=status.progress,
            warnings=(*record.warnings, *self._advice(record), *status.warnings, *warnings),
            in_use=status.in_use,
            workdir=self._workspace.workdir(record.id),
            folder=folder_name(record),
            repo=record.repo,
            ref=record.ref,
            branch=record.branch,
            commit=record.commit,
            contexts=record.contexts,
            profiles=record.profiles,
            vault=record.vault,
            image=record.image,
            config=record.config,
            isolation=self._advice.isolation(record),
            share=record.share,
            metadata=record.metadata,
            last_activity=self._store.last_activity(record.id),
        )
