"""Files as they are, for downloads and pictures."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from jupyter_server.base.handlers import AuthenticatedFileHandler
from tornado import web

from loopat_jupyter.contents.bounds import refuse_way_out, swap_told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.contents.managers import LoopContentsManager

_PIECE_BYTES = 64 * 1024


class LoopFileHandler(AuthenticatedFileHandler):
    """`/files/…` of the server's root folder."""

    _file: IO[bytes] | None = None
    """Of a loop: opened once, so that what was looked at is what is sent."""

    def validate_absolute_path(self, root: str, absolute_path: str) -> str:
        """As stock, and in no loop that a symlink leads out of.

        Raises:
            tornado.web.HTTPError: It is no path.
            WayOutError: One does.
        """
        if "\0" in absolute_path:
            raise web.HTTPError(404)
        manager = cast("LoopContentsManager", self.contents_manager)
        refuse_way_out(manager.workspace, absolute_path, Path(absolute_path).name)
        with swap_told(absolute_path):
            found = super().validate_absolute_path(root, absolute_path)
        if manager.top_of(absolute_path) is not None:
            self._opened = ExitStack()
            try:
                self._file = self._opened.enter_context(manager.open(absolute_path, "rb"))
            except FileNotFoundError:
                raise web.HTTPError(404) from None
            self._stat_result = os.fstat(self._file.fileno())
        return found

    def get_content(self, abspath: str, start: int | None = None, end: int | None = None) -> Iterator[bytes]:  # type: ignore[override]
        """The file, or a part of it."""
        if self._file is None:
            yield from super().get_content(abspath, start, end)
            return
        left = self.get_content_size() if end is None else end
        left -= start or 0
        self._file.seek(start or 0)
        while left > 0 and (piece := self._file.read(min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece

    def on_finish(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._opened.close()
        super().on_finish()
