from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.kernels.inside import family
from loopat_jupyter.kernels.launch import (
    Place,
    SandboxKernel,
    explain,
    last_lines,
)
from loopat_jupyter.kernels.transports import FileSockets, PortSockets
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import Kernelspec
from loopat_jupyter.sandbox.lifecycle import Running
from loopat_jupyter.sandbox.process import LOG_LIMIT_BYTES
from loopat_jupyter.workspace.config import Config, KernelsConfig, TrustConfig
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace

SPEC = Kernelspec(name="python3", display_name="Python 3", language="python", argv=("python3", "-m", "x"))


@pytest.fixture
def manager(workspace: Workspace) -> LoopManager:
    engine = FakeEngine(lambda _: pytest.fail("podman was asked"))
    return LoopManager(workspace, Config(trust=TrustConfig(ca_bundle="")), engine, member="ada")


@pytest.fixture
def kernel(manager: LoopManager) -> SandboxKernel:
    record = manager.create(title="A loop")
    manager.workspace.run(record.id).mkdir(parents=True)
    return SandboxKernel(manager, Place(record.id, "python3", Path("sub")))


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (
            "/usr/bin/python3: No module named ipykernel_launcher",
            (
                "ipykernel is not installed for python3 in this loop. "
                "Run `python3 -m pip install ipykernel` in a terminal of the loop."
            ),
        ),
        (
            "ModuleNotFoundError: No module named 'zmq.error'",
            "The Python module zmq.error cannot be imported. Fix it in a terminal of the loop.",
        ),
        (
            "setsid: failed to execute python3: No such file or directory",
            "Its command 'python3' cannot be run inside. Install it, or fix the kernel's kernel.json.",
        ),
        ("Killed", "It ended before it was ready. Try its command in a terminal of the loop."),
    ],
)
def test_a_failure_says_what_to_do(log: str, why: str) -> None:
    assert explain(SPEC, log) == f"Python 3 did not start. {why}\n{log}"


def test_a_failure_without_a_log_says_so_in_one_line() -> None:
    assert "\n" not in explain(SPEC, "")


def test_only_the_end_of_a_log_goes_into_a_message() -> None:
    log = "\n".join(["x" * 1000] * 3 + [str(number) for number in range(10)])
    assert last_lines(log).splitlines() == ["x" * 400] * 2 + [str(number) for number in range(10)]


def test_a_long_log_is_emptied_while_its_writer_goes_on(kernel: SandboxKernel) -> None:
    log = kernel._stem.file("log")
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * LOG_LIMIT_BYTES)
        kernel.trim_log()
        assert log.stat().st_size == LOG_LIMIT_BYTES
        writer.write(b"x")
        kernel.trim_log()
        writer.write(b"end")
    assert log.read_bytes() == b"end"


@pytest.mark.parametrize("kind", ["symlink", "fifo", "missing"])
def test_a_log_that_somebody_inside_replaced_is_left_alone(kernel: SandboxKernel, tmp_path: Path, kind: str) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"x" * (LOG_LIMIT_BYTES + 1))
    log = kernel._stem.file("log")
    if kind == "symlink":
        log.symlink_to(precious)
    elif kind == "fifo":
        os.mkfifo(log)
    kernel.trim_log()
    assert precious.stat().st_size == LOG_LIMIT_BYTES + 1


def test_a_kernel_that_ended_is_taken_over_without_a_process(kernel: SandboxKernel, manager: LoopManager) -> None:
    ended = {"pid": os.getpid(), "start_ticks": 1}
    info = {**kernel.info(), **ended}
    taken = SandboxKernel.taken_over(manager, info)
    assert taken.process is None
    assert ({**taken.info(), **ended}, taken.place) == (info, kernel.place)


def test_a_family_is_a_process_its_descendants_and_its_session() -> None:
    table = "  1 0 1\n 10 0 10\n 11 10 10\n 12 11 12\n 13 1 10\n 20 0 20\n"
    assert family(table, 10) == [10, 11, 12, 13]
    assert family("", 10) == [10]


@pytest.mark.parametrize(("restart_needed", "kind"), [(False, PortSockets), (True, FileSockets)])
async def test_a_kernel_that_starts_again_is_reached_as_its_sandbox_was_made_for(
    manager: LoopManager, kernel: SandboxKernel, monkeypatch: pytest.MonkeyPatch, restart_needed: bool, kind: type
) -> None:
    async def use(record: object) -> Running:
        return Running("box", os.getpid(), "image", restart_needed)

    async def find_one(*_: object) -> Kernelspec:
        return SPEC

    monkeypatch.setattr(manager, "use", use)
    monkeypatch.setattr(manager.kernels, "find_one", find_one)
    await kernel.prepare()
    assert isinstance(kernel.sockets, FileSockets)
    manager.config = Config(kernels=KernelsConfig(transport="tcp"))
    await kernel.prepare()
    assert isinstance(kernel.sockets, kind)
