"""Whole lives of loops against a real server, counting what stays behind; then faults, and how fast they heal.

python -m benchmarks.soak                     1,000 cycles or half an hour, whichever is first
python -m benchmarks.soak --cycles 50         a quick look
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from loopat_jupyter.loops import LoopManager
from tests.jupyter_process import jupyter_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.jupyter_process import Server

SETTLE_S = 5.0
"""Time for what ends in the background to have ended, before it counts as left behind."""

RECOVERY_S = 60.0
EXTENSIONS = "--ServerApp.jpserver_extensions={'jupyter_server_terminals': True, 'loopat_jupyter': True}"


class Count(NamedTuple):
    """What is there at one moment."""

    containers: int
    networks: int
    volumes: int
    processes: int
    descriptors: int
    sockets: int
    files: int


class Place(NamedTuple):
    """A workspace of its own, and a server on it."""

    manager: LoopManager
    server: Server
    runtime: Path


def podman(*arguments: str) -> list[str]:
    """Run podman; the words that it prints."""
    ran = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=True, timeout=120)
    return ran.stdout.split()


def count(place: Place) -> Count:
    """Look at everything that a loop could leave behind."""
    workspace, pid = place.manager.workspace, place.server.process.pid
    ours = f"label=loopat.workspace={workspace.name}"
    runtime = [path for root in (workspace.runtime, place.runtime) for path in root.rglob("*")]
    return Count(
        containers=len(podman("ps", "--all", "--quiet", f"--filter={ours}")),
        networks=len(podman("network", "ls", "--quiet", f"--filter=name=^loopat-{workspace.name}$")),
        volumes=len(podman("volume", "ls", "--quiet", "--filter=dangling=true")),
        processes=processes(place),
        descriptors=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        sockets=sum(path.is_socket() for path in runtime),
        files=sum(1 for _ in workspace.loops.iterdir()) + len(runtime),
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


async def faults(place: Place, rounds: int) -> dict[str, list[float]]:
    """Break a running loop in several ways, and see how long it takes to work again."""
    made = await place.server.api("POST", "loopat/api/loops", {"title": "faults"})
    loop_id = made.body["id"]
    name = f"loopat-{place.manager.workspace.name}-{loop_id}"

    def kill(*fields: str) -> None:
        for field in fields:
            [pid] = podman("inspect", f"--format={{{{.{field}}}}}", name)
            os.kill(int(pid), signal.SIGKILL)

    ways: dict[str, Callable[[], object]] = {
        "`podman rm -f` behind our back": lambda: podman("rm", "--force", "--time=0", name),
        "`kill -9` of the container's monitor": lambda: kill("State.ConmonPid"),
        "`kill -9` of monitor and init": lambda: kill("State.ConmonPid", "State.Pid"),
        "`podman stop` behind our back": lambda: podman("stop", "--time=0", name),
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    await until_it_works(place, loop_id)
    for _ in range(rounds):
        for way, inflict in ways.items():
            inflict()
            found[way].append(await until_it_works(place, loop_id))
    await place.server.api("DELETE", f"loopat/api/loops/{loop_id}?force=true")
    return found


async def soak(cycles: int, minutes: float, fault_rounds: int) -> str:
    """Run the cycles and the faults; the table."""
    with tempfile.TemporaryDirectory(prefix="loopat-soak-") as folder:
        home, root = Path(folder) / "soak", Path(folder)
        os.environ["LOOPAT_HOME"] = str(home)
        manager = LoopManager.from_environment(os.environ)
        manager.workspace.prepare()
        terminals = "--TerminalsExtensionApp.terminal_manager_class=loopat_jupyter.terminals.LoopTerminalManager"
        kernels = "--ServerApp.kernel_manager_class=loopat_jupyter.kernels.mapping.LoopMappingKernelManager"
        provisioner = "--KernelProvisionerFactory.default_provisioner_name=loopat-provisioner"
        environ = {"LOOPAT_HOME": str(home)}
        async with jupyter_server(root, root, environ, EXTENSIONS, terminals, kernels, provisioner) as server:
            place = Place(manager, server, root / "jupyter-runtime")
            return await _measure(place, cycles, minutes, fault_rounds)


async def _measure(place: Place, cycles: int, minutes: float, fault_rounds: int) -> str:
    # What is made once and stays, such as the network, is there before anything is counted.
    await cycle(place, 0)
    await asyncio.sleep(SETTLE_S)
    before, samples, done, until = count(place), [], 0, time.monotonic() + minutes * 60
    while done < cycles and time.monotonic() < until:
        began = time.perf_counter()
        await cycle(place, done + 1)
        samples.append((time.perf_counter() - began) * 1000)
        done += 1
        if done % 50 == 0:
            print(f"{done} cycles, median {statistics.median(samples):.0f} ms", file=sys.stderr, flush=True)
    await asyncio.sleep(SETTLE_S)
    after = count(place)
    lines = [f"{done} cycles, median {statistics.median(samples):.0f} ms, longest {max(samples):.0f} ms.", ""]
    lines += ["| left behind | before | after |", "|---|---:|---:|"]
    lines += [f"| {name} | {one} | {two} |" for name, one, two in zip(Count._fields, before, after, strict=True)]
    lines += ["", "| fault | back after (median) | longest |", "|---|---:|---:|"]
    for way, times in (await faults(place, fault_rounds)).items():
        lines.append(f"| {way} | {statistics.median(times):.0f} ms | {max(times):.0f} ms |")
    return "\n".join(lines)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=1000, help="how many at most")
    parser.add_argument("--minutes", type=float, default=30, help="how long at most")
    parser.add_argument("--fault-rounds", type=int, default=5, help="how often each fault is inflicted")
    arguments = parser.parse_args()
    print(asyncio.run(soak(arguments.cycles, arguments.minutes, arguments.fault_rounds)))


if __name__ == "__main__":
    main()
