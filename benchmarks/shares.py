"""Shared ports: through the edge, against a port that podman publishes from the loop itself, and through Jupyter."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.report import Row
from benchmarks.scene import timed
from benchmarks.served import serve
from loopat_jupyter.shares import change_share, look_at_share
from loopat_jupyter.values import Share
from tests.jupyter_process import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.scene import Scene
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.values import ShareMode

PORT = 8000
CLIENTS = 16
REQUESTS = 3000
REQUESTS_OF_JUPYTER = 320
PAGE_BYTES = 1024
MEGABYTES = 20
TIMEOUT_S = 60

PROGRAM = f"""
import asyncio

def answer(size_bytes):
    head = "HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: %d\\r\\n\\r\\n" % size_bytes
    return head.encode() + b"x" * size_bytes

PAGE, LARGE = answer({PAGE_BYTES}), answer({MEGABYTES}_000_000)

class Answers(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.seen = transport, b""

    def data_received(self, data):
        self.seen += data
        while b"\\r\\n\\r\\n" in self.seen:
            request, _, self.seen = self.seen.partition(b"\\r\\n\\r\\n")
            self.transport.write(LARGE if request.startswith(b"GET /large ") else PAGE)

async def main():
    await asyncio.get_running_loop().create_server(Answers, "0.0.0.0", {PORT})
    await asyncio.Event().wait()

asyncio.run(main())
"""
"""As little as a web server can be, so that the way to it is what is measured."""


async def requests(scene: Scene, rounds: int) -> Row:
    """Requests per second of clients that keep their connections."""
    floor: list[float] = []
    ours: list[float] = []
    async with shown(scene, "ephemeral") as published, shown(scene, "port") as through_the_edge:
        for number in range(rounds):
            turns = [(floor, published), (ours, through_the_edge)]
            for samples, url in turns if number % 2 else reversed(turns):
                samples.append(await _per_second(url, REQUESTS))
    return Row("requests to a shared port", "`podman -p`", floor, ours, "/s", "≥ 0.8")


async def through_jupyter(scene: Scene, rounds: int) -> list[Row]:
    """The same page through the Jupyter server: against a file that the server has itself, and against the edge."""
    stock: list[float] = []
    relayed: list[float] = []
    edge: list[float] = []
    whole: list[float] = []
    scene.outside.joinpath("page").write_bytes(b"x" * PAGE_BYTES)
    async with shown(scene, "port") as through_the_edge, serve(scene.outside) as place:
        (record,) = [each for each in scene.manager.store.readable() if each.share.mode == "port"]
        page = f"{place.server.url}loopat/port/{record.id}/{PORT}/"
        for number in range(rounds):
            turns = [(stock, f"{place.server.url}files/page"), (relayed, page)]
            for samples, url in turns if number % 2 else reversed(turns):
                samples.append(await _per_second(url, REQUESTS_OF_JUPYTER))
            turns = [(edge, through_the_edge), (whole, page)]
            for samples, url in turns if number % 2 else reversed(turns):
                with timed(samples):
                    await _client(f"{url}large", 1)
    return [
        Row("requests to a shared port through Jupyter", "a file that Jupyter serves", stock, relayed, "/s", "≥ 0.8"),
        Row(f"{MEGABYTES} MB of a shared port through Jupyter", "through the edge", edge, whole, "ms", "≤ 2"),
    ]


@contextlib.asynccontextmanager
async def shown(scene: Scene, mode: ShareMode) -> AsyncIterator[str]:
    """A loop with a web server that is shared; where it answers.

    Args:
        scene: Where to.
        mode: How it is shared.
    """
    manager = scene.manager
    record: LoopRecord = manager.create(title=f"shared {mode}")
    await change_share(manager, record, Share(mode=mode, port=PORT))
    record = manager.store.read(record.id)
    running = await manager.start(record)
    await manager.engine.run("exec", "--detach", running.name, "python3", "-c", PROGRAM)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            found = await look_at_share(manager, record)
            while found.state != "ready" or found.url is None:
                await asyncio.sleep(0.1)
                found = await look_at_share(manager, record)
        yield found.url
    finally:
        await change_share(manager, manager.store.read(record.id), Share(mode="off"))
        await manager.sandboxes.remove(record.id)


async def _per_second(url: str, count: int) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(_client(url, count // CLIENTS) for _ in range(CLIENTS)))
    return count / (time.perf_counter() - began)


async def _client(url: str, count: int) -> None:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.port)
    token = f"Authorization: token {TOKEN}\r\n" if parts.hostname == "127.0.0.1" else ""
    request = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n{token}\r\n".encode()
    for _ in range(count):
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200 "), head
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
    writer.close()
