"""An open page of JupyterLab while its server is killed and started again."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.jupyter_process import TOKEN, jupyter_server
from tests.labextension.conftest import lab_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from tests.labextension.browser import Browser

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="package")]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


async def run_cell(browser: Browser, code: str, answer: str) -> None:
    """Type into the last cell and run it; its answer is printed."""
    cell = browser.page.locator(".jp-Notebook .jp-CodeCell .cm-content").last
    await cell.click()
    await browser.page.keyboard.type(code)
    await browser.page.keyboard.press("Shift+Enter")
    await browser.page.locator(".jp-OutputArea-output", has_text=answer).wait_for()


async def written(file: Path) -> str:
    """What stands in a file, once there is something."""
    async with asyncio.timeout(60):
        while not (file.exists() and file.read_text()):
            await asyncio.sleep(0.05)
    return file.read_text()


@pytest.mark.fault("F1")
async def test_an_open_page_goes_on(
    manager: LoopManager, lab_environment: dict[str, str], opened: Callable[..., Any], tmp_path: Path
) -> None:
    record = manager.create(title="A loop")
    await manager.start(record)
    workdir = manager.workspace.workdir(record.id)
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": [], "metadata": {"kernelspec": kernelspec}, "nbformat": 4, "nbformat_minor": 5}
    (workdir / "a.ipynb").write_text(json.dumps(notebook))
    port = f"--ServerApp.port={free_port()}"
    async with (
        lab_server(tmp_path, lab_environment, port, root=workdir) as server,
        opened(server, panel=False) as browser,
    ):
        page = browser.page
        # Lab says that its server is away, if that takes long enough.
        away = page.locator(".jp-Dialog")
        await page.add_locator_handler(away, lambda: page.keyboard.press("Escape"))
        await page.goto(f"{server.url}lab/tree/a.ipynb?reset&token={TOKEN}")
        await page.locator("#jp-main-statusbar", has_text="| Idle").wait_for()
        await run_cell(browser, "left = 20; print(left + 1)", "21")
        await page.evaluate("() => jupyterapp.commands.execute('terminal:create-new')")
        screen = page.locator(".jp-Terminal .xterm-helper-textarea")
        await screen.focus()
        await page.keyboard.type("left=40; echo there''fore > told\n")
        assert await written(workdir / "told") == "therefore\n"
        server.process.kill()
        await server.process.wait()
        # The page has loaded all that it needs of Lab.
        async with jupyter_server(tmp_path, workdir, lab_environment, port):
            await page.get_by_role("tab", name="a.ipynb").click()
            await run_cell(browser, "print(left + 22)", "42")
            await page.locator("#jp-main-dock-panel .lm-TabBar-tab", has_text="Terminal").click()
            await screen.focus()
            await page.keyboard.type("echo $((left + 2)) > answer\n")
            assert await written(workdir / "answer") == "42\n"
            await browser.picture("outlived")
