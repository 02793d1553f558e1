"""Many loops at once against a real server, each figure beside that of one loop in the same run.

python -m benchmarks.load                       100 running loops, 20 of them with a kernel
python -m benchmarks.load --loops 20 --kernels 5  a quick look
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import psutil

from benchmarks.scene import timed
from benchmarks.served import Place, serve, workspace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

AT_ONCE = 8
"""Requests that bring loops up side by side; podman takes fewer."""


class Figures(NamedTuple):
    """What was measured with some number of loops.

    Attributes:
        podman_ms: Times of `podman ps`, which the list cannot do without.
        list_ms: Times of the list of loops over REST.
        echo_ms: Times from a key to its echo, in a terminal of the first loop.
        exec_ms: Times of a command in the first loop.
        server_mib: Memory of the server, in MiB.
        loops_mib: Memory of everything that runs for the loops, kernels left out, in MiB.
    """

    podman_ms: list[float]
    list_ms: list[float]
    echo_ms: list[float]
    exec_ms: list[float]
    server_mib: float
    loops_mib: float


class Crowd:
    """The loops of one run.

    Args:
        place: Where they are.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.ids: list[str] = []
        self.start_ms: list[float] = []
        self.kernel_ms: list[float] = []

    async def grow(self, loops: int, kernels: int) -> None:
        """Start more loops, until there are so many; as many kernels in the last ones.

        Args:
            loops: Running loops there shall be.
            kernels: Kernels to start.
        """
        first = len(self.ids)
        await _side_by_side(self._start(number) for number in range(first, loops))
        await _side_by_side(self._kernel(loop_id) for loop_id in self.ids[len(self.ids) - kernels :])

    async def _start(self, number: int) -> None:
        server = self.place.server
        made = await server.api("POST", "loopat/api/loops", {"title": f"crowd {number}"})
        loop_id = made.body["id"]
        with timed(self.start_ms):
            started = await server.api("POST", f"loopat/api/loops/{loop_id}/start")
        assert started.status == 200, started
        self.ids.append(loop_id)

    async def _kernel(self, loop_id: str) -> None:
        server, workdir = self.place.server, self.place.manager.workspace.workdir(loop_id)
        with timed(self.kernel_ms):
            path = str(workdir.relative_to(self.place.folder))
            made = await server.api("POST", "api/kernels", {"name": "python3", "path": path})
            assert made.status == 201, made
            async with server.kernel(made.body["id"]) as kernel:
                assert (await kernel.run("6 * 7")).text == "42"

    async def measure(self, samples: int) -> Figures:
        """Measure with the loops that there are.

        Args:
            samples: Of each time.
        """
        server, loop_id = self.place.server, self.ids[0]
        figures = Figures([], [], [], [], *self._memory())
        for _ in range(samples):
            with timed(figures.podman_ms):
                await self.place.manager.sandboxes.containers()
            with timed(figures.list_ms):
                listed = await server.api("GET", "loopat/api/loops?limit=500")
            assert len(listed.body["loops"]) == len(self.ids)
        for _ in range(samples // 4):
            with timed(figures.exec_ms):
                ran = await server.api("POST", f"loopat/api/loops/{loop_id}/exec", {"argv": ["true"]})
            assert ran.body[-1] == {"exit_code": 0}
        opened = await server.api("POST", f"loopat/api/loops/{loop_id}/terminals", {})
        async with server.terminal(opened.body["name"]) as terminal:
            await terminal.run("stty -icanon; true")
            terminal.type("cat >/dev/null\r")
            await terminal.until("null\r\n")
            for number in range(samples):
                key = chr(ord("a") + number % 26)
                with timed(figures.echo_ms):
                    terminal.type(key)
                    await terminal.until(key)
        await server.api("DELETE", f"api/terminals/{opened.body['name']}")
        return figures

    def _memory(self) -> tuple[float, float]:
        server = psutil.Process(self.place.server.process.pid)
        name, loops_bytes = self.place.manager.workspace.name, 0
        for process in psutil.process_iter():
            try:
                # The monitor names the workspace; init and what sleeps are its children.
                if process.name() == "conmon" and name in " ".join(process.cmdline()):
                    family = [process, *process.children(recursive=True)]
                    loops_bytes += sum(one.memory_full_info().pss for one in family if "ipykernel" not in one.cmdline())
            except psutil.Error:
                continue
        return server.memory_info().rss / 2**20, loops_bytes / 2**20


async def _side_by_side(work: Iterable[Awaitable[None]]) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(each: Awaitable[None]) -> None:
        async with places:
            await each

    await asyncio.gather(*map(one, work))


def p95(samples: list[float]) -> float:
    """The time within which 95 of 100 were done.

    Args:
        samples: In milliseconds.
    """
    return statistics.quantiles(samples, n=20)[-1]


def table(alone: Figures, crowded: Figures, loops: int, kernels: int) -> str:
    """The figures side by side, as a Markdown table.

    Args:
        alone: With one loop.
        crowded: With all of them.
        loops: How many these are.
        kernels: How many of them have a kernel.
    """
    lines = [f"| what | 1 loop | {loops} loops, {kernels} kernels | ratio |", "|---|---:|---:|---:|"]
    rows: list[tuple[str, Callable[[Figures], float], str]] = [
        ("`podman ps`, p95", lambda found: p95(found.podman_ms), "ms"),
        ("list of loops over REST, p95", lambda found: p95(found.list_ms), "ms"),
        ("echo of a key in a terminal, p95", lambda found: p95(found.echo_ms), "ms"),
        ("a command, p95", lambda found: p95(found.exec_ms), "ms"),
        ("memory of the server", lambda found: found.server_mib, "MiB"),
        ("memory of all loops, without kernels", lambda found: found.loops_mib, "MiB"),
    ]
    for what, of, unit in rows:
        one, many = of(alone), of(crowded)
        lines.append(f"| {what} | {one:.1f} {unit} | {many:.1f} {unit} | {many / one:.2f} |")
    return "\n".join(lines)


async def load(loops: int, kernels: int, samples: int) -> str:
    """Start them all and measure; the table.

    Args:
        loops: How many run.
        kernels: How many of them have a kernel.
        samples: Of each time.
    """

    def say(what: str) -> None:
        print(f"{what} …", file=sys.stderr, flush=True)

    async with workspace("load") as folder, serve(folder) as place:
        crowd = Crowd(place)
        say("measuring one loop")
        await crowd.grow(1, 1)
        alone = await crowd.measure(samples)
        say(f"starting {loops - 1} more")
        began = time.monotonic()
        await crowd.grow(loops, kernels - 1)
        took_s = time.monotonic() - began
        say(f"measuring {loops} loops")
        crowded = await crowd.measure(samples)
        lines = [table(alone, crowded, loops, kernels), ""]
        lines.append(
            f"All of them came up within {took_s:.0f} s: a start took {statistics.median(crowd.start_ms):.0f} ms, a "
            f"kernel {statistics.median(crowd.kernel_ms):.0f} ms (medians, {AT_ONCE} at once)."
        )
        return "\n".join(lines)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--loops", type=int, default=100, help="how many run at once")
    parser.add_argument("--kernels", type=int, default=20, help="how many of them have a kernel")
    parser.add_argument("--samples", type=int, default=200, help="of each time")
    arguments = parser.parse_args()
    print(asyncio.run(load(arguments.loops, arguments.kernels, arguments.samples)))
    print(f"\n{len(os.sched_getaffinity(0))} cores; the machine may have had other work.")


if __name__ == "__main__":
    main()
