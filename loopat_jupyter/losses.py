"""What would be lost with a loop: work that is in it and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from jupyter_core.paths import jupyter_runtime_dir

from loopat_jupyter.context.unpromoted import find_unpromoted, touched
from loopat_jupyter.errors import ConflictError, LoopatError
from loopat_jupyter.repos.unsaved import find_unsaved, has_checkout
from loopat_jupyter.sandbox.trees import Known
from loopat_jupyter.workspace.files import read_untrusted
from loopat_jupyter.workspace.records import LoopStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.repos.unsaved import Unsaved
    from loopat_jupyter.sandbox.asking import Answered
    from loopat_jupyter.workspace.paths import Workspace

_NOTE_BYTES = 64 * 1024
"""A note of a server is hundreds of bytes long."""


async def unsaved_files(
    workspace: Workspace, record: LoopRecord, opened: Callable[[], Awaitable[Callable[..., Awaitable[Answered]]]]
) -> Unsaved | None:
    """What is in a loop's checkout and nowhere else; None where there is no checkout.

    Args:
        workspace: Where the loop is.
        record: The loop.
        opened: Starts its sandbox, where git looks, and answers with what runs commands in it.

    Raises:
        ConflictError: Git cannot tell, or the checkout that the loop was made with has no `.git` any more.
        EngineError: Podman refused.
    """
    if not has_checkout(workspace.workdir(record.id)):
        if record.branch is not None:
            raise ConflictError(
                "The loop was made with a checkout, and its .git is gone: nobody can tell what is unsaved in it. Bring "
                "it back, or force it (`--force`)."
            )
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
        ConflictError: Git cannot tell, or a running Jupyter server has its root folder in the loop.
        NotFoundError: Somebody deleted it meanwhile.
        EngineError: Podman refused.
    """
    await asyncio.to_thread(_refuse_served, workspace, record.id)
    try:
        files = await unsaved_files(workspace, record, opened)
        kinds = await asyncio.to_thread(touched, workspace, record)
        if kinds:
            # One that is just being deleted looks changed. Its record goes first.
            LoopStore(workspace).read(record.id)
        contexts = await find_unpromoted(await opened(), kinds) if kinds else {}
    except LoopatError:
        LoopStore(workspace).read(record.id)
        raise
    losses = ([str(files)] if files else []) + [f"{kind}: {what}" for kind, what in contexts.items()]
    return "; ".join(losses)


def _refuse_served(workspace: Workspace, loop_id: str) -> None:
    """Without its root folder a server shows nothing any more."""
    folder = os.path.realpath(workspace.loop(loop_id))
    for server in _servers():
        if Path(os.path.realpath(server.root_dir)).is_relative_to(folder):
            raise ConflictError(
                f"The Jupyter server at {server.url[:200]} has its root folder in this loop, and would show nothing "
                f"any more. End it first, with `jupyter server stop {server.port}`, or force it (`--force`)."
            )


class _Server(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at of a note, which says more."""

    pid: int
    root_dir: str = "/"
    url: str = ""
    port: int = 0


def _servers() -> list[_Server]:
    """Jupyter servers that run, by their own notes; to import Jupyter's function for it takes a second or two."""
    found = []
    for note in Path(jupyter_runtime_dir()).glob("jpserver-*.json"):
        # One that starts or ends just now has half a note, or none; what makes no sense is of no server.
        with contextlib.suppress(OSError, msgspec.DecodeError, RecursionError):
            server = msgspec.json.decode(read_untrusted(note, limit_bytes=_NOTE_BYTES), type=_Server)
            if "\0" not in server.root_dir and Known.of(server.pid).alive:
                found.append(server)
    return found
