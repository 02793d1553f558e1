"""The drive's addresses: the stock handlers for files, over the drive's own manager.

Whoever may use the server's files may use these: the authorizer is asked about `contents`, as ever.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import path_regex
from jupyter_server.services.contents import handlers as stock
from jupyter_server.utils import url_escape, url_path_join
from tornado import web

from loopat_jupyter.contents.sending import LoopFileHandler
from loopat_jupyter.errors import LoopatError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from loopat_jupyter.contents.drive_manager import LoopDriveManager

PREFIX = "/loopat/api/contents"
FILES_PREFIX = "/loopat/api/files"

SETTING = "loopat_drive"
"""Where the extension leaves what makes the drive's manager."""


class DriveMixin:
    """Has a stock handler use the drive in place of the server's root folder."""

    settings: dict[str, Any]

    @property
    def contents_manager(self) -> LoopDriveManager:
        """The drive.

        Raises:
            tornado.web.HTTPError: The configuration of loops is broken; says which file and key.
        """
        try:
            return cast("LoopDriveManager", self.settings[SETTING]())
        except LoopatError as error:
            raise web.HTTPError(error.status, error.message, reason=error.reason) from error


class _Body(msgspec.Struct):
    """What the stock handler and manager take for granted of a request's body."""

    path: str = ""
    name: str | None = None
    copy_from: str | None = None
    ext: str | None = None
    type: str | None = None
    format: Literal["text", "base64", "json"] | None = None
    chunk: int | None = None
    content: Any = None


class ContentsHandler(DriveMixin, stock.ContentsHandler):
    """`/contents/…`: files and folders."""

    def get_json_body(self) -> dict[str, Any] | None:
        """The body of the request.

        Raises:
            tornado.web.HTTPError: It is none that makes sense; names the field.
        """
        try:
            body = super().get_json_body()
            checked = msgspec.convert({} if body is None else body, _Body)
            for text in (checked.path, checked.name, checked.copy_from, checked.ext, checked.content):
                (text if isinstance(text, str) else "").encode()
        except (msgspec.ValidationError, RecursionError, UnicodeEncodeError) as error:
            raise web.HTTPError(400, f"The body makes no sense: {error}") from error
        return body

    @web.authenticated
    @authorized
    async def get(self, path: str = "") -> None:
        """Tell of a file or folder. A folder has no hash, and stock would fail at that."""
        if "hash" in self.request.query_arguments and await self.contents_manager.dir_exists(path or ""):  # type: ignore[no-untyped-call]
            del self.request.query_arguments["hash"]
        await cast("Awaitable[None]", super().get(path))

    def location_url(self, path: str) -> str:
        """Address of a file that was made."""
        return url_path_join(self.base_url, PREFIX, url_escape(path))


class CheckpointsHandler(DriveMixin, stock.CheckpointsHandler):
    """`/contents/…/checkpoints`."""


class ModifyCheckpointsHandler(DriveMixin, stock.ModifyCheckpointsHandler):
    """`/contents/…/checkpoints/<id>`."""


class TrustNotebooksHandler(DriveMixin, stock.TrustNotebooksHandler):
    """`/contents/…/trust`."""


class FileHandler(DriveMixin, LoopFileHandler):
    """`/files/…`: a file as it is, for downloads and pictures."""

    def initialize(self) -> None:  # type: ignore[override]
        """Nothing is looked at yet: this comes before anybody has shown who they are."""
        super().initialize(path="/")

    @web.authenticated
    @authorized
    def get(self, path: str, include_body: bool = True) -> Awaitable[None]:  # type: ignore[override] # noqa: FBT001, FBT002
        """Send a file; which one is meant is the drive's decision."""
        manager = self.contents_manager
        self.root = manager.root_dir
        found = os.path.relpath(manager._get_os_path(path), manager.root_dir)  # noqa: SLF001
        return cast("Awaitable[None]", super().get(found, include_body=include_body))

    @web.authenticated
    @authorized
    def head(self, path: str) -> Awaitable[None]:  # type: ignore[override]
        """Send what is known of a file."""
        return cast("Awaitable[None]", self.get(path, include_body=False))


CHECKPOINT = r"(?P<checkpoint_id>[\w-]+)"


def handlers() -> list[tuple[str, type[web.RequestHandler]]]:
    """What the server's web application takes."""
    return [
        (rf"{PREFIX}{path_regex}/checkpoints", CheckpointsHandler),
        (rf"{PREFIX}{path_regex}/checkpoints/{CHECKPOINT}", ModifyCheckpointsHandler),
        (rf"{PREFIX}{path_regex}/trust", TrustNotebooksHandler),
        (rf"{PREFIX}{path_regex}", ContentsHandler),
        (rf"{FILES_PREFIX}/(?P<path>.+)", FileHandler),
    ]
