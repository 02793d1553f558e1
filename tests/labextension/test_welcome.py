"""JupyterLab on the folder of the first loop, as `make lab` opens it, and with a server that is killed."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio

from loopat_jupyter.loops import LoopManager
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.welcome import make_welcome
from loopat_jupyter.workspace.config import Config, ImageConfig
from tests.conftest import add_loop
from tests.jupyter_process import TOKEN, Server, jupyter_server
from tests.labextension.browser import READY, Browser
from tests.labextension.conftest import lab_server, made_workspace, new_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser as Chromium
    from playwright.async_api import Request

    from loopat_jupyter.workspace.paths import Workspace

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="package")]

NOTEBOOK = {
    "cells": [],
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
}

INSTALLING_MS = 300_000
"""What the notebook installs comes over the network."""

RETRY_MS = 10_000
"""Longer than the face waits before it asks a server again that could not be reached."""

LONGEST_PAUSE_MS = 60_000
"""After which JupyterLab has surely tried to reach a server again that was away for some seconds."""


class Welcome(NamedTuple):
    """The first loop and a page for it.

    Attributes:
        workspace: With the loop.
        folder: Of the servers.
        workdir: Of the loop.
        environ: Of the servers.
        port: Of all of them, one after the other.
        server: The first one.
        browser: Its page.
    """

    workspace: Workspace
    folder: Path
    workdir: Path
    environ: dict[str, str]
    port: str
    server: Server
    browser: Browser


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def welcome(
    chromium: Chromium, sandbox_image: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Welcome]:
    folder = tmp_path_factory.mktemp("welcome")
    with made_workspace(folder) as workspace:
        config = Config(image=ImageConfig(use=sandbox_image))
        manager = LoopManager(workspace, config, Podman("podman", os.environ), member="ada")
        record = await make_welcome(manager)
        workdir = workspace.workdir(record.id)
        environ = {"LOOPAT_HOME": str(workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}
        port = f"--ServerApp.port={free_port()}"
        async with lab_server(folder, environ, port, root=workdir) as server:
            browser = await new_page(chromium, server)
            await browser.page.goto(f"{server.url}lab/tree/welcome.ipynb?token={TOKEN}")
            await browser.page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
            yield Welcome(workspace, folder, workdir, environ, port, server, browser)
            await browser.page.context.close()


@pytest.mark.timeout(600)
async def test_the_welcome_notebook_runs(welcome: Welcome) -> None:
    browser, page = welcome.browser, welcome.browser.page
    # Nobody has arranged anything yet: the loops are in sight.
    await browser.row("welcome").wait_for()
    await page.evaluate(READY)
    await browser.picture("first-sight")
    await browser.command("notebook:run-all-cells")
    last = page.locator(".jp-Notebook .jp-CodeCell").last.locator(".jp-OutputArea-output")
    failed = page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']")
    await last.or_(failed).first.wait_for(timeout=INSTALLING_MS)
    assert await failed.all_inner_texts() == []
    assert (await last.inner_text()).startswith("month,sea_celsius,air_celsius\n")
    assert "loopat on loop-" in await page.locator(".jp-OutputArea-output").first.inner_text()
    assert await page.locator(".jp-OutputArea-output img").count() == 1
    await browser.picture("welcome")
    assert browser.problems == []


def keeps_files_open(request: Request) -> bool:
    """Whether a request keeps that the file browser is open."""
    is_layout = request.method == "PUT" and "/lab/api/workspaces/" in request.url
    return is_layout and '"current":"filebrowser"' in (request.post_data or "")


async def run_cell(browser: Browser, code: str, answer: str) -> None:
    """Type into the last cell and run it; its answer is printed."""
    cell = browser.page.locator(".jp-Notebook:visible .jp-CodeCell .cm-content").last
    await cell.click()
    await browser.page.keyboard.insert_text(code)
    await browser.page.keyboard.press("Shift+Enter")
    await browser.page.locator(".jp-OutputArea-output:visible", has_text=answer).wait_for()


async def written(file: Path) -> str:
    """What stands in a file, once there is something."""
    async with asyncio.timeout(60):
        while not (file.exists() and file.read_text()):
            await asyncio.sleep(0.05)
    return file.read_text()


async def is_told_of_a_new_token(welcome: Welcome) -> None:
    """The next server wants another one."""
    browser = welcome.browser
    message = browser.page.locator(".jp-Loops-message")
    options = (welcome.port, f"--IdentityProvider.token=not-{TOKEN}")
    # The page has loaded all that it needs of Lab.
    async with jupyter_server(welcome.folder, welcome.workdir, welcome.environ, *options):
        # The cookie would outlive the token that it was given for.
        await browser.page.context.clear_cookies()
        await browser.show_panel()
        await browser.command("loops:refresh")
        await message.get_by_text("The server no longer accepts this page’s login").wait_for()
        await message.get_by_role("button", name="Reload").wait_for()
        await browser.picture("login")


@pytest.mark.fault("F1")
async def test_an_open_page_goes_on(welcome: Welcome) -> None:
    browser, page, workdir = welcome.browser, welcome.browser.page, welcome.workdir
    message = page.locator(".jp-Loops-message")
    # Lab says that its server is away, if that takes long enough.
    away = page.locator(".jp-Dialog")
    await page.add_locator_handler(away, lambda: page.keyboard.press("Escape"))
    await page.locator("#jp-main-statusbar", has_text="| Idle").wait_for()
    (workdir / "a.ipynb").write_text(json.dumps(NOTEBOOK))
    await browser.command("docmanager:open", path="a.ipynb")
    await page.locator(".lm-TabBar-tabLabel", has_text="a.ipynb").wait_for()
    await page.evaluate(READY)
    await run_cell(browser, "left = 20; print(left + 1)", "21")
    await browser.command("terminal:create-new")
    screen = page.locator(".jp-Terminal .xterm-helper-textarea")
    await screen.focus()
    await page.keyboard.type("left=40; echo there''fore > told\n")
    assert await written(workdir / "told") == "therefore\n"
    # JupyterLab tries to reach it again after pauses that grow; the page's clock is set forward then.
    await page.clock.install()
    welcome.server.process.kill()
    await welcome.server.process.wait()
    await browser.command("loops:refresh")
    await message.get_by_text("The server cannot be reached; this page connects again by itself.").wait_for()
    await browser.picture("unreachable")
    async with lab_server(welcome.folder, welcome.environ, welcome.port, root=workdir):
        add_loop(welcome.workspace, "Meanwhile")
        # The panel asks again after a while.
        await page.clock.fast_forward(RETRY_MS)
        await browser.row("Meanwhile").wait_for()
        await browser.row("welcome").wait_for()
        await page.clock.fast_forward(LONGEST_PAUSE_MS)
        await page.get_by_role("tab", name="a.ipynb").click()
        await run_cell(browser, "print(left + 22)", "42")
        await page.locator("#jp-main-dock-panel .lm-TabBar-tab", has_text="welcome: ").click()
        await screen.focus()
        await page.keyboard.type("echo $((left + 2)) > answer\n")
        assert await written(workdir / "answer") == "42\n"
        await browser.row("welcome").locator("text=1 terminal").wait_for()
        await browser.picture("outlived")
        # Opened again, the page is as the person left it.
        async with page.expect_response(lambda answer: keeps_files_open(answer.request)):
            await page.get_by_role("tab", name="File Browser").first.click()
        await page.reload()
        await page.wait_for_selector("#filebrowser .jp-DirListing-content")
        await page.locator(".jp-Terminal").wait_for()
        assert not await page.locator("#jp-loops-panel").is_visible()
    await is_told_of_a_new_token(welcome)
    assert browser.problems == []
