"""The face in Notebook 7, which has the same components in another frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.jupyter_process import TOKEN, Server
from tests.labextension.conftest import new_page

if TYPE_CHECKING:
    from playwright.async_api import Browser as Chromium

    from tests.labextension.browser import Browser
    from tests.labextension.conftest import Stage

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="package")]


async def opened(chromium: Chromium, server: Server, *, without: str | None = None) -> Browser:
    """The start page of Notebook 7, once it has loaded everything; without what is at some addresses."""
    browser = await new_page(chromium, server)
    if without is not None:
        await browser.page.route(without, lambda route: route.abort())
    await browser.page.goto(f"{server.url}tree?token={TOKEN}")
    await browser.page.wait_for_selector(".jp-DirListing-content:visible")
    await browser.page.evaluate("jupyterapp.restored")
    await browser.page.wait_for_load_state("networkidle")
    return browser


def problems(browser: Browser) -> set[str]:
    """What went wrong in the page."""
    return set(browser.problems)


async def test_notebook_7_starts_with_the_face(stage: Stage, chromium: Chromium) -> None:
    stage.add("Seven")
    browser = await opened(chromium, stage.server)
    await browser.show_panel()
    await browser.row("Seven").wait_for()
    await browser.picture("notebook-7")
    await browser.page.locator(".jp-Dialog").wait_for(state="detached")
    # Notebook 7.6 has an error of its own; whatever it says without the face does not count.
    plain = await opened(chromium, stage.server, without="**/extensions/loopat-jupyter/**")
    assert await plain.page.evaluate("jupyterapp.hasPlugin('loopat-jupyter:face')") is False
    assert problems(browser) <= problems(plain)
    await plain.page.context.close()
    await browser.page.context.close()
