"""Two running loops that the tests of one module share, and clients of what they show."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.execution import start_detached
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.sandbox.process import Stem
from loopat_jupyter.shares import change_share, look_at_share
from loopat_jupyter.values import Share
from loopat_jupyter.workspace.config import Config, ImageConfig, ShareConfig
from loopat_jupyter.workspace.paths import Workspace, default_runtime_root
from tests.conftest import remove_from_podman
from tests.kernels.conftest import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tornado.httpclient import HTTPResponse

    from loopat_jupyter.models import LoopEvent, LoopRecord
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.values import Sharing

SERVER = r"""
import asyncio, sys

async def main():
    import tornado.web, tornado.websocket

    class Echo(tornado.websocket.WebSocketHandler):
        def check_origin(self, origin):
            return True

        async def on_message(self, message):
            await self.write_message(f"{sys.argv[1]} {message}")

    PAGE = '''<!doctype html><title>page</title><body><pre id="out"></pre><script src="script.js"></script>'''
    SCRIPT = '''
    const seen = {}, server = new URLSearchParams(location.search).get("server");
    async function attempt(name, work) {
      try { seen[name] = String(await work()); } catch (error) { seen[name] = "refused"; }
    }
    (async () => {
      await attempt("cookies", () => document.cookie);
      await attempt("storage", () => localStorage.length);
      await attempt("parent", () => parent === self ? "alone" : parent.document.title);
      await attempt("api", async () => {
        return (await (await fetch(server + "api/contents", { credentials: "include" })).text());
      });
      await attempt("write", async () => (await fetch(server + "api/terminals", { method: "POST", mode: "no-cors",
        credentials: "include" })).type);
      await attempt("own", async () => (await (await fetch("data?x=1")).json()).uri);
      await attempt("socket", () => new Promise((done, fail) => {
        const socket = new WebSocket(new URL("echo", location).href.replace("http", "ws"));
        socket.onopen = () => socket.send("hello");
        socket.onmessage = message => done(message.data);
        socket.onerror = fail;
      }));
      document.getElementById("out").textContent = JSON.stringify(seen);
      document.title = "done";
    })();
    '''

    class Page(tornado.web.RequestHandler):
        def get(self, kind):
            self.set_header("Content-Type", "text/html" if kind == "html" else "text/javascript")
            self.write(PAGE if kind == "html" else SCRIPT)

    class Main(tornado.web.RequestHandler):
        def get(self, path):
            self.set_header("Set-Cookie", "stolen=1")
            self.write({"loop": sys.argv[1], "uri": self.request.uri, "headers": dict(self.request.headers)})

        def post(self, path):
            self.write(self.request.body)

    class Silent(tornado.web.RequestHandler):
        async def get(self):
            self.left = asyncio.Event()
            self.set_header("Content-Type", "text/event-stream")
            await self.flush()
            await self.left.wait()
            print("left", flush=True)

        def on_connection_close(self):
            self.left.set()

    class Raw(tornado.web.RequestHandler):
        async def get(self):
            stream = self.detach()
            await stream.write(self.get_query_argument("answer", strip=False).encode())
            stream.close()

    app = tornado.web.Application(
        [
            ("/silent", Silent),
            ("/raw", Raw),
            ("/echo", Echo),
            (r"/(?:page|script)[.](html|js)", Page),
            ("/moved", tornado.web.RedirectHandler, {"url": "/there"}),
            ("/(.*)", Main),
        ]
    )
    app.listen(8000, "0.0.0.0", max_buffer_size=2**26)
    app.listen(8001, "127.0.0.1")

    class Upper(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data.upper())

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, address):
            self.transport.sendto(data.upper(), address)

    loop = asyncio.get_running_loop()
    await loop.create_server(Upper, "0.0.0.0", 9000)
    await loop.create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", 9000))
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Scene(NamedTuple):
    """Two loops with a program in each, and what happened."""

    manager: LoopManager
    one: LoopRecord
    two: LoopRecord
    events: list[LoopEvent]

    async def share(self, record: LoopRecord, **settings: object) -> Sharing:
        return await change_share(self.manager, self.manager.store.read(record.id), Share(**settings))

    async def look(self, record: LoopRecord) -> Sharing:
        return await look_at_share(self.manager, self.manager.store.read(record.id))

    async def serve(self, record: LoopRecord) -> None:
        """Have the loop's program run."""
        await serve(self.manager, record, await self.manager.use(record))

    async def clear(self) -> None:
        """Share nothing, and have nothing that shows it."""
        self.unshare()
        async with self.manager.edge.lock():
            await self.manager.edge.settle(print)

    def unshare(self) -> None:
        """Share nothing, as soon as somebody looks."""
        store = self.manager.store
        for record in (self.one, self.two):
            store.write(msgspec.structs.replace(store.read(record.id), share=Share()))

    async def names(self) -> list[str]:
        """What is there beside the sandboxes."""
        listed = await self.manager.engine.run(
            "ps", "--all", f"--filter=label=loopat.workspace={self.manager.workspace.name}", "--format={{.Names}}"
        )
        prefix = f"loopat-{self.manager.workspace.name}-"
        names = [name.removeprefix(prefix) for name in listed.stdout.decode().split()]
        return sorted(name for name in names if name.startswith(("edge", "files")))


