"""The contents managers: of the server's own root folder, and of the drive of loops.

Both are the stock one for files, with one check more: a symlink that leads out of a loop's workdir is refused, since
what runs in the loop may have planted it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import errno
import itertools
import os
import shutil
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from jupyter_server.base.handlers import AuthenticatedFileHandler
from jupyter_server.services.contents.filecheckpoints import AsyncFileCheckpoints
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado import web
from traitlets import Instance, default

from loopat_jupyter.contents.drive import Drive
from loopat_jupyter.contents.pinned import opened, replaced
from loopat_jupyter.errors import BadInputError, LoopatError, UnsafePathError
from loopat_jupyter.loops import environment
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.records import LoopStore, folder_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.models import LoopRecord

MOST_FOLDERS = 500
"""How many loops the root of the drive lists, newest activity first; the panel finds the others."""


class WayOutError(web.HTTPError, OSError):
    """A symlink leads out of the loop that it lies in.

    Stock listings leave out what cannot be followed (ELOOP); asked for by itself it is forbidden.
    """

    def __init__(self, path: str) -> None:
        web.HTTPError.__init__(self, 403, f"{path} leads out of its loop through a symbolic link.")
        self.errno = errno.ELOOP


def refuse_way_out(workspace: Workspace | None, os_path: str, shown: str) -> str:
    """A path of the host, unless it enters a loop as it is written and does not end in it.

    Args:
        workspace: Where the loops are; None where there are none.
        os_path: The absolute path.
        shown: How to name it in the error.

    Raises:
        WayOutError: A symlink leads out.
    """
    if workspace is not None and workspace.loop_left(Path(os_path)) is not None:
        raise WayOutError(shown)
    return os_path


@contextlib.contextmanager
def way_out_told(os_path: str) -> Iterator[None]:
    """Answer 403 where something on the way is no part of the loop.

    Raises:
        WayOutError: It leads out of the loop, or is no plain file.
    """
    try:
        yield
    except UnsafePathError:
        raise WayOutError(Path(os_path).name) from None


class LoopCheckpoints(AsyncFileCheckpoints):
    """Stock checkpoints beside the file, in a folder that must not lead out of the loop either."""

    @property
    def _files(self) -> LoopContentsManager:
        return cast("LoopContentsManager", self.parent)

    def _get_os_path(self, path: str) -> str:
        os_path = self._files._get_os_path(path)  # noqa: SLF001 - one mapping for files and checkpoints
        shown = f"{path}/{self.checkpoint_dir}".lstrip("/")
        refuse_way_out(self._files.workspace, os.path.join(os_path, self.checkpoint_dir), shown)  # noqa: PTH118
        return os_path

    async def _copy(self, src: str, dest: str) -> None:
        if self._files.top_of(src) is None and self._files.top_of(dest) is None:
            await super()._copy(src, dest)  # type: ignore[no-untyped-call]
            return
        with self._files.open(src, "rb") as source, self._files.atomic_writing(dest, text=False) as target:
            await asyncio.to_thread(shutil.copyfileobj, source, target)
            times = os.fstat(source.fileno())
            os.utime(target.fileno(), ns=(times.st_atime_ns, times.st_mtime_ns))

    def checkpoint_path(self, checkpoint_id: str, path: str) -> str:
        """Where a checkpoint is.

        Raises:
            WayOutError: A symlink that was planted there leads out of the loop.
        """
        found: str = super().checkpoint_path(checkpoint_id, path)  # type: ignore[no-untyped-call]
        return refuse_way_out(self._files.workspace, found, path)


class LoopFileHandler(AuthenticatedFileHandler):
    """`/files/…` of the server's root folder."""

    def validate_absolute_path(self, root: str, absolute_path: str) -> str:
        """As stock, and in no loop that a symlink leads out of.

        Raises:
            WayOutError: One does.
        """
        manager = cast("LoopContentsManager", self.contents_manager)
        refuse_way_out(manager.workspace, absolute_path, Path(absolute_path).name)
        return super().validate_absolute_path(root, absolute_path)


