"""Checkpoints of files, in a folder beside them that must not lead out of the loop either."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jupyter_server.services.contents.filecheckpoints import AsyncFileCheckpoints
from tornado import web

from loopat_jupyter.contents import pinned
from loopat_jupyter.contents.bounds import change_told, refuse_way_out
from loopat_jupyter.contents.changes import make_folder, move, remove

if TYPE_CHECKING:
    from loopat_jupyter.contents.managers import LoopContentsManager


class LoopCheckpoints(AsyncFileCheckpoints):
    """The stock ones, that follow no symlink out of a loop."""

    @property
    def _files(self) -> LoopContentsManager:
        return cast("LoopContentsManager", self.parent)

    def _beside(self, path: str) -> str:
        """The path of the host that a checkpoint goes by: outside all loops below the root that checkpoints have."""
        os_path = self._files._get_os_path(path)  # noqa: SLF001 - in loops one mapping for files and checkpoints
        return os_path if self._files.top_of(os_path) is not None else super()._get_os_path(path)  # type: ignore[no-untyped-call]

    def _get_os_path(self, path: str) -> str:
        os_path = self._beside(path)
        shown = f"{path}/{self.checkpoint_dir}".lstrip("/")
        refuse_way_out(self._files.workspace, os.path.join(os_path, self.checkpoint_dir), shown)  # noqa: PTH118
        return os_path

    async def _copy(self, src: str, dest: str) -> None:
        if self._files.top_of(src) is None and self._files.top_of(dest) is None:
            await super()._copy(src, dest)  # type: ignore[no-untyped-call]
            return
        with self._files.open(src, "rb") as source:
            if os.fstat(source.fileno()).st_size > pinned.LARGEST_READ_BYTES:
                raise web.HTTPError(413, f"{Path(src).name} is too large for a checkpoint. Copy it in a terminal.")
            with self._files.atomic_writing(dest, text=False) as target:
                await asyncio.to_thread(pinned.copy_content, source.fileno(), target.fileno())

    def checkpoint_path(self, checkpoint_id: str, path: str) -> str:
        """Where a checkpoint is. In a loop its folder need not be there.

        Raises:
            WayOutError: A symlink that was planted there leads out of the loop.
        """
        parent, _, name = path.strip("/").rpartition("/")
        folder = self._get_os_path(parent)
        if self._files.top_of(folder) is None:
            found: str = super().checkpoint_path(checkpoint_id, path)  # type: ignore[no-untyped-call]
            return found
        stem, extension = os.path.splitext(name)  # noqa: PTH122 - as stock
        found = str(Path(folder, self.checkpoint_dir, f"{stem}-{checkpoint_id}{extension}"))
        return refuse_way_out(self._files.workspace, found, path)

    def _told(self, path: str) -> contextlib.AbstractContextManager[None]:
        """What goes wrong with a file of a loop is told; outside all loops it is as stock."""
        in_loop = self._files.top_of(self._files._get_os_path(path)) is not None  # noqa: SLF001
        return change_told(path) if in_loop else contextlib.nullcontext()

    def _make_folder(self, checkpoint: str) -> None:
        folder = str(Path(checkpoint).parent)
        place = self._files.place(folder)
        if place is not None:
            with change_told(folder), contextlib.suppress(FileExistsError):
                make_folder(place)

    async def create_checkpoint(self, contents_mgr: LoopContentsManager, path: str) -> dict[str, Any]:
        """Keep a file as it is now.

        Raises:
            tornado.web.HTTPError: The loop is archived, or a symlink leads out of it (403), or it is too large (413),
                or as stock.
        """
        self._files.refuse_archived(path)
        self._make_folder(self.checkpoint_path("checkpoint", path))
        with self._told(path):
            made: dict[str, Any] = await super().create_checkpoint(contents_mgr, path)  # type: ignore[no-untyped-call]
        return made

    async def restore_checkpoint(self, contents_mgr: LoopContentsManager, checkpoint_id: str, path: str) -> None:
        """Make a file what it was.

        Raises:
            tornado.web.HTTPError: The loop is archived, or a symlink leads out of it (403), or as stock.
        """
        self._files.refuse_archived(path)
        with self._told(path):
            await super().restore_checkpoint(contents_mgr, checkpoint_id, path)  # type: ignore[no-untyped-call]

    async def rename_checkpoint(self, checkpoint_id: str, old_path: str, new_path: str) -> None:
        """Have a checkpoint go along with its file.

        Raises:
            tornado.web.HTTPError: A symlink leads out of the loop (403), or there is no such checkpoint (404).
        """
        old, new = (self.checkpoint_path(checkpoint_id, path) for path in (old_path, new_path))
        places = self._files.places(old, new)
        if places is None:
            await super().rename_checkpoint(checkpoint_id, old_path, new_path)  # type: ignore[no-untyped-call]
            return
        self._make_folder(new)
        with change_told(old):
            move(*places)

    async def delete_checkpoint(self, checkpoint_id: str, path: str) -> None:
        """Delete a checkpoint.

        Raises:
            tornado.web.HTTPError: The loop is archived, or a symlink leads out of it (403), or there is none (404).
        """
        self._files.refuse_archived(path)
        checkpoint = self.checkpoint_path(checkpoint_id, path)
        place = self._files.place(checkpoint)
        if place is None:
            await super().delete_checkpoint(checkpoint_id, path)  # type: ignore[no-untyped-call]
            return
        with change_told(checkpoint):
            remove(place)


class DriveCheckpoints(LoopCheckpoints):
    """Those of the drive: all in loops, whatever root the server's have."""

    def _beside(self, path: str) -> str:
        return self._files._get_os_path(path)  # noqa: SLF001
