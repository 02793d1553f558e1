"""What would be lost with a loop: work that is in it and nowhere else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from loopat_jupyter.context.unpromoted import find_unpromoted, touched
from loopat_jupyter.repos.unsaved import find_unsaved, has_checkout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.repos.unsaved import Unsaved
    from loopat_jupyter.sandbox.asking import Answered
    from loopat_jupyter.workspace.paths import Workspace


async def unsaved_files(
    workspace: Workspace, record: LoopRecord, opened: Callable[[], Awaitable[Callable[..., Awaitable[Answered]]]]
) -> Unsaved | None:
    """What is in a loop's checkout and nowhere else; None where there is no checkout.

    Args:
        workspace: Where the loop is.
        record: The loop.
        opened: Starts its sandbox, where git looks, and answers with what runs commands in it.

    Raises:
        ConflictError: Git cannot tell.
        EngineError: Podman refused.
    """
    if not has_checkout(workspace.workdir(record.id)):
        return None
    return await find_unsaved(await opened(), record.commit)


async def find_losses(
    workspace: Workspace, record: LoopRecord, opened: Callable[[], Awaitable[Callable[..., Awaitable[Answered]]]]
) -> str:
    """What would be lost with a loop, in words; nothing where nothing would be. See `unsaved_files`.

    Args:
        workspace: Where the loop is.
        record: The loop.
        opened: Starts its sandbox.

    Raises:
        ConflictError: Git cannot tell.
        EngineError: Podman refused.
    """
    files = await unsaved_files(workspace, record, opened)
    kinds = await asyncio.to_thread(touched, workspace, record)
    contexts = await find_unpromoted(await opened(), kinds) if kinds else {}
    losses = ([str(files)] if files else []) + [f"{kind}: {what}" for kind, what in contexts.items()]
    return "; ".join(losses)
