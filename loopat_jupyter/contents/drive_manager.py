"""The contents manager of the drive of loops."""

from __future__ import annotations

import asyncio
import datetime
import itertools
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tornado import web
from traitlets import Instance, default, validate

from loopat_jupyter.contents.bounds import change_told, refuse_way_out
from loopat_jupyter.contents.checkpoints import DriveCheckpoints
from loopat_jupyter.contents.drive import Drive, names_loop
from loopat_jupyter.contents.managers import UNREADABLE, LoopContentsManager
from loopat_jupyter.errors import NotFoundError
from loopat_jupyter.workspace.records import folder_name

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_FOLDERS = 500
"""How many loops the root of the drive lists, newest activity first; the panel finds the others."""

_UNFIT = (*UNREADABLE, FileNotFoundError, NotADirectoryError, IsADirectoryError)


class LoopDriveManager(LoopContentsManager):
    """Files of all loops: the first folder of a path means a loop, the rest is in its workdir."""

    drive = Instance(Drive)

    @default("checkpoints_class")
    def _checkpoints_class_default(self) -> type[DriveCheckpoints]:
        return DriveCheckpoints

    @validate("preferred_dir")
    def _validate_preferred_dir(self, proposal: object) -> str:  # noqa: ARG002 - as traitlets calls it
        """The drive opens at its root: what is configured is a folder of the server's root."""
        return ""

    def _get_os_path(self, path: str) -> str:
        if not path.strip("/"):
            return str(self.drive.workspace.loops)
        found = None if "\0" in path else self.drive.host_path(path)
        if found is None:
            if names_loop(path.strip("/").partition("/")[0]):
                raise web.HTTPError(404, f"{path}: the loop of this file was deleted.")
            raise web.HTTPError(404, f"{path} is in no loop. Loops are made, renamed and deleted in the Loops panel.")
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
        return {**root, "content": await asyncio.to_thread(self._folders), "format": "json"} if content else root

    def _folders(self) -> list[dict[str, Any]]:
        return list(itertools.islice(self._present(), MOST_FOLDERS))

    def _present(self) -> Iterator[dict[str, Any]]:
        store = self.drive.store
        for record in store.readable():
            try:
                last_activity = store.last_activity(record.id)
            except NotFoundError:
                # Deleted since its record was read.
                continue
            yield _folder(folder_name(record), last_activity)

    async def is_hidden(self, path: str) -> bool:
        """As stock; what is said to lie below a file is not there."""
        with change_told(path):
            return bool(await super().is_hidden(path))  # type: ignore[no-untyped-call]

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Write a file or make a folder in a loop.

        Raises:
            tornado.web.HTTPError: What should be written, or where, makes no sense (400), or as stock.
        """
        try:
            return await super().save(model, path)
        except web.HTTPError as error:
            # The stock manager takes the blame for whatever goes wrong.
            if error.status_code != HTTPStatus.INTERNAL_SERVER_ERROR or not isinstance(error.__cause__, _UNFIT):
                raise
            raise web.HTTPError(400, f"{path} cannot be saved: {error.__cause__!r}"[:500]) from error

    async def trust_notebook(self, path: str) -> None:
        """Note that a notebook in a loop is trusted.

        Raises:
            tornado.web.HTTPError: It is none (400), or as stock.
        """
        if (await self.get(path, content=False))["type"] != "notebook":
            raise web.HTTPError(400, f"{path} is no notebook.")
        await super().trust_notebook(path)  # type: ignore[no-untyped-call]

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
