"""Restarts and ends of one kernel at once leave no process that nobody knows."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from jupyter_client.ioloop import AsyncIOLoopKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from tornado.web import HTTPError

from loopat_jupyter.kernels import mapping
from loopat_jupyter.kernels.mapping import LoopMappingKernelManager
from loopat_jupyter.kernels.provisioner import ENDED, LoopatProvisioner
from loopat_jupyter.sandbox.process import all_pids

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoopMappingKernelManager:
    """A manager whose kernel runs on the host and starts at once."""
    for name in ("LOOPAT_HOME", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    folder = tmp_path / "kernels" / "still"
    folder.mkdir(parents=True)
    argv = [sys.executable, "-c", "import signal; signal.pause()", "{connection_file}"]
    (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Still", "language": "none"}))
    specs = KernelSpecManager(kernel_dirs=[str(tmp_path / "kernels")], ensure_native_kernel=False)
    folders = {"root_dir": str(tmp_path), "connection_dir": str(tmp_path)}
    return LoopMappingKernelManager(kernel_spec_manager=specs, default_kernel_name="still", **folders)


def processes(kernel_id: str) -> list[int]:
    """The processes of a kernel, known or not."""
    return [pid for pid in all_pids() if kernel_id in command(pid)]


def command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline") as arguments:
            return arguments.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


@pytest.mark.parametrize(
    "order",
    [
        ("restart", "end"),
        ("end", "restart"),
        ("restart", "end", "restart"),
        ("restart", "restart", "end", "end"),
        ("death", "end", "restart"),
        ("death", "restart", "end"),
        ("restart", "end of all"),
        ("end of all", "restart"),
    ],
    ids=", ".join,
)
async def test_an_end_wins_over_restarts_at_once(kernels: LoopMappingKernelManager, order: tuple[str, ...]) -> None:
    kernel_id = await kernels.start_kernel()
    assert len(processes(kernel_id)) == 1
    acts = {
        "restart": lambda: kernels.restart_kernel(kernel_id, now=True),
        "end": lambda: kernels.shutdown_kernel(kernel_id, now=True),
        "end of all": lambda: kernels.shutdown_all(now=True),
        # As the restarter does it, past the manager of all kernels.
        "death": lambda: kernels.get_kernel(kernel_id).restart_kernel(now=True),
    }
    done = await asyncio.gather(*(acts[act]() for act in order), return_exceptions=True)
    assert processes(kernel_id) == kernels.list_kernel_ids() == []
    refusals = [outcome.status_code for outcome in done if isinstance(outcome, HTTPError)]
    assert set(refusals) <= {404, 409}, done
    assert len(refusals) == len([outcome for outcome in done if isinstance(outcome, BaseException)]), done


async def test_a_restart_waits_for_a_start_but_not_for_ever(
    kernels: LoopMappingKernelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel_id = await kernels.start_kernel()
    kernel = kernels.get_kernel(kernel_id)
    kernel._ready = asyncio.Future()
    monkeypatch.setattr(mapping, "SETTLE_TIMEOUT_S", 0.0)
    before = processes(kernel_id)
    with pytest.raises(HTTPError, match="still being started") as refused:
        await kernels.restart_kernel(kernel_id, now=True)
    assert (refused.value.status_code, processes(kernel_id)) == (409, before)
    kernel._ready.set_result(None)
    await kernels.shutdown_kernel(kernel_id, now=True)


async def test_a_restart_that_fails_is_told_to_who_waits_and_to_nobody_else(kernels: LoopMappingKernelManager) -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    kernel_id = await kernels.start_kernel()
    kernel = kernels.get_kernel(kernel_id)
    kernel.kernel_spec.argv[0] = "/nowhere"
    # Who ends a kernel waits for its restart too.
    restart, end = asyncio.ensure_future(kernel.restart_kernel(now=True)), kernels.shutdown_kernel(kernel_id)
    told = await asyncio.gather(restart, end, return_exceptions=True)
    assert [type(each) for each in told] == [FileNotFoundError, type(None)]
    kernel_id = await kernels.start_kernel()
    kernels.get_kernel(kernel_id).kernel_spec.argv[0] = "/nowhere"
    given_up = asyncio.ensure_future(kernels.restart_kernel(kernel_id, now=True))
    while not (restarts := set(kernels._restarts.values())):
        await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait({given_up, *restarts})
    await kernels.shutdown_kernel(kernel_id)
    del restart, end, told, given_up, restarts
    gc.collect()
    assert complaints == []


@pytest.fixture
async def lost(kernels: LoopMappingKernelManager) -> LoopatProvisioner:
    """Of a kernel of a loop that ended because somebody is making the sandbox anew."""
    files = SimpleNamespace(stopped_on_purpose=lambda: False, replaced_on_purpose=lambda: True)
    manager = SimpleNamespace(sandboxes=SimpleNamespace(state_files=lambda _: files))
    kernel_id = await kernels.start_kernel()
    provisioner = LoopatProvisioner(parent=kernels.get_kernel(kernel_id), kernel_id=kernel_id)
    still = {"trim_log": lambda: None, "watch_stops": lambda: None}
    provisioner._kernel = SimpleNamespace(process=None, manager=manager, place=SimpleNamespace(loop_id="x"), **still)
    provisioner._watch = asyncio.ensure_future(asyncio.Event().wait())
    yield provisioner
    provisioner._unwatch()
    provisioner._kernel = None
    await kernels.shutdown_kernel(kernel_id, now=True)


async def test_a_lost_kernel_lives_only_for_whom_it_is_restarted(lost: LoopatProvisioner) -> None:
    assert await lost.poll() is None
    lost.parent = AsyncIOLoopKernelManager()
    assert await lost.poll() == ENDED


async def test_a_lost_kernel_that_is_being_ended_is_left_alone(lost: LoopatProvisioner) -> None:
    dead: list[str] = []
    lost.parent.add_restart_callback(lambda: dead.append("told"), "dead")
    kernels = lost.parent.parent
    kernels._ending.add(lost.kernel_id)
    await lost._restart()
    assert dead == []


async def test_a_kernel_of_a_loop_that_is_starting_cannot_be_interrupted_yet(
    kernels: LoopMappingKernelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel_id = await kernels.start_kernel()
    manager = kernels.get_kernel(kernel_id)
    with monkeypatch.context() as patch:
        patch.setattr(manager, "_ready", asyncio.get_running_loop().create_future())
        # On the host it is as stock.
        with pytest.raises(RuntimeError):
            kernels.interrupt_kernel(kernel_id)
        patch.setattr(type(kernels.keeper), "__contains__", lambda _, name: name == kernel_id)
        with pytest.raises(HTTPError, match="409.*nothing to interrupt yet"):
            kernels.interrupt_kernel(kernel_id)
    await kernels.shutdown_kernel(kernel_id, now=True)
