"""The face in Notebook 7, which has the same components in another frame."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.jupyter_process import TOKEN
from tests.labextension.conftest import new_page

if TYPE_CHECKING:
    from playwright.async_api import Browser as Chromium

    from tests.labextension.conftest import Stage

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="package")]

NOTEBOOKS_OWN = re.compile(r"unhandled: TypeError: .*\(reading 'schema'\)\s+at \S+/static/notebook/notebook_core\.")
"""An error of Notebook 7.6, which it has without the face too."""


async def test_notebook_7_starts_with_the_face(stage: Stage, chromium: Chromium) -> None:
    stage.add("Seven")
    browser = await new_page(chromium, stage.server)
    await browser.page.goto(f"{stage.server.url}tree?token={TOKEN}")
    await browser.page.wait_for_selector(".jp-DirListing-content:visible")
    await browser.page.evaluate("jupyterapp.restored")
    await browser.page.wait_for_load_state("networkidle")
    await browser.show_panel()
    await browser.row("Seven").wait_for()
    await browser.picture("notebook-7")
    await browser.page.locator(".jp-Dialog").wait_for(state="detached")
    assert [problem for problem in browser.problems if not NOTEBOOKS_OWN.match(problem)] == []
    await browser.page.context.close()
