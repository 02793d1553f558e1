"""A real JupyterLab in a real browser, with the extension as it is installed."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import ConsoleMessage, Page, async_playwright

from tests.jupyter_process import TOKEN, Server, jupyter_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from loopat_jupyter.workspace.paths import Workspace

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / ".artefacts" / "screenshots"
CHROMIUM = "/usr/bin/chromium"
OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run", "--disable-quic"),
)
PATIENCE_MS = 60_000

EXPECTED = re.compile(r"status of (40\d|50\d)|ERR_CONNECTION_RE(FUSED|SET)|WebSocket|Failed to fetch|Connection lost")
"""What Lab and the browser say of refused requests and of a server that is away; how the panel shows it is tested."""


class Browser:
    """A page of JupyterLab, and everything that went wrong in it."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page, self.server = page, server
        self.problems: list[str] = []
        page.on("pageerror", self._hear)
        page.on("console", self._listen)

    def _hear(self, error: Any) -> None:
        # Lab's own code that saves its layout does not expect a server to be away.
        labs_own = "Failed to fetch" in str(error.stack) and "/lab/extensions/loopat-jupyter/" not in str(error.stack)
        if not labs_own:
            self.problems.append(f"unhandled: {error.stack}")

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not EXPECTED.search(message.text):
            self.problems.append(message.text[:400])

    async def open(self) -> None:
        """Open JupyterLab and the Loops panel."""
        await self.page.goto(f"{self.server.url}lab?reset&token={TOKEN}")
        await self.page.wait_for_selector("#jp-main-dock-panel")
        await self.page.get_by_role("tab", name="Loops", exact=True).click()
        await self.page.wait_for_selector("#jp-loops-panel")

    async def picture(self, name: str) -> None:
        """Keep what the page looks like."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=PICTURES / f"{name}.png")

    def row(self, title: str) -> Any:
        """A loop in the panel."""
        return self.page.locator(".jp-Loops-row", has_text=title)

    async def make(self, title: str) -> None:
        """Make a loop as a person does, with the keyboard."""
        await self.page.get_by_role("button", name="New Loop").first.click()
        await self.page.wait_for_selector("#jp-loops-title")
        await self.page.keyboard.type(title)
        await self.page.keyboard.press("Enter")
        await self.row(title).wait_for()

    async def findings(self, selector: str) -> list[str]:
        """What an accessibility check finds in a part of the page."""
        await self.page.add_script_tag(path=ROOT / "labextension" / "node_modules" / "axe-core" / "axe.min.js")
        found = await self.page.evaluate("selector => axe.run(selector)", selector)
        return [f"{each['id']}: {each['nodes'][0]['html'][:160]}" for each in found["violations"]]


@pytest.fixture
def lab_environment(workspace: Workspace, sandbox_image: str) -> dict[str, str]:
    return {"LOOPAT_HOME": str(workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}


@pytest.fixture
def start_server(tmp_path: Path, lab_environment: dict[str, str]) -> Callable[..., Any]:
    """Starts a server of this test's own."""
    root = tmp_path / "root"
    root.mkdir()
    lab = ("--LabApp.expose_app_in_browser=True",)
    settings = tmp_path / "jupyter-config" / "labconfig" / "page_config.json"
    settings.parent.mkdir(parents=True)
    # Lab would ask whether to fetch news.
    settings.write_text(json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}))

    def start(*options: str) -> Any:
        return jupyter_server(tmp_path, root, lab_environment, *lab, *options)

    return start


@contextlib.asynccontextmanager
async def opened(server: Server, *, width: int = 1280, height: int = 800) -> AsyncIterator[Browser]:
    """A browser with JupyterLab in it; fails if anything unhandled happened in the page."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        context = await chromium.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(PATIENCE_MS)
        browser = Browser(await context.new_page(), server)
        try:
            await browser.open()
            yield browser
        except BaseException:
            await browser.picture(f"failed-{os.environ.get('PYTEST_CURRENT_TEST', '').split('::')[-1].split(' ')[0]}")
            raise
        finally:
            await chromium.close()
    assert browser.problems == []
