"""One build per image across threads and processes; what is known of images without asking podman.

Images belong to the user and not to one workspace, and so do these files.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from loopat_jupyter.sandbox.state import StateFiles
from loopat_jupyter.workspace.files import full_disk_told, write_atomic
from loopat_jupyter.workspace.locks import file_lock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from loopat_jupyter.models import Progress
    from loopat_jupyter.workspace.paths import Workspace

BUILD_TIMEOUT_S = 3600.0
BUILD_FOLDERS = ("project-", "toolchain-")
"""How the names of folders begin that hold what an image is built from."""

_WAIT_TIMEOUT_S = 2 * BUILD_TIMEOUT_S
_WATCH_S = 0.2


@contextlib.asynccontextmanager
async def build_folder(workspace: Workspace, kind: Literal["project", "toolchain"]) -> AsyncIterator[Path]:
    """A folder for what an image is built from, beside the loops: it may be larger than what lies in memory may be.

    It is removed at the end; of a process that was killed, `disk.given_up_builds` finds it.

    Args:
        workspace: Where to make it.
        kind: What is built.

    Raises:
        StorageFullError: No space.
    """
    with full_disk_told(workspace.cache):
        workspace.cache.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=workspace.cache))
    try:
        yield folder
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def sole_builder(
    workspace: Workspace, tag: str, on_progress: Callable[[Progress], None]
) -> AsyncIterator[Callable[[Progress], None]]:
    """Hold the lock of a tag; while another process holds it, pass on that one's progress.

    Args:
        workspace: Whose runtime directory holds the locks.
        tag: The image.
        on_progress: Told about each step, whoever builds.

    Yields:
        Takes each step of the build, for this caller and for all who wait.

    Raises:
        EngineTimeoutError: Another process held it the whole time.
    """
    key = image_key(tag)
    notes = StateFiles(workspace.image_locks / key)
    watcher = asyncio.create_task(_watch(notes, on_progress))
    lock = file_lock(workspace.image_locks / f"{key}.lock", timeout_s=_WAIT_TIMEOUT_S, what=f"building the image {tag}")
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(lock)
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        share = stack.enter_context(notes.working())

        def report(progress: Progress) -> None:
            share(progress)
            on_progress(progress)

        yield report


async def _watch(notes: StateFiles, on_progress: Callable[[Progress], None]) -> None:
    seen: Progress | None = None
    while True:
        progress = notes.progress()
        if progress is not None and progress != seen:
            seen = progress
            on_progress(progress)
        await asyncio.sleep(_WATCH_S)


def image_key(tag: str) -> str:
    """A tag as a readable file name.

    Args:
        tag: Of an image.
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", tag.removeprefix("localhost/").removesuffix(":latest"))


def noted_id(workspace: Workspace, reference: str) -> str:
    """The id that a reference had when it was last made or looked for; empty when not known.

    Args:
        workspace: Whose runtime directory holds the notes.
        reference: The image as a loop names it.
    """
    return read_note(_id_note(workspace, reference))


def noted_image(workspace: Workspace, reference: str) -> str:
    """A reference and the image that it was last known to name: once somebody has built it, that is another one.

    Args:
        workspace: Whose runtime directory holds the notes.
        reference: The image as a loop names it.
    """
    return f"{reference} {noted_id(workspace, reference)}"


def note_id(workspace: Workspace, reference: str, image_id: str) -> None:
    """Note the id of a reference: what was made on another one is outdated.

    Args:
        workspace: Whose runtime directory holds the notes.
        reference: The image as a loop names it.
        image_id: What it is now.

    Raises:
        StorageFullError: No space.
    """
    if noted_id(workspace, reference) != image_id:
        write_atomic(_id_note(workspace, reference), image_id.encode("ascii"))


def _id_note(workspace: Workspace, reference: str) -> Path:
    return workspace.image_locks / f"{image_key(reference)}.id"


def read_note(path: Path) -> str:
    """What a note says; nothing when there is none.

    Args:
        path: A file that is written whole.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
