"""Clients that start a kernel by its command alone, as editors do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from loopat_jupyter.kernels.__main__ import endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kernels.conftest import Place


@contextlib.asynccontextmanager
async def plain_kernel(place: Place) -> AsyncIterator[AsyncKernelManager]:
    """A kernel started from its kernelspec as if that named no provisioner."""
    kernels = Path(place.environ["JUPYTER_DATA_DIR"]) / "kernels"
    spec = json.loads((kernels / place.kernel_name / "kernel.json").read_text())
    del spec["metadata"]["kernel_provisioner"]
    (kernels / "plain").mkdir(exist_ok=True)
    (kernels / "plain" / "kernel.json").write_text(json.dumps(spec))
    manager = AsyncKernelManager(kernel_name="plain")
    await manager.start_kernel()
    try:
        yield manager
    finally:
        await manager.shutdown_kernel(now=True)


@pytest.fixture
def place(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv("JUPYTER_DEFAULT_PROVISIONER_NAME")
    KernelProvisionerFactory.clear_instance()
    return place


@pytest.mark.podman
@pytest.mark.usefixtures("small_kernels")
async def test_a_plain_command_is_a_whole_kernel(place: Place) -> None:
    async with plain_kernel(place) as manager:
        client = manager.client()
        client.start_channels(hb=False)
        await client.wait_for_ready(timeout=60)
        printed: list[str] = []

        def listen(message: dict) -> None:
            printed.append(message["content"].get("text") or message["content"].get("ename") or "")

        def answer(_: dict) -> None:
            client.input("a word")

        code = "import os; print(os.uname().nodename, input())"
        await client.execute_interactive(code, output_hook=listen, stdin_hook=answer, allow_stdin=True, timeout=60)
        assert "".join(printed).strip() == f"loop-{place.record.id[:8]} a word"

        code = "import subprocess; subprocess.run(['sleep', '604'])"
        cell = asyncio.ensure_future(client.execute_interactive(code, output_hook=listen, timeout=60))
        await place.wait_for_command("sleep", "604")
        await manager.interrupt_kernel()
        await asyncio.wait_for(cell, 30)
        assert "KeyboardInterrupt" in printed

        client.stop_channels()
        await manager.shutdown_kernel()
    assert place.processes() == []
    assert place.run_files() == []


def test_where_a_client_expects_its_channels() -> None:
    tcp = {"transport": "tcp", "ip": "127.0.0.1", "shell_port": 5000}
    assert endpoint(tcp, "shell_port") == "tcp://127.0.0.1:5000"
    assert endpoint({"transport": "ipc", "ip": "/run/k", "shell_port": 1}, "shell_port") == "ipc:///run/k-1"
