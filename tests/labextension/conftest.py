"""A real JupyterLab in a real browser, with the extension as it is installed.

Server, browser and page are shared by all these tests, which one worker runs (`tests/order.py`): opening JupyterLab
takes longer than most of what is tested.
Each test finds the page tidy, no loops but the module's own, and no vaults or profiles.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import pytest_asyncio

from loopat_jupyter.workspace.paths import Workspace, default_runtime_root
from loopat_jupyter.workspace.records import LoopStore
from tests.conftest import add_loop, remove_from_podman
from tests.jupyter_process import Server, jupyter_server
from tests.labextension.browser import CHROMIUM, OPTIONS, PATIENCE_MS, Browser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser as Chromium

    from loopat_jupyter.models import LoopRecord

CONFIG = """
[[agents]]
name = "Helper"
command = ["bash", "-c", "echo $LOOPAT_AGENT on $(uname -n); exec cat"]
icon = "ui-components:code"

[[agents]]
name = "Other"
command = ["bash", "-c", "echo $LOOPAT_AGENT on $(uname -n); exec cat"]
"""
"""Of the workspace: agents, for those who start them."""

FAILED = pytest.StashKey[bool]()

PAGE = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}, "buildCheck": False}
"""Lab would ask whether to fetch news, and run node for each page to see whether it should be built anew."""

EXPOSED = ("--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Let the fixtures know whether the test failed."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


class Stage(NamedTuple):
    """What the tests share.

    Attributes:
        workspace: With the loops.
        server: A Jupyter server for that workspace.
        browser: JupyterLab of that server.
    """

    workspace: Workspace
    server: Server
    browser: Browser

    def add(self, title: str) -> LoopRecord:
        """Make a loop without the page's doing."""
        return add_loop(self.workspace, title)

    async def loop(self, title: str) -> dict[str, Any]:
        """A loop as the server tells it."""
        loops = (await self.server.api("GET", "loopat/api/loops")).body["loops"]
        return next(loop for loop in loops if loop["title"] == title)

    async def clear(self, *titles: str) -> None:
        """Delete all loops but some, all vaults and all profiles."""
        for record in list(LoopStore(self.workspace).readable()):
            if record.title not in titles:
                await self.server.api("DELETE", f"loopat/api/loops/{record.id}?force=true")
        home = self.workspace.home
        for folder in (*home.glob("members/*/vaults"), *home.glob("profiles")):
            shutil.rmtree(folder)


@contextlib.contextmanager
def made_workspace(folder: Path) -> Any:
    """A workspace in a folder; whatever podman holds of it is removed afterwards."""
    workspace = Workspace(folder / "workspace", default_runtime_root(os.getuid()))
    workspace.prepare()
    yield workspace
    remove_from_podman(workspace)
    shutil.rmtree(workspace.runtime, ignore_errors=True)


def lab_server(folder: Path, environ: dict[str, str], *options: str, root: Path | None = None) -> Any:
    """A server with JupyterLab, for a root folder of its own or another one."""
    if root is None:
        root = folder / "root"
        root.mkdir(exist_ok=True)
    settings = folder / "jupyter-config" / "labconfig" / "page_config.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps(PAGE))
    return jupyter_server(folder, root, environ, *EXPOSED, *options, faces=True)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def chromium() -> AsyncIterator[Chromium]:
    """The browser of all tests."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield browser
        await browser.close()


async def new_page(chromium: Chromium, server: Server, *, width: int = 1280, height: int = 800) -> Browser:
    """A page that has nothing in common with others."""
    context = await chromium.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(PATIENCE_MS)
    return Browser(await context.new_page(), server)


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def shared_stage(
    chromium: Chromium, sandbox_image: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    """JupyterLab with a workspace."""
    folder = tmp_path_factory.mktemp("lab")
    with made_workspace(folder) as workspace:
        (workspace.home / "config.toml").write_text(CONFIG)
        environ = {"LOOPAT_HOME": str(workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}
        async with lab_server(folder, environ) as server:
            browser = await new_page(chromium, server)
            await browser.open()
            yield Stage(workspace, server, browser)


@contextlib.asynccontextmanager
async def as_found(shared: Stage, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """What a test gets of what is shared, and its tidying; fails if anything unhandled happened in the page."""
    browser = shared.browser
    browser.problems.clear()
    yield shared
    if request.node.stash.get(FAILED, False):
        await browser.picture(f"failed-{request.node.name}", always=True)
        await shared.clear(*kept(request))
        await browser.open()
        return
    # Ending kernels under Lab's debugger, as tidying does, is not what is tested.
    problems = list(browser.problems)
    await browser.tidy()
    await shared.clear(*kept(request))
    assert problems == []


@pytest_asyncio.fixture(loop_scope="package")
async def stage(shared_stage: Stage, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """JupyterLab with the Loops panel open, and no loop."""
    async with as_found(shared_stage, request) as stage:
        yield stage


def kept(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Titles of the loops that the tests of a module share: its constant `KEPT`."""
    return getattr(request.module, "KEPT", ())
