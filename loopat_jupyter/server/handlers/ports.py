"""Shared web servers of loops, for who is logged in at Jupyter: `/loopat/port/{loop_id}/{port}/…`.

A browser that opens such an address is sent on to `/loopat/shared/…`, with a ticket in the path: the page has an origin
of its own then, and asks for its parts without Jupyter's cookies.
"""

from __future__ import annotations

import contextlib
import hmac
import re
from typing import TYPE_CHECKING, Any, cast

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado import web
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketError, WebSocketHandler, websocket_connect

from loopat_jupyter.errors import LoopatError, NotFoundError
from loopat_jupyter.sandbox.sockets import address_of
from loopat_jupyter.server.base import AUTH_RESOURCE, StreamedBody, permitted
from loopat_jupyter.server.relay import (
    SocketResolver,
    ask_edge,
    browser_headers,
    edge_stream,
    program_headers,
    program_uri,
    ticket,
)
from loopat_jupyter.shares import JUPYTER_PREFIX
from loopat_jupyter.sharing.plan import host_of

if TYPE_CHECKING:
    from tornado.iostream import IOStream
    from tornado.websocket import WebSocketClientConnection

    from loopat_jupyter.models import LoopRecord

MAX_BODY_BYTES = 64 * 1024 * 1024
_TICKET_PREFIX = "loopat/shared"
_TICKET = re.compile(rf"(/{_TICKET_PREFIX}/[^/]+/[^/]+/)[0-9a-f]{{40}}")
_BODILESS = (204, 304)
_VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class _Answer(HTTPMessageDelegate):
    """Passes an answer of the program on to the browser."""

    def __init__(self, handler: RelayHandler, host: str, prefix: str) -> None:
        self._handler, self._host, self._prefix = handler, host, prefix
        self.begun = False

    async def headers_received(self, start_line: Any, headers: HTTPHeaders) -> None:  # noqa: ANN401
        """Status and headers; those of a stream go at once, for its first piece may be long in coming."""
        line = cast("ResponseStartLine", start_line)
        if line.code < 200:
            return
        self.begun = True
        if line.code == 204:
            # It has no body, whatever the program says, and tornado would take it for malformed.
            headers.pop("Content-Length", None)
        self._handler.set_status(line.code, line.reason or "Unknown")
        self._handler.take_headers(browser_headers(headers, self._host, self._prefix))
        if "Content-Length" not in headers and line.code not in _BODILESS:
            await self._pass()

    async def data_received(self, chunk: bytes) -> None:
        """A piece; the program waits until the browser has taken it."""
        self._handler.write(chunk)
        await self._pass()

    async def _pass(self) -> None:
        # A browser that has gone has also ended the request.
        with contextlib.suppress(StreamClosedError):
            await self._handler.flush()


