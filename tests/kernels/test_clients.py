"""Other Jupyter programs, as a person types them, with no server running."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.execution import Exit
from loopat_jupyter.sandbox.owners import orphans
from loopat_jupyter.sandbox.specs import HOME_KERNELS
from tests.jupyter_process import LEAN, Forked, jupyter_server
from tests.kernels.conftest import gone
from tests.kernels.endless import run_endlessly
from tests.kernels.test_keeping import OPTIONS

if TYPE_CHECKING:
    from tests.kernels.conftest import Place

pytestmark = pytest.mark.podman

BIN = Path(sys.executable).parent


def run(*argv: str, place: Place) -> subprocess.CompletedProcess[str]:
    # Only the kernelspec says which workspace it is.
    environ = {name: value for name, value in place.environ.items() if name != "LOOPAT_HOME"}
    env = {**os.environ, **environ, "PYTHONPATH": str(LEAN)}
    env.pop("LOOPAT_HOME", None)
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_a_failure_is_printed_in_words_last(place: Place) -> None:
    inside = place.workdir / "in.ipynb"
    kernelspec = {"name": place.kernel_name, "display_name": "x", "language": "python"}
    cells = [nbformat.v4.new_code_cell("1")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernelspec}), inside)
    spec = Path(place.environ["JUPYTER_DATA_DIR"]) / "kernels" / place.kernel_name / "kernel.json"
    whole = spec.read_text()
    spec.write_text(whole.replace('"kernel": "python3"', '"kernel": "python9"'))
    try:
        done = run(str(BIN / "jupyter-execute"), str(inside), place=place)
    finally:
        spec.write_text(whole)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "Loop 'A loop' has no kernel 'python9'. It has: python3. Choose one of these, or install" in last


@pytest.mark.fault("F3")
@pytest.mark.parametrize("who", ["gc", "server", "command"])
@pytest.mark.usefixtures("small_kernels")
async def test_a_kernel_whose_program_was_killed_is_ended(place: Place, tmp_path: Path, who: str) -> None:
    begun = tmp_path / "begun"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    client = Forked(run_endlessly, place.kernel_name, begun, {**os.environ, "TMPDIR": str(scratch)})
    async with asyncio.timeout(60):
        while not begun.exists():
            await asyncio.sleep(0.02)
    (kernel,) = place.processes()
    if who == "gc":
        # While its program lives, it is nobody's leftover.
        await place.manager.upkeep.end_orphans()
        assert (orphans(place.run_folder), place.processes()) == ([], [kernel])
    client.kill()
    await client.wait()
    assert len(orphans(place.run_folder)) == 1
    assert place.processes() == [kernel]
    if who == "gc":
        assert await leftovers(place, remove=False) == ["who started it was killed"]
        assert place.processes() == [kernel]
        await leftovers(place, remove=True)
    elif who == "command":
        assert [event async for event in place.manager.exec(place.record, ExecSpec(argv=("true",)))] == [Exit(0)]
    else:
        environ = {name: value for name, value in place.environ.items() if name != "JUPYTER_RUNTIME_DIR"}
        async with jupyter_server(tmp_path, place.workdir, environ), asyncio.timeout(60):
            while orphans(place.run_folder):
                await asyncio.sleep(0.02)
    await gone(kernel)
    assert orphans(place.run_folder) == []
    async with asyncio.timeout(60):
        while place.run_files():
            await asyncio.sleep(0.02)
    assert list(scratch.iterdir()) == []


async def leftovers(place: Place, *, remove: bool) -> list[str]:
    return [each.reason for each in await place.manager.upkeep.gc(remove=remove) if each.kind == "process"]


SLOW = {"argv": ["bash", "-c", "exec sleep 600", "{connection_file}"], "display_name": "Slow", "language": "x"}


@pytest.mark.fault("F1")
@pytest.mark.usefixtures("small_kernels")
async def test_a_kernel_whose_server_ends_or_is_killed_while_it_starts_is_ended(place: Place, tmp_path: Path) -> None:
    folder = place.manager.workspace.loop_home(place.record.id).joinpath(*HOME_KERNELS, "slow")
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(SLOW))
    await place.manager.start(place.record)
    environ = {name: value for name, value in place.environ.items() if name != "JUPYTER_RUNTIME_DIR"}
    name = place.kernel_name.replace("python3", "slow")
    try:
        async with jupyter_server(tmp_path, place.workdir, environ, *OPTIONS) as server:
            asked = asyncio.ensure_future(server.api("POST", "api/kernels", {"name": name}))
            kernel = await place.wait_for_command("sleep", "600")
            server.process.kill()
            await server.process.wait()
            await asyncio.wait([asked])
            asked.exception()
        async with jupyter_server(tmp_path, place.workdir, environ, *OPTIONS) as server:
            await gone(kernel)
            assert (await server.api("GET", "api/kernels")).body == []
            assert (await server.api("POST", "api/kernels", {"name": place.kernel_name})).status == 201
            asked = asyncio.ensure_future(server.api("POST", "api/kernels", {"name": name}))
            kernel = await place.wait_for_command("sleep", "600")
            server.process.terminate()
            assert await asyncio.wait_for(server.process.wait(), 60) == 0
            await asyncio.wait([asked])
            asked.exception()
        await gone(kernel)
        # The other one stays for the next server.
        assert len(place.processes()) == 1
    finally:
        shutil.rmtree(folder)
    await place.manager.start(place.record)
