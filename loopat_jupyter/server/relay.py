"""What goes through to a program in a loop, and what comes back: pure, but for one connection to the edge's socket.

A page of a loop comes from Jupyter's own address here, and must not act as Jupyter: it gets none of Jupyter's cookies,
tokens and headers, sets none, and the browser is told to give it an origin of its own (`sandbox` without
`allow-same-origin`, CSP level 3).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPMessageDelegate, RequestStartLine
from tornado.iostream import IOStream
from tornado.netutil import Resolver

POLICY = "sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts; frame-ancestors 'self'"

_LARGEST_ANSWER_BYTES = 2**60
"""Answers are passed on as they come; nothing of them is kept."""

_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade")
)  # fmt: skip
"""Headers that concern one connection (RFC 9110, 7.6.1)."""

_KEPT_FROM_PROGRAM = _HOP_BY_HOP | frozenset(
    ("authorization", "content-length", "cookie", "cookie2", "expect", "forwarded", "host", "origin", "referer",
     "x-xsrftoken", "x-csrftoken")
)  # fmt: skip
_KEPT_FROM_BROWSER = _HOP_BY_HOP | frozenset(
    ("alt-svc", "clear-site-data", "content-security-policy", "content-security-policy-report-only", "date", "nel",
     "public-key-pins", "referrer-policy", "report-to", "reporting-endpoints", "server", "service-worker-allowed",
     "set-cookie", "set-cookie2", "strict-transport-security", "x-content-type-options")
)  # fmt: skip
_PREFIXES = ("x-forwarded-", "sec-websocket-", "x-jupyter")
_ALLOWED = re.compile(r"access-control-", re.IGNORECASE)


def ticket(secret: bytes, loop_id: str, port: int) -> str:
    """What lets a page ask for more of itself, though its origin has no cookies: good for this port of this loop alone.

    Args:
        secret: The server's.
        loop_id: The loop.
        port: The port.
    """
    return hmac.new(secret, f"{loop_id}:{port}".encode(), hashlib.sha256).hexdigest()[:40]


def program_headers(headers: HTTPHeaders, host: str, prefix: str) -> HTTPHeaders:
    """Headers for the program, out of those that the browser sent to Jupyter.

    Args:
        headers: The browser's.
        host: Host name under which the loop is shared.
        prefix: Path of the program at Jupyter, without the final slash.
    """
    passed = HTTPHeaders()
    for name, value in headers.get_all():
        if name.lower() not in _KEPT_FROM_PROGRAM and not name.lower().startswith(_PREFIXES):
            passed.add(name, value)
    passed["Host"] = host
    passed["X-Forwarded-Prefix"] = prefix
    if "Origin" in headers:
        # Programs compare it with the host, to know their own pages.
        passed["Origin"] = f"http://{host}"
    return passed


def browser_headers(headers: HTTPHeaders, host: str, prefix: str) -> HTTPHeaders:
    """Headers for the browser, out of those that the program answered with.

    Args:
        headers: The program's.
        host: Host name under which the loop is shared.
        prefix: Path of the program at Jupyter, without the final slash.
    """
    passed = HTTPHeaders()
    for name, value in headers.get_all():
        if name.lower() in _KEPT_FROM_BROWSER or _ALLOWED.match(name):
            continue
        passed.add(name, relocated(value, host, prefix) if name.lower() == "location" else value)
    passed.add("Content-Security-Policy", POLICY)
    for policy in headers.get_list("Content-Security-Policy"):
        passed.add("Content-Security-Policy", policy)
    # The page's address is its permission: nobody else is told of it.
    passed["Referrer-Policy"] = "no-referrer"
    passed["X-Content-Type-Options"] = "nosniff"
    return passed


def relocated(location: str, host: str, prefix: str) -> str:
    """Where a redirect of the program leads as the browser sees it.

    Args:
        location: As the program has it.
        host: Host name under which the loop is shared.
        prefix: Path of the program at Jupyter, without the final slash.
    """
    try:
        parts = urlsplit(location)
        own = parts.hostname is None or parts.hostname == host
    except ValueError:
        return location
    if not own or not parts.path.startswith("/"):
        return location
    query = f"?{parts.query}" if parts.query else ""
    fragment = f"#{parts.fragment}" if parts.fragment else ""
    return f"{prefix}/{parts.path.lstrip('/')}{query}{fragment}"


def program_uri(path: str, query: str) -> str:
    """What to ask the program for: never another host's, and without Jupyter's token.

    Args:
        path: Percent-encoded path behind the prefix.
        query: The query.
    """
    if re.search(r"(?:^|&)token=", query):
        query = urlencode([pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "token"])
    return "/" + path.lstrip("/") + (f"?{query}" if query else "")


def edge_stream() -> IOStream:
    """What `ask_edge` asks through; who closes it calls the request off."""
    return IOStream(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))


async def ask_edge(
    stream: IOStream, request: RequestStartLine, headers: HTTPHeaders, body: bytes, answer: HTTPMessageDelegate
) -> None:
    """Ask the edge of this workspace, over the socket that only this user reaches.

    Args:
        stream: Connected to the edge; it is closed at the end.
        request: Verb and path.
        headers: Headers.
        body: The body.
        answer: Told about the answer, as it comes; what it awaits holds the program up.

    Raises:
        StreamClosedError: The edge is gone, or it was called off.
        HTTPInputError: The answer is malformed.
    """
    try:
        parameters = HTTP1ConnectionParameters(no_keep_alive=True, max_body_size=_LARGEST_ANSWER_BYTES)
        connection = HTTP1Connection(stream, is_client=True, params=parameters)
        if body or request.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(len(body))
        headers["Connection"] = "close"
        await connection.write_headers(request, headers, body)
        connection.finish()
        if not await connection.read_response(answer):
            raise HTTPInputError("The answer is malformed.")
    finally:
        stream.close()


class SocketResolver(Resolver):
    """Every name is the edge's socket.

    Args:
        address: Where to connect to it.
    """

    def initialize(self, address: str) -> None:
        """Keep the address; tornado makes its configurable classes this way."""
        self._address = address

    async def resolve(self, host: str, port: int, family: int = 0) -> list[tuple[int, Any]]:
        """The socket, whatever is asked for."""
        del host, port, family
        return [(socket.AF_UNIX, self._address)]
