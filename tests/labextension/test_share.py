"""Sharing a loop in JupyterLab, as a person does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sharing.conftest import fetch

if TYPE_CHECKING:
    from tests.labextension.conftest import Stage

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="module")]


async def test_a_person_shares_files(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    record = stage.add("Rain in March")
    await browser.row("Rain in March").wait_for()
    stage.workspace.workdir(record.id).joinpath("index.html").write_text("rain")
    await browser.command("loops:share", loop=record.id)
    apply = page.locator(".jp-Dialog button", has_text="Apply")
    await page.select_option("#jp-loops-share-mode", "static")
    await page.fill("#jp-loops-share-alias", "No Name")
    await apply.click()
    await page.get_by_role("alert").get_by_text("alias: must be").wait_for()
    await page.fill("#jp-loops-share-alias", "rain")
    await apply.click()
    link = page.locator(".jp-Dialog [role=status] a")
    await link.wait_for()
    url = str(await link.get_attribute("href"))
    assert url.startswith("http://rain.localhost:")
    assert (await fetch(url)).body == b"rain"
    assert await browser.findings(".jp-Dialog") == []
    await browser.picture("share")
    await page.select_option("#jp-loops-share-mode", "off")
    await apply.click()
    await link.wait_for(state="detached")
    await page.locator(".jp-Dialog button", has_text="Close").click()
    await page.locator(".jp-Dialog").wait_for(state="detached")
    with pytest.raises(ConnectionRefusedError):
        await fetch(url)
