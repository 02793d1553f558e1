"""Sharing a loop in JupyterLab, as a person does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.sharing.conftest import fetch

if TYPE_CHECKING:
    from tests.labextension.conftest import Stage

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="package")]


async def test_a_person_shares_files(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    record = stage.add("Rain in March")
    await browser.row("Rain in March").wait_for()
    stage.workspace.workdir(record.id).joinpath("index.html").write_text("rain")
    await browser.command("loops:share", loop=record.id)
    apply = page.locator(".jp-Dialog button", has_text="Apply")
    await page.select_option("#jp-loops-share-mode", "static")
    await page.get_by_text("Anyone who can reach the address sees it; there is no password.").wait_for()
    await page.fill("#jp-loops-share-alias", "No Name")
    await apply.click()
    await page.locator("#jp-loops-share-alias-problem", has_text="Must be").wait_for()
    await page.locator(".jp-Dialog").evaluate("node => { node.dataset.same = 'yes'; }")
    await page.fill("#jp-loops-share-alias", "rain")
    await apply.click()
    link = page.locator(".jp-Dialog [role=status] a")
    await link.wait_for()
    url = str(await link.get_attribute("href"))
    assert url.startswith("http://rain.localhost:")
    assert (await fetch(url)).body == b"rain"
    assert await browser.findings(".jp-Dialog") == []
    await browser.picture("share")
    await browser.row("Rain in March").get_by_role("button", name="shares files").wait_for()
    # It is still the same dialog.
    await page.locator(".jp-Dialog[data-same]").wait_for()
    # What is no web server is no link.
    await page.select_option("#jp-loops-share-mode", "direct")
    await apply.click()
    await page.locator("#jp-loops-share-port-problem", has_text="Give the port that a program in the loop").wait_for()
    await page.fill("#jp-loops-share-port", "5432")
    await apply.click()
    await page.locator(".jp-Dialog [role=status] code", has_text="tcp://127.0.0.1:").wait_for()
    assert await link.count() == 0
    assert await browser.findings(".jp-Dialog") == []
    await page.select_option("#jp-loops-share-mode", "off")
    await apply.click()
    await page.locator(".jp-Dialog [role=status] code").wait_for(state="detached")
    # The keyboard works after the button was used.
    await page.keyboard.press("Escape")
    await page.locator(".jp-Dialog").wait_for(state="detached")
    with pytest.raises(ConnectionRefusedError):
        await fetch(url)


async def test_a_person_shares_a_port_that_something_listens_on(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    record = stage.add("Web")
    opened = await stage.server.api("POST", f"loopat/api/loops/{record.id}/terminals", {})
    await browser.command("loops:share", loop=record.id)
    await page.locator("#jp-loops-share-mode").wait_for()
    async with stage.server.terminal(opened.body["name"]) as terminal:
        serve = "(python3 -m http.server {} >/dev/null 2>&1 &)"
        await terminal.run(f"echo found > found.txt; {serve.format(8000)}; {serve.format('8001 --bind 127.0.0.1')}")
        # What listens inside alone cannot be picked; who shares it all the same is told at once.
        await page.locator(".jp-Loops-ports", has_text="8001/tcp (inside the loop only)").wait_for()
        await page.select_option("#jp-loops-share-mode", "port")
        await page.fill("#jp-loops-share-port", "8001")
        deaf = page.locator(".jp-Loops-note", has_text="The program on port 8001 listens inside the loop only")
        await deaf.wait_for()
        assert await browser.findings(".jp-Dialog") == []
        await page.get_by_role("button", name="Share port 8000/tcp").click()
        await deaf.wait_for(state="detached")
        assert await page.locator("#jp-loops-share-mode").input_value() == "port"
        assert await page.locator("#jp-loops-share-port").input_value() == "8000"
        await browser.answer("Apply")
        link = page.locator(".jp-Dialog [role=status] a")
        await link.wait_for()
        await browser.picture("share-port")
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await browser.answer("Copy")
        await page.get_by_role("button", name="Copied").wait_for()
        assert await page.evaluate("navigator.clipboard.readText()") == await link.get_attribute("href")
        await browser.answer("Open in a Tab")
        await page.locator(".jp-Dialog").wait_for(state="detached")
        shown = page.frame_locator(".jp-IFrame iframe")
        await shown.get_by_role("link", name=re.compile("found.txt")).wait_for()
        await page.locator(".lm-TabBar-tabLabel", has_text="Web: port 8000").wait_for()
        await browser.picture("share-tab")
    await browser.show_panel()
    await browser.row("Web").get_by_role("button", name="shares port 8000").click()
    await link.wait_for()
    await browser.answer("Close")
