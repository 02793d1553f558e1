"""Shared ports through the Jupyter server, on real podman."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import pytest
from playwright.async_api import async_playwright
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from loopat_jupyter.sandbox.process import exec_roots
from loopat_jupyter.server.handlers import ports
from loopat_jupyter.server.relay import POLICY
from loopat_jupyter.sharing.edge import Edge
from loopat_jupyter.values import Share
from tests.conftest import add_loop, new_workspace
from tests.labextension.browser import CHROMIUM, OPTIONS
from tests.sharing.conftest import serve, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace

SLOW = {"request_timeout": 100}


@pytest.fixture(scope="module")
def workspace(workspace_of_module: Workspace) -> Workspace:
    return workspace_of_module


@pytest.fixture(scope="module")
def shared(workspace: Workspace) -> LoopRecord:
    return add_loop(workspace, "relayed")


@pytest.fixture
async def loop(real_image: str, api: Any, jp_serverapp: Any, shared: LoopRecord, workspace: Workspace) -> str:
    """The loop of the module, with a program that is shared by name at port 8000."""
    found = shared.id
    manager = jp_serverapp.web_app.settings["loopat_service"].manager
    running = await manager.use(shared)
    if not exec_roots(running.init_pid):
        await serve(manager, shared, running)
    shown = await api("PUT", "loops", found, "share", send={"mode": "port", "port": 8000}, **SLOW)
    assert shown.body["jupyter_path"] == f"loopat/port/{found}/8000/"
    return found


@pytest.fixture
def get(http_server_client: Any, jp_base_url: str, jp_auth_header: dict[str, str]) -> Any:
    async def fetch(path: str, *, known: bool = True, headers: dict[str, str] | None = None, **options: Any) -> Any:
        sent = {**(jp_auth_header if known else {}), **(headers or {})}
        return await http_server_client.fetch(
            path if path.startswith(jp_base_url) else jp_base_url + path,
            headers=sent, raise_error=False, follow_redirects=False, allow_nonstandard_methods=True, **options,
        )  # fmt: skip

    return fetch


@pytest.mark.abuse("A9")
@pytest.mark.podman
async def test_a_shared_port_opens_through_jupyter(loop: str, get: Any, jp_serverapp: Any) -> None:
    jp_base_url = jp_serverapp.base_url
    base = f"loopat/port/{loop}/8000"
    token = jp_serverapp.identity_provider.token
    answer = await get(f"{base}/some/p%20th?x=1&token={token}", headers={"Cookie": "_xsrf=1; username=me"})
    assert answer.code == 200
    body = json.loads(answer.body)
    assert (body["loop"], body["uri"]) == ("relayed", "/some/p%20th?x=1")
    assert not {"Cookie", "Authorization", "Referer"} & set(body["headers"])
    assert token not in json.dumps(body)
    assert answer.headers.get_list("Content-Security-Policy") == [POLICY]
    assert not any("stolen" in cookie for cookie in answer.headers.get_list("Set-Cookie"))

    # Nobody else comes in, and nothing else is reached.
    assert (await get(f"{base}/", known=False)).code in (302, 403)
    assert (await get(f"{base}/", known=False, method="POST", body=b"")).code == 403
    for port in ("8001", "22", "8888", "0", "99999", str(jp_serverapp.port)):
        refused = await get(f"loopat/port/{loop}/{port}/")
        assert (refused.code, f"The loop does not share port {port}." in refused.body.decode()) == (404, True)
    for place in (f"{base}@169.254.169.254/", f"loopat/port/{loop}/8000.x/", "loopat/port/localhost/8000/"):
        # Jupyter itself takes the slash away from what nobody knows.
        assert (await get(place.removesuffix("/"))).code == 404
    moved = await get(f"{base}/moved")
    assert moved.headers["Location"] == f"{jp_base_url}{base}/there"
    assert json.loads((await get(f"{base}//169.254.169.254/x")).body)["uri"] == "/169.254.169.254/x"


@pytest.mark.podman
async def test_a_browser_that_leaves_ends_what_it_asked_for(
    loop: str, jp_serverapp: Any, http_server_port: Any, workspace: Workspace
) -> None:
    said = workspace.workdir(loop).joinpath("ready")
    path = f"{jp_serverapp.base_url}loopat/port/{loop}/8000/silent?token={jp_serverapp.identity_provider.token}"
    reader, writer = await asyncio.open_connection("127.0.0.1", http_server_port[1])
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    before = said.read_text()
    writer.close()
    await until(lambda: said.read_text() == f"{before}left\n")


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket of the host to which a link in the place of the edge's leads."""
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)
        listener.bind("host.sock")
        listener.listen()
        listener.setblocking(False)
        link = tmp_path / "http.sock"
        link.symlink_to(tmp_path / "host.sock")
        monkeypatch.setattr(Edge, "socket", link)
        yield listener


