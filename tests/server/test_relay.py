from __future__ import annotations

import pytest
from tornado.httputil import HTTPHeaders

from loopat_jupyter.server.relay import POLICY, browser_headers, program_headers, program_uri, relocated, ticket

HOST, PREFIX = "bikes.localhost", "/base/loopat/port/x/8000"


def headers(*pairs: tuple[str, str]) -> HTTPHeaders:
    made = HTTPHeaders()
    for name, value in pairs:
        made.add(name, value)
    return made


@pytest.mark.abuse("A10")
def test_a_program_gets_nothing_of_jupyters():
    sent = headers(
        ("Host", "localhost:8888"), ("Cookie", "username-localhost-8888=secret; _xsrf=x"), ("Authorization", "token x"),
        ("X-XSRFToken", "x"), ("Referer", "http://localhost:8888/lab?token=x"), ("Origin", "null"),
        ("X-Forwarded-User", "ada"), ("Connection", "keep-alive, X-Thing"), ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "x"), ("Proxy-Authorization", "x"), ("X-Jupyter-Token", "x"),
        ("Accept", "text/html"), ("X-Mine", "1"), ("X-Mine", "2"), ("Content-Type", "text/plain"),
    )  # fmt: skip
    assert sorted(program_headers(sent, HOST, PREFIX).get_all()) == [
        ("Accept", "text/html"), ("Content-Type", "text/plain"), ("Host", HOST), ("Origin", f"http://{HOST}"),
        ("X-Forwarded-Prefix", PREFIX), ("X-Mine", "1"), ("X-Mine", "2"),
    ]  # fmt: skip


def test_a_page_of_a_program_does_nothing_in_jupyters_name():
    sent = headers(
        ("Set-Cookie", "_xsrf=mine; Path=/"), ("Content-Security-Policy", "default-src *"),
        ("Strict-Transport-Security", "max-age=1"), ("Access-Control-Allow-Origin", "*"),
        ("Service-Worker-Allowed", "/"), ("Clear-Site-Data", '"*"'),
        ("Referrer-Policy", "unsafe-url"), ("Content-Type", "text/html"), ("Location", "/there"), ("ETag", '"1"'),
    )  # fmt: skip
    assert sorted(browser_headers(sent, HOST, PREFIX).get_all()) == [
        ("Content-Security-Policy", "default-src *"), ("Content-Security-Policy", POLICY),
        ("Content-Type", "text/html"),
        ("Etag", '"1"'), ("Location", f"{PREFIX}/there"), ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    ]  # fmt: skip
    assert "allow-same-origin" not in POLICY


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        ("/there?a=1#b", f"{PREFIX}/there?a=1#b"),
        (f"http://{HOST}:7788/there", f"{PREFIX}/there"),
        ("there", "there"),
        ("?a=1", "?a=1"),
        ("https://example.org/there", "https://example.org/there"),
        ("//example.org/there", "//example.org/there"),
        ("http://[::1/", "http://[::1/"),
    ],
)
def test_redirects_stay_at_the_program(location: str, seen: str):
    assert relocated(location, HOST, PREFIX) == seen


@pytest.mark.parametrize(
    ("path", "query", "uri"),
    [
        ("", "", "/"),
        ("/a%20b/..", "x=1&y", "/a%20b/..?x=1&y"),
        ("//example.org/x", "", "/example.org/x"),
        ("@example.org/", "", "/@example.org/"),
        ("/x", "a=1&token=secret&b=", "/x?a=1&b="),
        ("/x", "token=secret", "/x"),
        ("/x", "mytoken=1", "/x?mytoken=1"),
    ],
)
def test_what_a_program_is_asked_for_is_a_path_of_its_own(path: str, query: str, uri: str):
    assert program_uri(path, query) == uri


def test_a_ticket_is_for_one_port_of_one_loop_of_one_server():
    tickets = {ticket(secret, loop, port) for secret in (b"a", b"b") for loop in ("x", "y") for port in (1, 2)}
    assert len(tickets) == 8
    assert {len(each) for each in tickets} == {40}
