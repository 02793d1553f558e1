"""The contents manager of the server's own root folder.

It is the stock one for files, with one check more: a symlink that leads out of a loop's workdir is refused, since what
runs in the loop may have planted it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import nbformat
from jupyter_core.paths import is_hidden
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from nbformat import ValidationError
from tornado import web
from traitlets import Instance, default

from loopat_jupyter.contents.bounds import (
    change_told,
    entries_of,
    refuse_way_out,
    swap_told,
    too_large,
    top_of,
    way_out_told,
)
from loopat_jupyter.contents.changes import copy_folder, make_folder, move, remove, throw_away
from loopat_jupyter.contents.checkpoints import LoopCheckpoints
from loopat_jupyter.contents.looking import Seen, look, look_into, model
from loopat_jupyter.contents.pinned import Place, opened, replaced
from loopat_jupyter.contents.sending import LoopFileHandler
from loopat_jupyter.errors import BadInputError, LoopatError
from loopat_jupyter.sandbox.plan import SANDBOX_HOME, sandbox_workdir
from loopat_jupyter.starting import way_out_of_archive
from loopat_jupyter.workspace.files import real_path
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.records import LoopStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.models import LoopRecord

MOST_CELLS = 50_000
"""Cells and outputs of a notebook: small ones are many times their bytes in memory, and take time to be sent."""

_PIECES = (b'"cell_type"', b'"output_type"')

UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, ImportError, RecursionError, ValidationError)
"""What nbformat raises at what is no notebook."""


class LoopContentsManager(AsyncLargeFileManager):
    """Files of the server's root folder: the stock manager, that follows no symlink out of a loop."""

    workspace = Instance(Workspace, allow_none=True)

    @default("workspace")
    def _default_workspace(self) -> Workspace | None:
        try:
            return Workspace.from_environment(os.environ)
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
        """The folder of a loop that a path of the host enters, and must not leave; None outside all loops."""
        with way_out_told(os_path):
            return top_of(self.workspace, os_path)

    def place(self, os_path: str) -> Place | None:
        """A file of a loop, for `changes`; None outside all loops."""
        top = self.top_of(os_path)
        if top is None:
            return None
        with way_out_told(os_path):
            is_inside = real_path(Path(os_path).parent).is_relative_to(top)
            # A link of the host that leads into the loop means what it leads to.
            return Place(top, os_path if is_inside else str(real_path(os_path)))

    def entry(self, os_path: str) -> Place | None:
        """As `place`, for what is done to a name and not to what it leads to: a link of the host is no loop's."""
        is_link = os.path.islink(os_path)  # noqa: PTH114 - a name that is too long is none
        return None if is_link and self.top_of(str(Path(os_path).parent)) is None else self.place(os_path)

    def places(self, old: str, new: str, *, moved: bool = False) -> tuple[Place, Place] | None:
        """Both ends of a move or a copy, for `changes`; None where neither is in a loop."""
        source, target = (self.entry if moved else self.place)(old), self.place(new)
        if source is None and target is None:
            return None
        return source or _trusted(old), target or _trusted(new)

    def _base_model(self, path: str) -> dict[str, Any]:
        os_path = self._get_os_path(path)
        place = self.place(os_path)
        if place is None:
            found: dict[str, Any] = super()._base_model(path)  # type: ignore[no-untyped-call]
            return found
        if self._is_hidden(os_path):
            raise web.HTTPError(404, f"file or directory does not exist: {path!r}")
        with self.perm_to_403(os_path), change_told(os_path):
            return model(path, look(place))

    async def _dir_model(self, path: str, content: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - as stock
        os_path = self._get_os_path(path)
        place = self.place(os_path)
        listing = content and place is None
        with entries_of(self.workspace, os_path) if listing else contextlib.nullcontext():
            found: dict[str, Any] = await super()._dir_model(path, listing)  # type: ignore[no-untyped-call]
        if content and place is not None:
            with self.perm_to_403(os_path), change_told(os_path):
                seen = await asyncio.to_thread(look_into, place)
            entries = [model(f"{path}/{each.name}".strip("/"), each) for each in self._shown(seen)]
            found |= {"format": "json", "content": entries}
        return found

    def _shown(self, seen: list[Seen]) -> Iterator[Seen]:
        """What a listing names, as the stock manager decides it."""
        for each in seen:
            hidden = each.name.startswith(".") or (each.is_folder and not each.is_open)
            if self.should_list(each.name) and (self.allow_hidden or not hidden):  # type: ignore[no-untyped-call]
                yield each

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

    async def _read_notebook(
        self,
        os_path: str,
        as_version: int = 4,
        capture_validation_error: dict[str, Any] | None = None,
        raw: bool = False,  # noqa: FBT001, FBT002 - the stock signature
    ) -> Any:  # noqa: ANN401
        """As stock, but what somebody began to write beside a broken notebook of a loop is not put into its place."""
        if self.top_of(os_path) is None:
            return await super()._read_notebook(os_path, as_version, capture_validation_error, raw)
        text, _, *data = await self._read_file(os_path, "text", raw=True)
        if sum(map(data[0].count, _PIECES)) > MOST_CELLS:
            raise too_large(os_path)
        read = functools.partial(nbformat.reads, capture_validation_error=capture_validation_error)
        try:
            notebook = await asyncio.to_thread(read, text, as_version)
        except UNREADABLE as error:
            problem = f"{Path(os_path).name} is no notebook: {error!r}"
            raise web.HTTPError(400, problem[:500]) from error
        return (notebook, *data) if raw else notebook

    async def _notebook_model(self, path: str, content: bool = True, require_hash: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - as stock
        """As stock, which compares a notebook with its signature, and fails at one that cannot be signed."""
        try:
            found: dict[str, Any] = await super()._notebook_model(path, content, require_hash)  # type: ignore[no-untyped-call]
        except UnicodeEncodeError as error:
            raise web.HTTPError(400, f"{path} has text that is no Unicode: {error}") from error
        return found

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

    def refuse_archived(self, *paths: str) -> None:
        """Refuse to change a file of an archived loop.

        Raises:
            tornado.web.HTTPError: It is one (403).
        """
        for path in paths if self.workspace is not None else ():
            with way_out_told(path):
                record = loop_record(self.workspace, Path(self._get_os_path(path.strip("/"))))
            if record is not None and record.archived:
                says = f"Loop {record.title!r} is archived. To change its files, {way_out_of_archive(record)}"
                raise web.HTTPError(403, says)

    async def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Write a file or make a folder.

        Raises:
            tornado.web.HTTPError: The loop is archived (403), or as stock.
        """
        self.refuse_archived(path)
        try:
            saved: dict[str, Any] = await super().save(model, path)  # type: ignore[no-untyped-call]
        except web.HTTPError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or self.top_of(self._get_os_path(path.strip("/"))) is None:
                raise
            # The stock manager would say where it is on the host.
            with change_told(path), swap_told(path):
                raise cause from None
        return saved

    async def _save_directory(self, os_path: str, model: dict[str, Any], path: str = "") -> None:
        place = self.place(os_path)
        if place is None:
            await super()._save_directory(os_path, model, path)  # type: ignore[no-untyped-call]
            return
        self._refuse_hidden("create", os_path)
        with change_told(os_path):
            try:
                make_folder(place)
            except FileExistsError:
                if not look(place).is_folder:
                    raise

    async def delete_file(self, path: str) -> None:
        """Delete a file or folder; what goes to the trash goes to that of its loop.

        Raises:
            tornado.web.HTTPError: The loop is archived (403), or as stock.
        """
        self.refuse_archived(path)
        os_path = self._get_os_path(path.strip("/"))
        place = self.entry(os_path)
        if place is None:
            await super().delete_file(path)  # type: ignore[no-untyped-call]
            return
        self._refuse_hidden("delete", os_path)
        with change_told(os_path):
            if self.delete_to_trash:
                loop, top = place.top.parent, place.top
                inside = {"workdir": sandbox_workdir(loop.name), "home": SANDBOX_HOME}.get(top.name, str(top))
                await asyncio.to_thread(throw_away, place, loop / "home", inside)
            else:
                ignored = (getattr(self.checkpoints, "checkpoint_dir", ""),)
                await asyncio.to_thread(remove, place, full=self.always_delete_dir, ignored=ignored)

    async def rename_file(self, old_path: str, new_path: str) -> None:
        """Rename or move a file or folder.

        Raises:
            tornado.web.HTTPError: A loop is archived (403), or as stock.
        """
        self.refuse_archived(old_path, new_path)
        old, new = (self._get_os_path(path.strip("/")) for path in (old_path, new_path))
        places = self.places(old, new, moved=True)
        if places is None:
            await super().rename_file(old_path, new_path)  # type: ignore[no-untyped-call]
            return
        self._refuse_hidden("rename", old, new)
        with change_told(old):
            if _is_taken(new, old):
                raise web.HTTPError(409, f"File already exists: {new_path}")
            move(*places)

    async def _copy_dir(self, from_path: str, to_path_original: str, to_name: str, to_path: str) -> dict[str, Any]:
        self.refuse_archived(to_path)
        old, new = (self._get_os_path(path.strip("/")) for path in (from_path, to_path))
        places = self.places(old, new)
        if places is None:
            copied: dict[str, Any] = await super()._copy_dir(from_path, to_path_original, to_name, to_path)
            return copied
        with change_told(new):
            await asyncio.to_thread(copy_folder, *places)
        model: dict[str, Any] = await self.get(to_path, content=False)  # type: ignore[no-untyped-call]
        return model

    def _refuse_hidden(self, what: str, *os_paths: str) -> None:
        for os_path in os_paths:
            if self._is_hidden(os_path):
                raise web.HTTPError(400, f"Cannot {what} hidden file or directory {Path(os_path).name!r}")

    def _is_hidden(self, os_path: str) -> bool:
        return not self.allow_hidden and is_hidden(os_path, self.root_dir)


def _is_taken(name: str, old: str) -> bool:
    """Whether something else than a file has its new name already; a link that leads nowhere may be replaced.

    Raises:
        OSError: There is no such file.
    """
    return Path(name).exists() and not Path(old).samefile(name)


def _trusted(os_path: str) -> Place:
    """A file outside all loops."""
    return Place(real_path(Path(os_path).parent), os_path)


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
