"""The machine, the description of this interface, and paths that do not exist."""

from __future__ import annotations

from pathlib import Path

from jupyter_server.auth.decorator import authorized
from tornado import web

from loopat_jupyter.server.base import LoopatHandler

OPENAPI_FILE = Path(__file__).parent.parent / "openapi.yaml"


class HealthHandler(LoopatHandler):
    """`/health`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Whether the machine offers what loops need."""
        self.answer(await self.manager.health(noted=True))


class OpenAPIHandler(LoopatHandler):
    """`/openapi.yaml`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The description of this interface."""
        self.finish(OPENAPI_FILE.read_bytes(), set_content_type="application/yaml")


async def _unknown(_: LoopatHandler) -> None:
    raise web.HTTPError(404, "There is no such path. `openapi.yaml` lists all of them.")


class UnknownHandler(LoopatHandler):
    """Every other path below the prefix."""

    # Each verb is decorated by itself: the decorator remembers the permission of the first verb that comes.
    get = web.authenticated(authorized(_unknown))
    post = web.authenticated(authorized(_unknown))
    put = web.authenticated(authorized(_unknown))
    patch = web.authenticated(authorized(_unknown))
    delete = web.authenticated(authorized(_unknown))
