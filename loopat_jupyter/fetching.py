"""The repo of a loop that could not be reached when the loop was made."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.deadlines import in_thread
from loopat_jupyter.errors import BadInputError, ConflictError, GitError, GitUnavailableError
from loopat_jupyter.household import ignore
from loopat_jupyter.models import LoopEvent
from loopat_jupyter.starting import archived
from loopat_jupyter.workspace.files import failed_write_told, full_disk_told
from loopat_jupyter.workspace.walking import remove_tree

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from loopat_jupyter.errors import LoopatError
    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord, Progress


async def fetch_repo(
    manager: LoopManager, record: LoopRecord, *, on_progress: Callable[[Progress], None] = ignore
) -> LoopRecord:
    """Lay the files of its repo into a loop that has none of them yet. What is in the loop already stays.

    A sandbox that runs does not see the repo's history before it is recreated, as after a change of settings.

    Args:
        manager: The loops.
        record: The loop.
        on_progress: Told how far a transfer is.

    Raises:
        BadInputError: The repo has no such ref.
        ConflictError: The loop has no repo, or the repo's files, or others of the same names; or it is archived.
        GitError: The remote is out of reach.
        GitUnavailableError: There is no git.
        StorageFullError: No space.
        StorageRefusedError: The loop's folder may not be written.
    """
    _refuse(record)
    try:
        changed = await _fetch(manager, record, on_progress)
    except (BadInputError, ConflictError, GitError, GitUnavailableError) as error:
        await _note(manager, record, error)
        raise
    manager.on_event(LoopEvent(action="updated", loop_id=record.id))
    return changed


async def _note(manager: LoopManager, record: LoopRecord, error: LoopatError) -> None:
    """The loop says why it has no files now, not why it had none before."""
    async with manager.sandboxes.lock(record.id):
        now = manager.store.read(record.id)
        told = manager.cargo.checkout.without_files(now, error)
        if not now.repo_missing or now.archived or told == now:
            return
        manager.store.write(told)
    manager.on_event(LoopEvent(action="updated", loop_id=record.id))


async def _fetch(manager: LoopManager, record: LoopRecord, on_progress: Callable[[Progress], None]) -> LoopRecord:
    loop = manager.workspace.loop(record.id)
    with full_disk_told(loop):
        async with _folder_beside(loop) as folder:
            made = await manager.cargo.checkout.fill(folder, record, on_progress)
            async with manager.sandboxes.lock(record.id):
                now = manager.store.read(record.id)
                _refuse(now)
                changed = msgspec.structs.replace(
                    now,
                    origin=made.origin,
                    mirror=made.mirror,
                    branch=made.branch,
                    commit=made.commit,
                    warnings=made.warnings,
                )
                # Both or neither, also when this is called off.
                await in_thread(_take, manager, changed, folder)
                return changed


@contextlib.asynccontextmanager
async def _folder_beside(loop: Path) -> AsyncIterator[Path]:
    """A folder on the loop's file system that no sandbox sees: no git of the host runs where one can write."""
    with failed_write_told(loop):
        # What a killed process leaves is found by its name, see `sandbox.disk.half_made`.
        folder = Path(tempfile.mkdtemp(prefix=".repo.", suffix=".new", dir=loop))
    try:
        yield folder
    finally:
        await in_thread(remove_tree, folder)


def _refuse(record: LoopRecord) -> None:
    if record.archived:
        raise archived(record)
    if not record.repo_missing:
        has = "no repo" if record.repo is None else "the files of its repo already. `git pull` in the loop updates them"
        raise ConflictError(f"Loop {record.title!r} has {has}.")


def _take(manager: LoopManager, changed: LoopRecord, fetched: Path) -> None:
    _move(fetched, manager.workspace.workdir(changed.id))
    manager.store.write(changed)


def _move(fetched: Path, workdir: Path) -> None:
    names = sorted(entry.name for entry in fetched.iterdir())
    there = [name for name in names if os.path.lexists(workdir / name)]
    if there:
        raise ConflictError(
            f"The loop has files of the same names as the repo: {', '.join(there)[:200]}. Rename or delete them in the "
            "loop, then try again. Nothing was changed."
        )
    for name in names:
        (fetched / name).rename(workdir / name)
