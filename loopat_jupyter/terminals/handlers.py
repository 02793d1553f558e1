"""Stock `/api/terminals`, with one check that must come before it follows symlinks, and websockets with bounds."""

from __future__ import annotations

import re
from typing import Any

from jupyter_server_terminals.api_handlers import TerminalRootHandler
from tornado import web

from loopat_jupyter.terminals.flow import LoopTermSocket
from loopat_jupyter.terminals.manager import LoopTerminalManager
from loopat_jupyter.terminals.places import told


class LoopTerminalRootHandler(TerminalRootHandler):
    """`/api/terminals`: refuses a folder in a loop that leads out of it. Otherwise as stock."""

    def get_json_body(self) -> dict[str, Any] | None:
        """The body, once its folder was checked.

        Raises:
            tornado.web.HTTPError: The server has no terminals, the body says nothing that makes sense, or a symlink
                leads out of the loop that the folder is in as it is written.
        """
        if not self.settings.get("terminals_available"):
            raise web.HTTPError(404)
        body: object = super().get_json_body()
        if body is None:
            return None
        if not isinstance(body, dict) or not (_is_text(body.get("cwd", "")) and _is_text(body.get("name") or "")):
            raise web.HTTPError(400, "The body must be an object; its cwd a path, and its name a text.")
        manager = self.terminal_manager
        # Nothing that a client may say.
        body.pop("place", None)
        if "cwd" in body and isinstance(manager, LoopTerminalManager):
            body["cwd"] = manager.places.on_host(body["cwd"])
            with told():
                place = manager.places.written(body.get("name"), body["cwd"])
            if place is not None:
                # The stock handler would follow links once more, which may be others by then.
                del body["cwd"]
                body["place"] = place
        return body


def _is_text(value: object) -> bool:
    """Whether it is a text that can be a path: no NUL, and no half of a character, which JSON may hold."""
    return isinstance(value, str) and re.search(r"[\0\ud800-\udfff]", value) is None


HANDLERS: list[tuple[str, type[Any]]] = [
    (r"/api/terminals", LoopTerminalRootHandler),
    (r"/terminals/websocket/(\w+)", LoopTermSocket),
]
"""They come before the stock ones of the same addresses."""
