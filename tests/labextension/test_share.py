"""Sharing a loop in JupyterLab, as a person does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from loopat_jupyter.workspace.records import LoopStore
from tests.labextension.conftest import opened
from tests.sharing.conftest import fetch

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopat_jupyter.workspace.paths import Workspace

pytestmark = pytest.mark.podman


async def test_a_person_shares_files(start_server: Callable[..., Any], workspace: Workspace) -> None:
    async with start_server() as server, opened(server) as browser:
        page = browser.page
        await browser.make("Rain in March")
        (record,) = LoopStore(workspace).readable()
        workspace.workdir(record.id).joinpath("index.html").write_text("rain")
        await page.evaluate("id => { jupyterapp.commands.execute('loops:share', { loop: id }); }", record.id)
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