async def test_a_link_in_place_of_the_socket_of_the_edge_is_not_followed(
    followed: socket.socket, get: Any, jp_serverapp: Any, jp_auth_header: dict[str, str]
) -> None:
    manager = jp_serverapp.web_app.settings["loopat_service"].manager
    record = manager.create(title="linked")
    manager.store.write(msgspec.structs.replace(record, share=Share(mode="port", port=8000)))
    path = f"loopat/port/{record.id}/8000/x"
    assert (await get(path)).code == 502
    url = f"ws://127.0.0.1:{jp_serverapp.port}{jp_serverapp.base_url}{path}"
    with pytest.raises(HTTPClientError, match="502"):
        await websocket_connect(HTTPRequest(url, headers=jp_auth_header))
    with pytest.raises(BlockingIOError):
        followed.accept()


ELSEWHERE = (
    "169.254.169.254",
    "[::1]",
    "0x7f.1",
    "127.0.0.1:22",
    "@localhost",
    "a@b",
    "localhost",
    "::1",
    "2130706433",
)


@pytest.mark.abuse("A9")
@pytest.mark.podman
async def test_targets_come_from_the_loops_own_record_alone(loop: str, get: Any, api: Any, jp_serverapp: Any) -> None:
    other = (await api("POST", "loops", send={"title": "other"})).body["id"]
    for place in (*ELSEWHERE, str(jp_serverapp.port)):
        named = quote(place, safe="")
        for path in (f"loopat/port/{named}/8000", f"loopat/port/{loop}/{named}", f"loopat/port/{other}/8000/"):
            assert (await get(path)).code == 404, path
        for wrong in ({"port": place}, {"host": place}, {"target": place}, {"address": place}, {"alias": f"{place}@"}):
            settings = {"mode": "port", "port": 8000, **wrong}
            refused = await api("PUT", "loops", loop, "share", send=settings, **SLOW)
            assert (refused.status, refused.body["reason"]) == (400, "bad_input"), wrong
        # What a request says of hosts changes nothing: it is answered by the loop's own program.
        for headers in ({"X-Forwarded-Host": place}, {"X-Original-URL": f"http://{place}/"}):
            found = json.loads((await get(f"loopat/port/{loop}/8000/http://{named}/", headers=headers)).body)
            assert found["loop"] == "relayed"


@pytest.mark.abuse("A10")
@pytest.mark.podman
async def test_a_shared_page_sees_nothing_of_jupyter_in_a_real_browser(
    loop: str, api: Any, jp_serverapp: Any, jp_fetch: Any
) -> None:
    shown = (await api("GET", "loops", loop, "share")).body
    token = jp_serverapp.identity_provider.token
    server = f"http://localhost:{jp_serverapp.port}{jp_serverapp.base_url}"
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        try:
            page = await (await chromium.new_context()).new_page()
            # Logged in, as a person is.
            await page.goto(f"{server}api/contents?token={token}")
            assert any(cookie["name"].startswith("username-") for cookie in await page.context.cookies())
            for place in (shown["url"], server + shown["jupyter_path"]):
                await page.goto(f"{place}page.html?server={quote(server)}")
                await page.wait_for_function("document.title === 'done'")
                assert token not in page.url
                seen = json.loads(await page.text_content("#out"))
                assert (seen["own"], seen["socket"], seen["parent"]) == ("/data?x=1", "relayed hello", "alone")
                assert seen["api"] == "refused"
                assert seen["cookies"] in ("", "stolen=1", "refused")
                assert seen["storage"] in ("0", "refused")
            assert (seen["cookies"], seen["storage"]) == ("refused", "refused")
            stolen = [each for each in await page.context.cookies() if each["name"] == "stolen"]
            assert "localhost" not in {each["domain"] for each in stolen}
        finally:
            await chromium.close()
    # What it tried to make is not there.
    assert json.loads((await jp_fetch("api", "terminals")).body) == []


