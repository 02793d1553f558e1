"""Whole lives of loops against a real server, counting what stays behind; then faults, and how fast they heal.

python -m benchmarks.soak                     1,000 cycles or an hour, whichever is first
python -m benchmarks.soak --cycles 50         a quick look
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from benchmarks.served import Place, podman, serve, workspace
from loopat_jupyter.sandbox.process import exec_roots

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SETTLE_S = 5.0
"""Time for what ends in the background to have ended, before it counts as left behind."""

RECOVERY_S = 60.0


class Count(NamedTuple):
    """What is there at one moment."""

    containers: int
    networks: int
    volumes: int
    processes: int
    descriptors: int
    sockets: int
    files: int


def count(place: Place) -> Count:
    """Look at everything that a loop could leave behind."""
    home, pid = place.manager.workspace, place.server.process.pid
    ours = f"label=loopat.workspace={home.name}"
    runtime = [path for root in (home.runtime, place.runtime) for path in root.rglob("*")]
    return Count(
        containers=len(podman("ps", "--all", "--quiet", f"--filter={ours}")),
        networks=len(podman("network", "ls", "--quiet", f"--filter=name=^loopat-{home.name}$")),
        volumes=len(podman("volume", "ls", "--quiet", "--filter=dangling=true")),
        processes=processes(place),
        descriptors=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        sockets=sum(path.is_socket() for path in runtime),
        files=sum(1 for _ in home.loops.iterdir()) + len(runtime),
    )


def processes(place: Place) -> int:
    """Processes of the server, and those of podman and of loops that name the workspace."""
    ours = place.manager.workspace.name.encode()
    found = len(psutil.Process(place.server.process.pid).children(recursive=True))
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found += ours in (entry / "cmdline").read_bytes()
    return found


async def cycle(place: Place, number: int) -> None:
    """Create, kernel, terminal, stop, delete."""
    server = place.server
    made = await server.api("POST", "loopat/api/loops", {"title": f"cycle {number}"})
    loop_id = made.body["id"]
    started = await server.api("POST", f"loopat/api/loops/{loop_id}/start")
    assert started.status == 200, started
    kernel = await server.api("POST", "api/kernels", {"name": f"loop-cycle-{number}-{loop_id[:8]}-python3"})
    assert kernel.status == 201, kernel
    async with server.kernel(kernel.body["id"]) as channels:
        assert (await channels.run("6 * 7")).text == "42"
    opened = await server.api("POST", f"loopat/api/loops/{loop_id}/terminals", {})
    assert opened.status == 201, opened
    async with server.terminal(opened.body["name"]) as terminal:
        assert "42" in await terminal.run("echo $((6 * 7))")
    assert (await server.api("DELETE", f"api/terminals/{opened.body['name']}")).status == 204
    assert (await server.api("DELETE", f"api/kernels/{kernel.body['id']}")).status == 204
    assert (await server.api("POST", f"loopat/api/loops/{loop_id}/stop")).status == 200
    assert (await server.api("DELETE", f"loopat/api/loops/{loop_id}")).status == 204


async def until_it_works(place: Place, loop_id: str) -> float:
    """Milliseconds until a command runs in the loop again."""
    began = time.perf_counter()
    async with asyncio.timeout(RECOVERY_S):
        while True:
            answer = await place.server.api("POST", f"loopat/api/loops/{loop_id}/exec", {"argv": ["true"]})
            if answer.status == 200 and answer.body[-1:] == [{"exit_code": 0}]:
                return (time.perf_counter() - began) * 1000


class Victim:
    """A running loop with a kernel, which is broken again and again.

    Args:
        place: Where it is; another server takes its place when that one is killed.
        loop_id: The loop.
    """

    def __init__(self, place: Place, loop_id: str) -> None:
        self._place = place
        self._id = loop_id
        self._name = f"loopat-{place.manager.workspace.name}-{loop_id}"

    async def _kernel(self) -> str:
        workdir = self._place.manager.workspace.workdir(self._id)
        path = str(workdir.relative_to(self._place.folder))
        made = await self._place.server.api("POST", "api/kernels", {"name": "python3", "path": path})
        assert made.status == 201, made
        return str(made.body["id"])

    async def _kernel_answers(self, place: Place, kernel_id: str) -> None:
        async with place.server.kernel(kernel_id) as kernel:
            while True:
                # What is sent to a kernel that is just dying is lost.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(kernel.run("6 * 7"), 1)
                    return

    def kill(self, *fields: str) -> None:
        """Kill processes of the container.

        Args:
            fields: As `podman inspect` names them.
        """
        for field in fields:
            [pid] = podman("inspect", f"--format={{{{.{field}}}}}", self._name)
            os.kill(int(pid), signal.SIGKILL)

    async def container(self, inflict: Callable[[], object]) -> float:
        """Break the container.

        Args:
            inflict: Breaks it.

        Returns:
            Milliseconds until a command runs in it again.
        """
        await until_it_works(self._place, self._id)
        inflict()
        return await until_it_works(self._place, self._id)

    async def killed_server(self) -> float:
        """Milliseconds from the death of a server to an answer of its kernel through the next one."""
        async with serve(self._place.folder) as doomed:
            victim = Victim(doomed, self._id)
            kernel_id = await victim._kernel()
            doomed.server.process.kill()
            await doomed.server.process.wait()
        began = time.perf_counter()
        async with serve(self._place.folder) as following, asyncio.timeout(RECOVERY_S):
            await self._kernel_answers(following, kernel_id)
            took_ms = (time.perf_counter() - began) * 1000
            await following.server.api("DELETE", f"api/kernels/{kernel_id}")
        return took_ms

    async def killed_kernel(self) -> float:
        """Milliseconds from the death of a kernel to an answer of the one in its place."""
        kernel_id = await self._kernel()
        stamp = self._place.manager.sandboxes.state_files(self._id).running()
        assert stamp is not None
        (pid,) = exec_roots(stamp.pid)
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(RECOVERY_S):
            await self._kernel_answers(self._place, kernel_id)
        took_ms = (time.perf_counter() - began) * 1000
        await self._place.server.api("DELETE", f"api/kernels/{kernel_id}")
        return took_ms

    def ways(self) -> dict[str, Callable[[], Awaitable[float]]]:
        """Everything that is done to it, by the number of the fault and in words."""
        run = self._place.manager.workspace.run(self._id).parent

        def broken(inflict: Callable[[], object]) -> Callable[[], Awaitable[float]]:
            return lambda: self.container(inflict)

        return {
            "F1: `kill -9` of the server": self.killed_server,
            "F2: `kill -9` of the container's monitor": broken(lambda: self.kill("State.ConmonPid")),
            "F2: `kill -9` of monitor and init": broken(lambda: self.kill("State.ConmonPid", "State.Pid")),
            "F4: `kill -9` of the kernel": self.killed_kernel,
            "F6: `podman rm -f` behind our back": broken(lambda: podman("rm", "--force", "--time=0", self._name)),
            "F6: `podman stop` behind our back": broken(lambda: podman("stop", "--time=0", self._name)),
            "F11: runtime directory wiped": broken(lambda: shutil.rmtree(run)),
        }


async def faults(place: Place, rounds: int) -> dict[str, list[float]]:
    """Break a running loop in several ways, and see how long it takes to work again.

    Args:
        place: Where to.
        rounds: How often each.

    Returns:
        Milliseconds by fault.
    """
    made = await place.server.api("POST", "loopat/api/loops", {"title": "faults"})
    ways = Victim(place, made.body["id"]).ways()
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, suffer in ways.items():
            found[way].append(await suffer())
    await place.server.api("DELETE", f"loopat/api/loops/{made.body['id']}?force=true")
    return found


async def soak(cycles: int, minutes: float, lanes: int, fault_rounds: int) -> str:
    """Run the cycles and the faults; the table."""
    async with workspace("soak") as folder, serve(folder) as place:
        lines = [
            await _cycles(place, cycles, minutes, lanes),
            "",
            "| fault | back after (median) | longest |",
            "|---|---:|---:|",
        ]
        for way, times in (await faults(place, fault_rounds)).items():
            lines.append(f"| {way} | {statistics.median(times):.0f} ms | {max(times):.0f} ms |")
        return "\n".join(lines)


async def _cycles(place: Place, cycles: int, minutes: float, lanes: int) -> str:
    # What is made once and stays, such as the network, is there before anything is counted.
    await cycle(place, 0)
    await asyncio.sleep(SETTLE_S)
    before, samples, until = count(place), [], time.monotonic() + minutes * 60
    numbers = iter(range(1, cycles + 1))

    async def lane() -> None:
        for number in numbers:
            began = time.perf_counter()
            await cycle(place, number)
            samples.append((time.perf_counter() - began) * 1000)
            if len(samples) % 50 == 0:
                print(f"{len(samples)} cycles, median {statistics.median(samples):.0f} ms", file=sys.stderr, flush=True)
            if time.monotonic() > until:
                break

    async with asyncio.TaskGroup() as together:
        for _ in range(lanes):
            together.create_task(lane())
    await asyncio.sleep(SETTLE_S)
    after = count(place)
    lines = [f"{len(samples)} cycles, median {statistics.median(samples):.0f} ms, longest {max(samples):.0f} ms.", ""]
    lines += ["| left behind | before | after |", "|---|---:|---:|"]
    lines += [f"| {name} | {one} | {two} |" for name, one, two in zip(Count._fields, before, after, strict=True)]
    return "\n".join(lines)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000, help="how many at most")
    parser.add_argument("--minutes", type=float, default=60, help="how many minutes at most")
    parser.add_argument("--lanes", type=int, default=2, help="how many at once")
    parser.add_argument("--fault-rounds", type=int, default=5, help="how often each fault is inflicted")
    arguments = parser.parse_args()
    print(asyncio.run(soak(arguments.cycles, arguments.minutes, arguments.lanes, arguments.fault_rounds)))


if __name__ == "__main__":
    main()
