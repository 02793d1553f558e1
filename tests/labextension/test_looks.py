"""The panel and its form in both themes and at two widths: nothing clipped, nothing that shuts anybody out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.labextension.conftest import Stage

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="package")]

CLIPPED = """() => [...document.querySelectorAll('#jp-loops-panel button, .jp-Loops-form *, .jp-Dialog-footer *')]
  .filter(node => node.checkVisibility())
  .filter(node => {
    const { left, right, top, bottom } = node.getBoundingClientRect();
    const frame = (node.closest('.jp-Dialog-content') ?? node.closest('#jp-loops-panel')).getBoundingClientRect();
    const isScrolled = node.closest('.jp-Dialog-body') !== null;
    const isBeside = left < frame.left - 1 || right > frame.right + 1;
    return isBeside || (!isScrolled && (top < 0 || bottom > innerHeight));
  })
  .map(node => node.outerHTML.slice(0, 160))"""


@pytest_asyncio.fixture(loop_scope="package")
async def as_it_was(stage: Stage) -> AsyncIterator[None]:
    yield
    await change_theme(stage, "JupyterLab Light")
    await stage.browser.page.set_viewport_size({"width": 1280, "height": 800})


async def change_theme(stage: Stage, name: str) -> None:
    page = stage.browser.page
    await page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
    await page.wait_for_selector(f"body[data-jp-theme-name='{name}']", state="attached")


async def test_nothing_stands_in_the_way_of_anybody(stage: Stage, as_it_was: None) -> None:
    browser, page = stage.browser, stage.browser.page
    await page.wait_for_selector(".jp-Loops-empty")
    await see(stage, "light", 1920)
    assert await browser.findings("#jp-loops-panel") == []
    await see(stage, "dark", 1280)
    assert await browser.findings("#jp-loops-panel") == []
    for title in ("Snow", "A title that is longer than the panel is wide, as titles of people sometimes are"):
        stage.add(title)
        await browser.row(title).wait_for()
    rain = stage.add("Rain").id
    await browser.action("Rain", "Start").click()
    await browser.state("Rain", "running")
    # Colours do not depend on the width, nor places on the theme.
    for theme, width in (("dark", 1280), ("light", 1920)):
        await see(stage, theme, width)
        await look(stage, rain, f"{theme}-{width}")


async def see(stage: Stage, theme: str, width: int) -> None:
    """Have the page in a theme and a width."""
    await stage.browser.page.set_viewport_size({"width": width, "height": 800 if width == 1280 else 1080})
    await change_theme(stage, f"JupyterLab {theme.title()}")


async def look(stage: Stage, loop_id: str, name: str) -> None:
    """Look at the panel, the form of a new loop, and the dialogs of one."""
    browser, page = stage.browser, stage.browser.page
    assert await browser.findings("#jp-loops-panel") == []
    assert await page.evaluate(CLIPPED) == []
    await browser.ask_for_new_loop()
    await page.keyboard.press("Enter")
    await page.locator("#jp-loops-title-problem").wait_for()
    await page.locator(".jp-Loops-advanced summary").click()
    assert await browser.findings(".jp-Loops-form") == []
    assert await page.evaluate(CLIPPED) == []
    await browser.picture(name)
    await page.keyboard.press("Escape")
    fields = {"settings": "title", "share": "share-mode", "vaults": "vaults-vault", "rename": None, "delete": None}
    for command, field in fields.items():
        await browser.command(f"loops:{command}", loop=loop_id)
        await page.locator(f"#jp-loops-{field}" if field else ".jp-Dialog-footer").wait_for()
        assert await browser.findings(".jp-Dialog") == []
        assert await page.evaluate(CLIPPED) == []
        await browser.picture(f"{name}-{command}")
        await page.keyboard.press("Escape")
        await page.locator(".jp-Dialog").wait_for(state="detached")