RAW = (
    (204, "204 No\r\nContent-Length: 5\r\n\r\nhello"),
    (204, "204 No\r\n\r\nhello"),
    (204, "204 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    (304, "304 Same\r\nContent-Length: 5\r\n\r\nhello"),
    (304, "304 Same\r\n\r\nhello"),
    (404, "404 No\r\nContent-Length: 0\r\n\r\n"),
    (500, "500 No\r\nContent-Length: 0\r\n\r\n"),
    (502, "200 OK\r\nContent-Length: 2305843009213693952\r\n\r\nok"),
    (502, "nothing that HTTP knows"),
)


@pytest.mark.podman
async def test_a_page_needs_no_cookies_and_says_when_the_loop_is_stopped(
    loop: str, get: Any, api: Any, jp_serverapp: Any, server_log: Any
) -> None:
    base, jp_base_url = f"loopat/port/{loop}/8000", jp_serverapp.base_url
    # A browser that shows it as a page is sent on to where the page needs no cookies.
    sent_on = await get(f"{base}/page?x=1", headers={"Sec-Fetch-Mode": "navigate"})
    assert sent_on.code == 302
    inside = sent_on.headers["Location"]
    assert inside.startswith(f"{jp_base_url}loopat/shared/{loop}/8000/")
    ticket = inside.split("/")[-2]
    page = await get(inside, known=False, headers={"Origin": "null"})
    assert (page.code, json.loads(page.body)["uri"]) == (200, "/page?x=1")
    assert page.headers.get_list("Content-Security-Policy") == [POLICY]
    assert page.headers["Access-Control-Allow-Origin"] == "null"
    big = b"x" * 3_000_000
    posted = await get(inside.replace("page", "post"), known=False, method="POST", body=big, headers={"Origin": "null"})
    assert (posted.code, posted.body) == (200, big)
    asked = await get(inside, known=False, method="OPTIONS", headers={"Access-Control-Request-Method": "PUT"})
    assert (asked.code, "PUT" in asked.headers["Access-Control-Allow-Methods"]) == (204, True)
    # Nothing that the program answers gets the ticket into the log.
    pages = inside.removesuffix("page?x=1")
    for status, answered in RAW:
        raw = f"{pages}raw?answer={quote(f'HTTP/1.1 {answered}')}"
        answer = await get(raw, known=False, headers={"Referer": f"http://localhost:8888{pages}"})
        assert (answer.code, answered) == (status, answered)
    for path in (f"{base}0/", pages.replace("/8000/", "/8001/")):
        await get(path, headers={"Referer": f"http://localhost:8888{pages}"})
    assert "/8000/[ticket]/raw" in server_log.text
    assert "Uncaught exception" not in server_log.text
    assert (await get(inside, known=False, method="PROPFIND")).code == 405
    assert ticket not in server_log.text

    wrong = inside.replace(ticket, "0" * 40)
    assert (await get(wrong, known=False)).code == 403
    again = await get(wrong, known=False, headers={"Sec-Fetch-Mode": "navigate"})
    assert (again.code, again.headers["Location"]) == (302, f"{jp_base_url}{base}/page?x=1")
    assert (await get(inside.replace("/8000/", "/8001/"), known=False)).code == 403

    await api("POST", "loops", loop, "stop", **SLOW)
    answer = await get(f"{base}/")
    assert (answer.code, b"The program does not answer" in answer.body) == (502, True)
    assert answer.headers.get_list("Content-Security-Policy") == [POLICY]


@pytest.mark.podman
async def test_websockets_go_through_and_what_is_not_shared_any_more_is_gone(
    loop: str, get: Any, api: Any, jp_serverapp: Any, jp_auth_header: dict[str, str]
) -> None:
    base, jp_base_url, jp_http_port = f"loopat/port/{loop}/8000", jp_serverapp.base_url, jp_serverapp.port
    inside = (await get(f"{base}/page", headers={"Sec-Fetch-Mode": "navigate"})).headers["Location"]
    # Websockets, both ways in.
    for path, headers in (
        (f"{jp_base_url}{base}/echo", jp_auth_header),
        (inside.replace("page", "echo"), {"Origin": "null"}),
    ):
        url = f"ws://127.0.0.1:{jp_http_port}{path.partition('?')[0]}"
        connection = await websocket_connect(HTTPRequest(url, headers=headers))
        await connection.write_message("hello")
        assert await connection.read_message() == "relayed hello"
        connection.close()
        while await connection.read_message() is not None:
            pass
    url = f"ws://127.0.0.1:{jp_http_port}{jp_base_url}{base}/echo"
    with pytest.raises(HTTPClientError, match="302"):
        await websocket_connect(url)
    # Another site's page, in the browser of who is logged in.
    logged_in = await get(f"{base}/x?token={jp_serverapp.identity_provider.token}", known=False)
    cookie = "; ".join(each.partition(";")[0] for each in logged_in.headers.get_list("Set-Cookie"))
    assert (await get(f"{base}/x", known=False, headers={"Cookie": cookie})).code == 200
    foreign = HTTPRequest(url, headers={"Cookie": cookie, "Origin": "http://example.org"})
    with pytest.raises(HTTPClientError, match="403"):
        await websocket_connect(foreign)
    headers = {"Cookie": cookie, "Origin": "http://example.org"}
    assert (await get(f"{base}/x", known=False, headers=headers, method="POST", body=b"")).code in (403, 404)

    # What is too large is refused; what is not shared any more is gone at once.
    assert ports.MAX_BODY_BYTES == ports.RelayHandler.most_body_bytes == 64 * 2**20
    with pytest.MonkeyPatch.context() as smaller:
        smaller.setattr(ports, "MAX_BODY_BYTES", 2**20)
        smaller.setattr(ports.RelayHandler, "most_body_bytes", 2**20)
        too_large = await get(f"{base}/post", method="POST", body=b"x" * (2**20 + 1))
        assert too_large.code == 413
    await api("PUT", "loops", loop, "share", send={"mode": "off"}, **SLOW)
    assert (await get(f"{base}/")).code == 404
    assert (await get(inside, known=False)).code == 404


class TestWithoutAnEdge:
    @pytest.fixture
    def workspace(self, tmp_path: Path) -> Workspace:
        return new_workspace(tmp_path)

    async def test_nothing_hangs(self, get: Any, api: Any) -> None:
        loop = (await api("POST", "loops", send={"title": "a"})).body["id"]
        assert (await get(f"loopat/port/{loop}/8000/")).code == 404
        assert (await get("loopat/port/8c5a9ba2-6f3e-4c6f-9d5a-0d4f5b6c7d8e/8000/")).code == 404