@web.stream_request_body
class RelayHandler(StreamedBody, WebSocketHandler, JupyterHandler):
    """Base of both: passes requests and websockets on to the one port that a loop shares by name."""

    most_body_bytes = MAX_BODY_BYTES
    _upstream: WebSocketClientConnection | None = None
    _stream: IOStream | None = None
    """To the edge."""

    _gone = False
    """Whether the browser has gone."""

    def initialize(self, name: str) -> None:
        """Prepare one request: tickets in what may be logged of it are nobody else's business.

        Args:
            name: Of the extension.
        """
        super().initialize(name)
        self.request.uri = _TICKET.sub(r"\1[ticket]", self.request.uri or "")
        if "Referer" in self.request.headers:
            self.request.headers["Referer"] = _TICKET.sub(r"\1[ticket]", self.request.headers["Referer"])

    def on_connection_close(self) -> None:
        """The browser has gone: nobody waits for the program any more."""
        super().on_connection_close()
        self._gone = True
        if self._stream is not None:
            self._stream.close()

    def check_origin(self, origin: str = "") -> bool:
        """Whether the page that asks is one of Jupyter's, as for every other address of the server."""
        return bool(JupyterHandler.check_origin(self, origin))

    def take_headers(self, headers: HTTPHeaders) -> None:
        """Answer with these headers and no others.

        Args:
            headers: All of them.
        """
        self._headers = HTTPHeaders()
        for name, value in headers.get_all():
            self.add_header(name, value)

    def record(self, loop_id: str, port: str) -> LoopRecord:
        """The loop, if it shares just this port by name.

        Raises:
            HTTPError: It does not (404), or cannot be read.
        """
        try:
            record = self.service.manager.store.read(loop_id)
        except LoopatError as error:
            status = 404 if isinstance(error, NotFoundError) else error.status
            raise web.HTTPError(status, error.message) from error
        if record.archived or record.share.mode != "port" or str(record.share.port) != port:
            raise web.HTTPError(
                404,
                f"The loop does not share port {port}. To do so, choose Share… in its menu in JupyterLab, or run "
                f"`jupyter loopat share {loop_id[:8]} --port {port}`.",
            )
        return record

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ANN401 - as tornado has it
        """Say why, where Jupyter's page of that status would not.

        Args:
            status_code: The status.
            kwargs: What was raised, as tornado gives it.
        """
        error = kwargs.get("exc_info", (None, None))[1]
        if not isinstance(error, web.HTTPError) or not error.log_message:
            super().write_error(status_code, **kwargs)
            return
        words = error.log_message % error.args
        page = self.render_template(
            "error.html", status_code=status_code, status_message=words, message="", exception=error
        )
        self.set_header("Content-Type", "text/html")
        self.finish(page)

    async def pass_on(self, loop_id: str, port: str, path: str, prefix: str) -> None:
        """Pass the request on.

        Args:
            loop_id: The loop.
            port: The port, which must be the shared one.
            path: Percent-encoded, behind the prefix.
            prefix: Path of the program at Jupyter.
        """
        record = self.record(loop_id, port)
        host = host_of(record, self.service.manager.config.share)
        uri = program_uri(path, self.request.query)
        headers = program_headers(self.request.headers, host, prefix)
        if self.request.headers.get("Upgrade", "").lower() == "websocket":
            await self._pass_socket(host, uri, headers)
            return
        if self._body_bytes > MAX_BODY_BYTES:
            raise web.HTTPError(413, f"The body must be at most {MAX_BODY_BYTES} bytes. Use the loop's own address.")
        answer = _Answer(self, host, prefix)
        line = RequestStartLine(self.request.method, uri, "HTTP/1.1")
        try:
            with address_of(self.service.manager.edge.socket) as address:
                self._stream = edge_stream()
                await self._stream.connect(address)
            await ask_edge(self._stream, line, headers, bytes(self._body), answer)
        except (OSError, StreamClosedError, HTTPInputError) as error:
            if self._gone:
                return
            if self._headers_written:
                # Cut off: only a broken connection tells the browser that something is missing.
                self.request.connection.stream.close()  # type: ignore[union-attr]
                return
            raise web.HTTPError(502, "What is shared gives no whole answer at the moment. Try again.") from error
        if self._gone:
            return
        if not answer.begun:
            raise web.HTTPError(502, "The program in the loop did not answer.")
        with contextlib.suppress(StreamClosedError):
            await self.finish()

    async def _pass_socket(self, host: str, uri: str, headers: HTTPHeaders) -> None:
        origin = self.request.headers.get("Origin")
        if origin is not None and not self.check_origin(origin):
            raise web.HTTPError(403, "Another site's page may not connect.")
        offered = self.request.headers.get("Sec-WebSocket-Protocol", "")
        request = HTTPRequest(f"ws://{host}{uri}", headers=headers)
        try:
            with address_of(self.service.manager.edge.socket) as address:
                self._upstream = await websocket_connect(
                    request,
                    subprotocols=[name.strip() for name in offered.split(",") if name.strip()] or None,
                    resolver=SocketResolver(address=address),
                )
        except (OSError, HTTPClientError, WebSocketError, StreamClosedError) as error:
            raise web.HTTPError(502, "The program in the loop did not take the websocket.") from error
        await WebSocketHandler.get(self)
        if self.ws_connection is None:
            # The browser's side came to nothing.
            self._upstream.close()

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """The one that the program has chosen."""
        chosen = self._upstream.selected_subprotocol if self._upstream else None
        return chosen if chosen in subprotocols else None

    def open(self, *_: str, **__: str) -> None:
        """The browser is connected: pass on what the program says."""
        self.service.spawn(self._pump())

    async def _pump(self) -> None:
        upstream = cast("WebSocketClientConnection", self._upstream)
        try:
            while (message := await upstream.read_message()) is not None:
                await self.write_message(message, binary=isinstance(message, bytes))
        except (WebSocketClosedError, StreamClosedError):
            return
        finally:
            upstream.close()
            self.close(upstream.close_code, upstream.close_reason)

    async def on_message(self, message: str | bytes) -> None:
        """Pass on what the browser says."""
        with contextlib.suppress(WebSocketClosedError, StreamClosedError):
            upstream = cast("WebSocketClientConnection", self._upstream)
            await upstream.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        """The browser has gone."""
        if self._upstream is not None:
            self._upstream.close(self.close_code, self.close_reason)

    def url(self, *parts: str) -> str:
        """A path of this server."""
        return self.base_url + "/".join(parts)

    def is_navigation(self) -> bool:
        """Whether a browser is about to show this as a page."""
        headers = self.request.headers
        wanted = headers.get("Sec-Fetch-Mode") == "navigate" or (
            "Sec-Fetch-Mode" not in headers and "text/html" in headers.get("Accept", "")
        )
        return wanted and self.request.method == "GET" and "Upgrade" not in headers

    def rest(self, prefix: str) -> str:
        """The path behind a prefix, still percent-encoded."""
        return self.request.path.removeprefix(prefix)


