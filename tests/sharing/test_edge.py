"""What loops share, through a real edge.

The loops are shared by all tests, and so is the edge that a test leaves behind: the next one changes what it shows.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
import psutil
import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from loopat_jupyter.errors import BadInputError, ConflictError, EngineError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.shares import change_share
from loopat_jupyter.sharing import edge
from loopat_jupyter.sharing.containers import is_lacking
from loopat_jupyter.sharing.plan import edge_folder
from loopat_jupyter.values import Share
from tests.sharing.conftest import Scene, fetch, until

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

pytestmark = pytest.mark.podman


async def websocket(url: str, path: str):
    name = url.removeprefix("http://").rstrip("/")
    port = name.rpartition(":")[2]
    return await websocket_connect(HTTPRequest(f"ws://127.0.0.1:{port}/{path}", headers={"Host": name}))


async def test_a_link_in_place_of_its_socket_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"version")
        writer.close()

    monkeypatch.chdir(tmp_path)
    async with await asyncio.start_unix_server(answer, "own.sock"):
        (tmp_path / "link.sock").symlink_to("own.sock")
        assert await edge._ask(tmp_path / "own.sock") == b"version"
        assert await edge._ask(tmp_path / "link.sock") == b""


async def test_a_web_server_inside_is_found_by_name(scene: Scene):
    shown = await scene.share(scene.one, mode="port", port=8000)
    assert (shown.state, shown.url) == (
        "ready",
        f"http://{scene.one.id[:8]}.localhost:{scene.manager.config.share.port}/",
    )
    assert await scene.names() == ["edge"]
    answer = await fetch(shown.url + "some/path?x=1")
    body = msgspec.json.decode(answer.body)
    assert (answer.code, body["loop"], body["uri"]) == (200, "one", "/some/path?x=1")
    assert body["headers"]["Host"] == body["headers"]["X-Forwarded-Host"] == shown.url.split("/")[2]
    # The program is told who asks.
    assert body["headers"]["X-Forwarded-For"] == "127.0.0.1"
    big = b"x" * 3_000_000
    assert (await fetch(shown.url, method="POST", body=big)).body == big
    # What nginx would obey, the program cannot ask of it.
    obeyed = "X-Accel-Redirect: /.loopat/502.html\r\nX-Accel-Charset: koi8-r"
    raw = quote(f"HTTP/1.1 200 OK\r\n{obeyed}\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
    answer = await fetch(f"{shown.url}raw?answer={raw}")
    assert (answer.code, answer.body, answer.headers["Content-Type"]) == (200, b"ok", "text/plain; charset=utf-8")
    connection = await websocket(shown.url, "echo")
    await connection.write_message("hello")
    assert await connection.read_message() == "one hello"
    connection.close()
    # What cannot be shown changes nothing.
    scene.manager.edge._engine = scene.manager.engine.__class__("no-such-podman", {})
    with pytest.raises(Exception, match="There is no command"):
        await scene.share(scene.two, mode="port", port=8000)
    scene.manager.edge._engine = scene.manager.engine
    assert scene.manager.store.read(scene.two.id).share.mode == "off"
    assert (await fetch(shown.url)).code == 200


async def test_what_is_called_off_is_not_shared_later(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    begun = asyncio.Event()
    settle = scene.manager.edge.settle

    async def slow(on_progress):
        monkeypatch.setattr(scene.manager.edge, "settle", settle)
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(scene.manager.edge, "settle", slow)
    sharing = asyncio.create_task(scene.share(scene.two, mode="port", port=8000))
    await begun.wait()
    assert scene.manager.store.read(scene.two.id).share.mode == "port"
    sharing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sharing
    assert scene.manager.store.read(scene.two.id).share.mode == "off"


async def test_each_loop_has_a_name_that_is_nobody_elses_and_others_have_none(scene: Scene):
    one = await scene.share(scene.one, mode="port", port=8000, alias="first")
    two = await scene.share(scene.two, mode="port", port=8000)
    assert one.url.startswith("http://first.localhost:")
    with pytest.raises(ConflictError, match="'first' is that of loop 'one'"):
        await scene.share(scene.two, mode="static", alias="first")
    with pytest.raises(BadInputError, match="^alias: "):
        await scene.share(scene.two, mode="static", alias=scene.one.id[:8])
    assert scene.manager.store.read(scene.two.id).share == Share(mode="port", port=8000)
    assert [msgspec.json.decode((await fetch(each.url)).body)["loop"] for each in (one, two)] == ["one", "two"]
    for host in ("localhost", f"{scene.one.id[:8]}.localhost", "127.0.0.1", "[::1]", "0x7f.1", "169.254.169.254"):
        answer = await fetch(one.url, host)
        assert (answer.code, b"Nothing is shared here" in answer.body) == (404, True)
    # The request line names another place than the loop's own.
    for target in (b"http://169.254.169.254/latest", b"http://x@127.0.0.1:8888/", b"//[::1]:22/"):
        head = b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (target, one.url.split("/")[2].encode())
        answer = await asyncio.to_thread(tcp, port_of(one.url), head, half_close=False)
        assert any(words in answer for words in (b'"loop": "one"', b" 400 ", b"Nothing is shared here"))


async def ids(scene: Scene) -> str:
    found = await scene.manager.engine.run("inspect", "--format={{.Id}}", f"loopat-{scene.manager.workspace.name}-edge")
    return found.stdout.decode()


def port_of(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])


def tcp(port: int, data: bytes, *, half_close: bool = True) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        whole = b""
        while piece := connection.recv(65536):
            whole += piece
    return whole


def udp(port: int, data: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(1)
        for _ in range(30):
            # A datagram may get lost.
            connection.sendto(data, ("127.0.0.1", port))
            try:
                return connection.recv(65536)
            except TimeoutError:
                continue
    raise AssertionError("no answer")


async def may_do_nothing(scene: Scene) -> None:
    """The containers have no rights, and see what they show."""
    for name in await scene.names():
        listed = await scene.manager.engine.run("inspect", f"loopat-{scene.manager.workspace.name}-{name}")
        found = msgspec.json.decode(listed.stdout)[0]
        assert found["EffectiveCaps"] in (None, [])
        assert found["HostConfig"]["ReadonlyRootfs"]
        sources = [mount["Source"] for mount in found["Mounts"] if mount["Type"] == "bind"]
        edge = edge_folder(scene.manager.workspace)
        workdir = scene.manager.workspace.workdir(scene.one.id)
        assert sorted(sources) == sorted(map(str, (edge / "conf", edge / "run") if name == "edge" else (workdir,)))


async def test_files_are_served_and_nothing_that_is_hidden_or_leads_out(scene: Scene):
    workdir = scene.manager.workspace.workdir(scene.one.id)
    files = {
        "index.html": "front", "data/table.csv": "a,b", "data/index.html": "inner", "empty/x.txt": "x", "ü ä.txt": "u",
        ".git/config": "no", ".env": "no", ".env.local": "no", ".ssh/id_rsa": "no", ".claude/x": "no", ".hidden": "no",
        "node_modules/a/index.js": "no", "data/.git/config": "no", "data/node_modules/b.js": "no",
    }  # fmt: skip
    for name, text in files.items():
        workdir.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        workdir.joinpath(name).write_text(text)
    workdir.joinpath("private.txt").write_text("mine")
    workdir.joinpath("private.txt").chmod(0o600)
    for name, target in (
        ("passwd", "/etc/passwd"), ("up", ".."), ("home", "../home"), ("inside", "data/table.csv"),
        ("folder", "data"), ("dot", ".git"), ("conf", "/etc/loopat/static.conf"),
    ):  # fmt: skip
        workdir.joinpath(name).unlink(missing_ok=True)
        workdir.joinpath(name).symlink_to(target)
    shown = await scene.share(scene.one, mode="static")
    assert (shown.state, shown.port) == ("ready", None)
    assert await scene.names() == ["edge", f"files-{scene.one.id.replace('-', '')[:12]}"]
    await may_do_nothing(scene)
    seen = {
        "": "front", "index.html": "front", "data/table.csv": "a,b", "data/": "inner", "private.txt": "mine",
        "%C3%BC%20%C3%A4.txt": "u", "data/../index.html": "front",
    }  # fmt: skip
    for path, text in seen.items():
        answer = await fetch(shown.url + path)
        assert (answer.code, answer.body.decode()) == (200, text), path
    hidden = [name for name, text in files.items() if text == "no"]
    odd = [
        ".git/", "%2egit/config", ".%67it/config", "data/..%2f.git/config", "data/%2e%2e/.git/config", "/.git/config",
        "./.git/config", "data//.git//config", "%2Egit%2Fconfig", "..%2f..%2fetc/passwd", "../meta.json",
        "%2e%2e/meta.json", "..%252fmeta.json", "data/../../meta.json", "node_modules", "node_modules/",
        "node%5fmodules/a/index.js",
        "empty/", "empty", "passwd", "up/", "up/meta.json", "home/", "inside", "folder/table.csv", "dot/config", "conf",
        "404.html", ".loopat/files.html", "nothing", ".git%00", "%00",
    ]  # fmt: skip
    for path in hidden + odd:
        answer = await fetch(shown.url + path)
        expected = (301,) if path == "empty" else (400, 404)
        assert answer.code in expected, (path, answer.body)
        assert answer.body != b"no", path
        assert b"root:" not in answer.body, path
        if answer.code == 404:
            # The same words for what is hidden, for what is not there, and for a folder without an index.
            assert b"A loop shares files here" in answer.body, path
    workdir.joinpath("index.html").unlink()
    bare = await fetch(shown.url)
    assert (bare.code, b"a folder without an\n<code>index.html</code>" in bare.body) == (404, True)
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = await fetch(shown.url, method=method, allow_nonstandard_methods=True)
        assert answer.code == 405
    # What is written inside shows at once, read-only as it is served.
    running = await scene.manager.use(scene.one)
    await scene.manager.engine.run("exec", running.name, "sh", "-c", "echo new >data/new.txt")
    assert (await fetch(shown.url + "data/new.txt")).body == b"new\n"


async def test_files_are_shared_while_the_sandbox_is_stopped_and_a_port_says_that_it_is(scene: Scene):
    files = await scene.share(scene.one, mode="static")
    await scene.manager.stop(scene.one)
    try:
        assert b"asyncio" in (await fetch(files.url + "server.py")).body
        port = await scene.share(scene.one, mode="port", port=8000)
        assert port.state == "stopped"
        answer = await fetch(port.url + "deep/path", method="POST", body=b"x")
        assert (answer.code, b"The program does not answer" in answer.body) == (502, True)
        assert b"stop the loop and start it" in answer.body
    finally:
        await scene.serve(scene.one)
    assert (await scene.look(scene.one)).state == "ready"
    assert (await fetch(port.url)).code == 200


async def test_a_port_at_which_nobody_is_reached_says_so(scene: Scene):
    assert (await scene.share(scene.one, mode="port", port=8003)).state == "not_listening"
    shown = await scene.share(scene.one, mode="port", port=8001)
    assert shown.state == "not_listening"
    found = {(port.port, port.protocol): port.reachable for port in shown.listening}
    expected = {(8000, "tcp"): True, (8001, "tcp"): False, (9000, "tcp"): True, (9000, "udp"): True}
    assert {port: found.get(port) for port in expected} == expected
    assert (await fetch(shown.url)).code == 502


async def test_ports_of_the_host_lead_to_ports_inside(scene: Scene):
    first = int(scene.manager.config.share.port_range.partition("-")[0])
    over_tcp = await scene.share(scene.one, mode="direct", port=9000)
    over_udp = await scene.share(scene.two, mode="direct", port=9000, protocol="udp")
    assert (over_tcp.url, over_tcp.state) == (f"tcp://127.0.0.1:{first}", "ready")
    assert (over_udp.url, over_udp.state) == (f"udp://127.0.0.1:{first + 1}", "ready")
    assert await asyncio.to_thread(tcp, first, b"hello") == b"HELLO"
    assert await asyncio.to_thread(udp, first + 1, b"hello") == b"HELLO"
    # Who asks again keeps the port; the other one's is refused.
    assert (await scene.share(scene.one, mode="direct", port=8000)).public_port == first
    with pytest.raises(ConflictError, match="is that of loop 'two'"):
        await scene.share(scene.one, mode="direct", port=9000, public_port=first + 1)
    assert (await scene.share(scene.one, mode="direct", port=9000, public_port=first + 3)).public_port == first + 3
    assert await asyncio.to_thread(tcp, first + 3, b"hello") == b"HELLO"


async def test_what_one_loop_shares_disturbs_nobody_who_is_connected_to_another(scene: Scene):
    one = await scene.share(scene.one, mode="port", port=8000)
    connection = await websocket(one.url, "echo")
    names = await ids(scene)
    for settings in (
        {"mode": "port", "port": 8000},
        {"mode": "static"},
        {"mode": "direct", "port": 9000},
        {"mode": "off"},
        {"mode": "port", "port": 8000, "alias": "second"},
    ):
        await scene.share(scene.two, **settings)
        await connection.write_message("still here")
        assert await connection.read_message() == "one still here"
    assert await ids(scene) == names
    connection.close()
    await scene.share(scene.two, mode="off")
    await scene.share(scene.one, mode="off")
    assert await scene.names() == []
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(tcp, port_of(one.url), b"GET / HTTP/1.0\r\n\r\n")


@pytest.mark.fault("F18")
@pytest.mark.usefixtures("no_edge")
async def test_ports_that_somebody_has_are_left_out_and_lost_ones_are_mended(scene: Scene):
    config = scene.manager.config.share
    first = int(config.port_range.partition("-")[0])
    with socket.create_server(("127.0.0.1", first)), socket.create_server(("::1", config.port), family=socket.AF_INET6):
        shown = await scene.share(scene.one, mode="direct", port=9000)
        other = await scene.share(scene.two, mode="port", port=8000)
        assert (shown.public_port, port_of(other.url)) == (first + 1, config.port + 1)
        with pytest.raises(ConflictError, match="taken by somebody else"):
            await scene.share(scene.one, mode="direct", port=9000, public_port=first)
    # The edge dies, and somebody else takes the port before it is there again.
    await scene.manager.engine.run("rm", "--force", "--time=0", f"loopat-{scene.manager.workspace.name}-edge")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
        thief.bind(("0.0.0.0", first + 1))
        await scene.manager.edge.keep()
        again = await scene.look(scene.one)
    assert again.public_port == first
    assert await asyncio.to_thread(tcp, first, b"hello") == b"HELLO"
    assert [event.message for event in scene.events if event.action == "warning"] == [
        f"Port {first + 1} of this machine is taken by somebody else. The loop is shared at {first} now."
    ]


@pytest.mark.fault("F18")
@pytest.mark.usefixtures("no_edge")
async def test_a_port_taken_between_the_look_and_the_start_is_mended(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    config = scene.manager.config.share
    first = int(config.port_range.partition("-")[0])
    looks = []

    def blind() -> frozenset[int]:
        looks.append(1)
        return frozenset()

    monkeypatch.setattr("loopat_jupyter.sharing.edge.used_ports", blind)
    with socket.create_server(("127.0.0.1", first)), socket.create_server(("127.0.0.1", config.port)):
        shown = await scene.share(scene.one, mode="direct", port=9000)
    assert shown.public_port == first + 1
    assert await asyncio.to_thread(tcp, first + 1, b"hello") == b"HELLO"
    # Nothing half-made stays of the attempts before.
    assert await scene.names() == ["edge"]


async def test_podman_publishes_a_port_of_the_sandbox_itself(scene: Scene):
    shown = await scene.share(scene.two, mode="ephemeral", port=9000)
    assert (shown.state, shown.url) == ("restart_needed", None)
    status = await scene.manager.sandboxes.status(scene.manager.store.read(scene.two.id))
    assert status.restart_needed
    assert await scene.names() == []
    await scene.manager.start(scene.manager.store.read(scene.two.id), fresh=True)
    await scene.serve(scene.manager.store.read(scene.two.id))
    shown = await scene.look(scene.two)
    assert shown.state == "ready"
    assert await asyncio.to_thread(tcp, port_of(shown.url), b"hello") == b"HELLO"


async def test_archived_and_deleted_loops_show_nothing_even_where_no_sandbox_ever_ran(
    workspace: Workspace, sandbox_image: str, shared_scene: Scene
):
    engine = Podman("podman", os.environ)
    manager = LoopManager(workspace, shared_scene.manager.config, engine, member="ada")
    record = manager.create(title="third")
    scene = Scene(manager, record, record, [])
    manager.workspace.workdir(record.id).joinpath("index.html").write_text("third")
    # The network is not there any more, as an image may not be: podman says so in words that are known.
    (workspace.locks / "network.lock").touch()
    shown = await scene.share(record, mode="static", alias="third")
    assert (await fetch(shown.url)).body == b"third"
    # Another one, of which nobody has to run anything, is shared all the while.
    other = manager.create(title="fourth")
    await scene.share(other, mode="port", port=8000)
    with pytest.raises(EngineError) as missed:
        await engine.run("run", "--pull=never", f"localhost/none-{workspace.name}")
    assert is_lacking(missed.value)
    await manager.update(record.id, {"archived": True})
    assert await scene.names() == ["edge"]
    assert (await fetch(shown.url)).code == 404
    assert (await scene.look(record)).state == "archived"
    with pytest.raises(ConflictError, match="is archived"):
        await scene.share(record, mode="static")
    # It was archived while it was being shared.
    with pytest.raises(ConflictError, match="is archived"):
        await change_share(manager, record, Share(mode="direct", port=9000))
    await manager.update(record.id, {"archived": False})
    assert (await fetch(shown.url)).body == b"third"
    await manager.delete(record.id)
    assert await scene.names() == ["edge"]
    assert (await fetch(shown.url)).code == 404
    await manager.delete(other.id)
    assert await scene.names() == []
    assert manager.edge.shared.ids() == frozenset()


async def test_whatever_dies_or_is_wiped_comes_back_and_nothing_else_is_asked(scene: Scene):
    one = await scene.share(scene.one, mode="port", port=8000)
    two = await scene.share(scene.two, mode="static")
    name = scene.manager.workspace.name
    for victim in ("edge", scene.two.id):
        os.kill(scene.manager.edge._notes.pid(victim), signal.SIGKILL)
        await until(lambda: not scene.manager.edge._notes.up_to_date(scene.manager.edge._wanted()))
        await scene.manager.edge.keep()
        assert [(await fetch(url)).code for url in (one.url, two.url + "server.py")] == [200, 200]
    # One that somebody starts by hand has no port of the host.
    await scene.manager.engine.run("restart", "--time=0", f"loopat-{name}-edge", ok=(0, 125))
    await until(lambda: not scene.manager.edge._notes.up_to_date(scene.manager.edge._wanted()))
    await scene.manager.edge.keep()
    assert (await fetch(one.url)).code == 200
    # Without podman's monitor it goes on, follows what changes, and ends.
    await kill_monitor(scene)
    moved = await scene.share(scene.one, mode="port", port=8000, alias="moved")
    assert [(await fetch(url)).code for url in (moved.url, one.url)] == [200, 404]
    shutil.rmtree(edge_folder(scene.manager.workspace))
    await scene.manager.edge.keep()
    assert (await fetch(moved.url)).code == 200
    engine = scene.manager.edge._engine
    scene.manager.edge._engine = None
    await scene.manager.edge.keep()
    scene.manager.edge._engine = engine


async def kill_monitor(scene: Scene) -> None:
    monitor = psutil.Process(scene.manager.edge._notes.pid("edge")).parent()
    assert monitor.name() == "conmon"
    monitor.kill()
    await until(lambda: not monitor.is_running())


async def test_what_is_left_over_is_found(scene: Scene):
    edge, store = scene.manager.edge, scene.manager.store
    await scene.share(scene.two, mode="static")
    assert [left for left in await scene.manager.upkeep.gc(remove=False) if left.kind != "image"] == []
    edge.shared.file.write_text("[]")
    left = [each for each in await scene.manager.upkeep.gc(remove=False) if each.kind == "container"]
    assert sorted(each.key for each in left) == sorted(["edge", scene.two.id])
    edge.shared.add(scene.two.id)
    await edge.close()
    assert await scene.names() == []
    store.write(msgspec.structs.replace(store.read(scene.two.id), share=Share(mode="port", port=8000)))
    await edge.keep()
    assert await scene.names() == ["edge"]


async def test_many_changes_at_once_end_as_the_last_one_says(scene: Scene):
    changes = [
        scene.share(record, mode="port", port=8000, alias=f"{record.title}-{number}")
        for number in range(3)
        for record in (scene.one, scene.two)
    ]
    await asyncio.gather(*changes)
    for record in (scene.one, scene.two):
        shown = await scene.look(record)
        assert msgspec.json.decode((await fetch(shown.url)).body)["loop"] == record.title
    assert await scene.names() == ["edge"]
