"""Shared ports: requests per second through the edge, against a port that podman publishes from the loop itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.report import Row
from loopat_jupyter.shares import change_share, look_at_share
from loopat_jupyter.values import Share

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.scene import Scene
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.values import ShareMode

PORT = 8000
CLIENTS = 16
REQUESTS = 3000
TIMEOUT_S = 60

PROGRAM = f"""
import asyncio

ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: 1024\\r\\n\\r\\n" + b"x" * 1024

class Answers(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.seen = transport, b""

    def data_received(self, data):
        self.seen += data
        while b"\\r\\n\\r\\n" in self.seen:
            self.seen = self.seen.partition(b"\\r\\n\\r\\n")[2]
            self.transport.write(ANSWER)

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
                began = time.perf_counter()
                await asyncio.gather(*(_client(url, REQUESTS // CLIENTS) for _ in range(CLIENTS)))
                samples.append(REQUESTS / (time.perf_counter() - began))
    return Row("requests to a shared port", "`podman -p`", floor, ours, "/s", "≥ 0.8")


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


async def _client(url: str, count: int) -> None:
    host = urlsplit(url).netloc
    reader, writer = await asyncio.open_connection("127.0.0.1", int(host.rpartition(":")[2]))
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    for _ in range(count):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        await reader.readexactly(1024)
    writer.close()
