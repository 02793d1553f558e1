"""The face in Notebook 7, which has the same components in another frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.jupyter_process import TOKEN
from tests.labextension.conftest import new_page

if TYPE_CHECKING:
    from playwright.async_api import Browser as Chromium

    from tests.labextension.conftest import Stage

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="module")]


async def test_notebook_7_starts_with_the_face(stage: Stage, chromium: Chromium) -> None:
    stage.add("Seven")
    browser = await new_page(chromium, stage.server)
    page = browser.page
    await page.goto(f"{stage.server.url}tree?token={TOKEN}")
    await page.wait_for_selector(".jp-DirListing-content:visible")
    await browser.show_panel()
    await browser.row("Seven").wait_for()
    await browser.picture("notebook-7")
    await page.locator(".jp-Dialog").wait_for(state="detached")
    # Notebook 7.6 says this without any extension too.
    own = "Cannot read properties of undefined (reading 'schema')"
    assert [problem for problem in browser.problems if own not in problem] == []
    await page.context.close()