async def serve(manager: LoopManager, record: LoopRecord, running: Running) -> None:
    """Start the program of a loop that runs; the file `ready` has what it says."""
    workdir = manager.workspace.workdir(record.id)
    workdir.joinpath("server.py").write_text(SERVER)
    said = workdir.joinpath("ready")
    said.unlink(missing_ok=True)
    spec = ExecSpec(argv=("sh", "-c", f"exec python3 server.py {record.title} >ready"), detach=True)
    started = await start_detached(manager.engine, running, Stem.new(manager.workspace.run(record.id), "x"), spec)
    if started.process is not None:
        started.process.close()
    await until(lambda: "ready" in said.read_text())


async def until(condition) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(60):
        while True:
            try:
                if condition():
                    return
            except OSError:
                pass
            await asyncio.sleep(0.02)


async def fetch(url: str, host: str | None = None, **options: object) -> HTTPResponse:
    """A request to the edge, whose names no resolver of the tests has to know."""
    _, _, rest = url.partition("://")
    name, _, path = rest.partition("/")
    port = name.rpartition(":")[2]
    request = HTTPRequest(
        f"http://127.0.0.1:{port}/{path}",
        headers={"Host": host or name, **options.pop("headers", {})},
        follow_redirects=False,
        connect_timeout=20,
        **options,
    )
    return await AsyncHTTPClient().fetch(request, raise_error=False)


@pytest.fixture(scope="module")
def shared_scene(sandbox_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    workspace = Workspace(tmp_path_factory.mktemp("sharing") / "workspace", default_runtime_root(os.getuid()))
    first = 20_000 + os.getpid() % 10_000
    config = Config(
        image=ImageConfig(use=sandbox_image), share=ShareConfig(port=first, port_range=f"{first + 200}-{first + 203}")
    )
    events: list[LoopEvent] = []
    manager = LoopManager(workspace, config, Podman("podman", os.environ), member="ada", on_event=events.append)
    scene = Scene(manager, manager.create(title="one"), manager.create(title="two"), events)

    async def begin() -> None:
        # A podman of its own: its places belong to the event loop that they are made in.
        fresh = LoopManager(workspace, config, Podman("podman", os.environ), member="ada")
        for record in (scene.one, scene.two):
            await scene._replace(manager=fresh).serve(record)

    in_thread(begin())
    yield scene
    remove_from_podman(workspace)
    shutil.rmtree(workspace.runtime, ignore_errors=True)


@pytest.fixture
async def scene(shared_scene: Scene) -> AsyncIterator[Scene]:
    """The two loops, sharing nothing; what showed the test before may be there yet, until something is shared."""
    found = shared_scene
    engine = Podman("podman", os.environ)
    manager = LoopManager(
        found.manager.workspace, found.manager.config, engine, member="ada", on_event=found.events.append
    )
    fresh = found._replace(manager=manager)
    found.events.clear()
    yield fresh
    fresh.unshare()


@pytest.fixture
async def no_edge(scene: Scene) -> AsyncIterator[None]:
    """Before the test and after it there is nothing beside the two loops."""
    await scene.clear()
    yield
    await scene.clear()