class LoopContentsManager(AsyncLargeFileManager):
    """Files of the server's root folder: the stock manager, that follows no symlink out of a loop."""

    workspace = Instance(Workspace, allow_none=True)

    @default("workspace")
    def _default_workspace(self) -> Workspace | None:
        try:
            return Workspace.from_environment(environment())
        except BadInputError as error:
            self.log.warning("%s Until then there are no loops.", error.message)
            return None

    @default("checkpoints_class")
    def _checkpoints_class_default(self) -> type[LoopCheckpoints]:
        return LoopCheckpoints

    @default("files_handler_class")
    def _files_handler_class_default(self) -> type[LoopFileHandler]:
        return LoopFileHandler

    def _get_os_path(self, path: str) -> str:
        return refuse_way_out(self.workspace, super()._get_os_path(path), path)  # type: ignore[no-untyped-call]

    def top_of(self, os_path: str) -> Path | None:
        """The workdir of the loop that a path of the host enters; None outside all loops."""
        if self.workspace is None:
            return None
        loop_id = self.workspace.loop_entered(Path(os_path))
        return None if loop_id is None else Path(os.path.realpath(self.workspace.workdir(loop_id)))

    @contextlib.contextmanager
    def open(self, os_path: str, mode: str = "r", **options: Any) -> Iterator[IO[Any]]:  # noqa: ANN401
        """As stock, and in a loop nothing that was swapped for a link since it was looked at."""
        top = self.top_of(os_path)
        if top is None:
            with super().open(os_path, mode, **options) as file:
                yield file
            return
        with self.perm_to_403(os_path), way_out_told(os_path), opened(top, os_path, mode, **options) as file:
            yield file

    @contextlib.contextmanager
    def atomic_writing(
        self,
        os_path: str,
        *,
        text: bool = True,
        encoding: str | None = "utf-8",
        **options: Any,  # noqa: ANN401
    ) -> Iterator[IO[Any]]:
        """As stock, and in a loop nothing that was swapped for a link since it was looked at."""
        top = self.top_of(os_path)
        if top is None:
            with super().atomic_writing(os_path, text=text, encoding=encoding, **options) as file:
                yield file
            return
        if text:
            options = {"newline": "\n", **options, "encoding": encoding}
        with self.perm_to_403(os_path), way_out_told(os_path), replaced(top, os_path, text=text, **options) as file:
            yield file

    async def _save_large_file(self, os_path: str, content: str, format: str) -> None:  # noqa: A002 - the stock signature
        top = self.top_of(os_path)
        if top is None:
            await super()._save_large_file(os_path, content, format)  # type: ignore[no-untyped-call]
            return
        if format not in {"text", "base64"}:
            raise web.HTTPError(400, "Must specify format of file contents as 'text' or 'base64'")
        try:
            data = content.encode() if format == "text" else base64.b64decode(content)
        except ValueError as error:
            raise web.HTTPError(400, f"Encoding error saving {Path(os_path).name}: {error}") from error
        with self.open(os_path, "ab") as file:
            await asyncio.to_thread(file.write, data)

    def _refuse_archived(self, *paths: str) -> None:
        """Refuse to change a file of an archived loop.

        Raises:
            tornado.web.HTTPError: It is one (403).
        """
        for path in paths if self.workspace is not None else ():
            record = loop_record(self.workspace, Path(self._get_os_path(path.strip("/"))))
            if record is not None and record.archived:
                raise web.HTTPError(403, f"Loop {record.title!r} is archived. Unarchive it to change its files.")

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Write a file or make a folder.

        Raises:
            tornado.web.HTTPError: The loop is archived (403), or as stock.
        """
        self._refuse_archived(path)
        saved: dict[str, Any] = await super().save(model, path)  # type: ignore[no-untyped-call]
        return saved

    async def delete_file(self, path: str) -> None:
        """Delete a file or folder.

        Raises:
            tornado.web.HTTPError: The loop is archived (403), or as stock.
        """
        self._refuse_archived(path)
        await super().delete_file(path)  # type: ignore[no-untyped-call]

    async def rename_file(self, old_path: str, new_path: str) -> None:
        """Rename or move a file or folder.

        Raises:
            tornado.web.HTTPError: A loop is archived (403), or as stock.
        """
        self._refuse_archived(old_path, new_path)
        await super().rename_file(old_path, new_path)  # type: ignore[no-untyped-call]


def loop_record(workspace: Workspace | None, path: Path) -> LoopRecord | None:
    """The record of the loop that a path of the host is in; None where there is none to be read.

    Args:
        workspace: Where the loops are.
        path: An absolute path.
    """
    found = workspace.loop_of(path) if workspace is not None else None
    if workspace is None or found is None:
        return None
    try:
        return LoopStore(workspace).read(found[0])
    except LoopatError:
        return None


class LoopDriveManager(LoopContentsManager):
    """Files of all loops: the first folder of a path means a loop, the rest is in its workdir."""

    drive = Instance(Drive)

    def _get_os_path(self, path: str) -> str:
        if not path.strip("/"):
            return str(self.drive.workspace.loops)
        found = None if "\0" in path else self.drive.host_path(path)
        if found is None:
            raise web.HTTPError(404, f"{path} is in no loop. The Loops panel shows all loops.")
        return refuse_way_out(self.workspace, str(found), path)

    async def get(
        self,
        path: str,
        content: bool = True,  # noqa: FBT001, FBT002 - the stock signature
        type: str | None = None,  # noqa: A002
        format: str | None = None,  # noqa: A002
        require_hash: bool = False,  # noqa: FBT001, FBT002
    ) -> dict[str, Any]:
        """A file or folder. The root lists the loops."""
        if path.strip("/"):
            found: dict[str, Any] = await super().get(path.strip("/"), content, type, format, require_hash)  # type: ignore[no-untyped-call]
            return found
        root = _folder("", datetime.datetime.now(datetime.UTC))
        return {**root, "content": self._folders(), "format": "json"} if content else root

    def _folders(self) -> list[dict[str, Any]]:
        store = self.drive.store
        records = itertools.islice(store.readable(), MOST_FOLDERS)
        return [_folder(folder_name(record), store.last_activity(record.id)) for record in records]

    async def delete_file(self, path: str) -> None:
        """Delete a file or folder in a loop.

        Raises:
            tornado.web.HTTPError: It is a whole loop (403), or there is no such file (404).
        """
        _refuse_whole_loop(path)
        await super().delete_file(path)

    async def rename_file(self, old_path: str, new_path: str) -> None:
        """Rename or move a file or folder, also from one loop to another.

        Raises:
            tornado.web.HTTPError: It is or would be a whole loop (403), or there is no such file (404).
        """
        _refuse_whole_loop(old_path)
        _refuse_whole_loop(new_path)
        await super().rename_file(old_path, new_path)


def _refuse_whole_loop(path: str) -> None:
    if "/" not in path.strip("/"):
        raise web.HTTPError(403, "Loops are renamed and deleted in the Loops panel, not in the file browser.")


def _folder(name: str, last_modified: datetime.datetime) -> dict[str, Any]:
    """The contents model of a loop's folder, or of the root, without its content."""
    return {
        "name": name,
        "path": name,
        "type": "directory",
        "created": last_modified,
        "last_modified": last_modified,
        "content": None,
        "format": None,
        "mimetype": None,
        "size": None,
        "writable": bool(name),
        "hash": None,
        "hash_algorithm": None,
    }