class PortHandler(RelayHandler):
    """`/loopat/port/{loop_id}/{port}/…`: for who is logged in."""

    auth_resource = AUTH_RESOURCE

    async def _serve(self, loop_id: str, port: str) -> None:
        prefix = self.url(JUPYTER_PREFIX, loop_id, port)
        path = self.rest(prefix)
        self.record(loop_id, port)
        if self.is_navigation():
            inside = self.url(_TICKET_PREFIX, loop_id, port, ticket(self.service.secret, loop_id, int(port)))
            self.redirect(inside + program_uri(path, self.request.query))
            return
        await self.pass_on(loop_id, port, path, prefix)

    @web.authenticated
    @permitted("execute")
    async def get(self, loop_id: str, port: str) -> None:  # type: ignore[override]
        """Pass it on."""
        await self._serve(loop_id, port)

    head = post = put = patch = delete = options = get


class TicketHandler(RelayHandler):
    """`/loopat/shared/{loop_id}/{port}/{ticket}/…`: for pages that came from there."""

    async def _serve(self, loop_id: str, port: str, given: str) -> None:
        prefix = self.url(_TICKET_PREFIX, loop_id, port, given)
        path = self.rest(prefix)
        if not hmac.compare_digest(given.encode(), ticket(self.service.secret, loop_id, int(port)).encode()):
            if self.is_navigation():
                # The server was started anew: who is logged in gets another one.
                self.redirect(self.url(JUPYTER_PREFIX, loop_id, port) + program_uri(path, self.request.query))
                return
            raise web.HTTPError(403, "This page was opened before the server started. Open it again.")
        if self.request.method == "OPTIONS" and "Access-Control-Request-Method" in self.request.headers:
            self._allow_origin()
            self.set_status(204)
            await self.finish()
            return
        await self.pass_on(loop_id, port, path, prefix)

    def take_headers(self, headers: HTTPHeaders) -> None:
        """The page may read what it asked for: it has no origin, so that the browser would hold it back."""
        super().take_headers(headers)
        self._allow_origin()

    def _allow_origin(self) -> None:
        self.set_header("Access-Control-Allow-Origin", "null")
        self.set_header("Access-Control-Allow-Methods", ", ".join(_VERBS))
        wanted = self.request.headers.get("Access-Control-Request-Headers")
        if wanted:
            self.set_header("Access-Control-Allow-Headers", wanted)
        self.set_header("Access-Control-Expose-Headers", "*")
        self.set_header("Access-Control-Max-Age", "600")
        self.add_header("Vary", "Origin")

    def check_origin(self, origin: str = "") -> bool:
        """The ticket is the permission."""
        del origin
        return True

    def check_xsrf_cookie(self) -> None:
        """The ticket is the permission, and no cookie is looked at."""

    @allow_unauthenticated
    async def get(self, loop_id: str, port: str, given: str) -> None:
        """Pass it on."""
        await self._serve(loop_id, port, given)

    head = post = put = patch = delete = options = get


def handlers() -> list[tuple[str, type[RelayHandler]]]:
    """What the server's web application takes."""
    place = r"/(?P<loop_id>[0-9a-f-]{36})/(?P<port>[0-9]{1,5})"
    return [
        (rf"/{JUPYTER_PREFIX}{place}(?:/.*)?", PortHandler),
        (rf"/{_TICKET_PREFIX}{place}/(?P<given>[0-9a-f]{{40}})(?:/.*)?", TicketHandler),
    ]
