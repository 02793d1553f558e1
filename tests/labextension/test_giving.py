"""What loops give back, in JupyterLab: promotions, proposals, distilled loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.labextension.conftest import Stage

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="package")]


async def test_what_a_loop_found_out_is_promoted_and_merged(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    made = await stage.server.api("POST", "loopat/api/loops", {"title": "Finder", "config": {"knowledge_rw": True}})
    loop = made.body["id"]
    export = stage.workspace.context(loop, "knowledge") / "export.md"
    export.write_text("It has a trailing line.\n")
    await browser.row("Finder").click(button="right")
    await page.locator(".lm-Menu").get_by_text("Promote…", exact=True).click()
    await page.select_option("#jp-loops-promote-context", "knowledge")
    await page.fill("#jp-loops-promote-message", "What the export has")
    assert await browser.findings(".jp-Dialog") == []
    await browser.picture("promote")
    await browser.answer("Promote")
    await page.locator(".jp-Dialog").wait_for(state="detached")
    await page.locator(".Toastify__toast", has_text="Knowledge: it waits to be merged").wait_for()
    await page.locator(".jp-Dialog").wait_for(state="detached")
    await page.locator(".jp-Loops-header").get_by_role("button", name="More").click()
    await page.locator(".lm-Menu").get_by_text("Proposals…", exact=True).click()
    await browser.answer("Show: Finder")
    await page.locator(".jp-Loops-diff", has_text="+It has a trailing line.").wait_for()
    assert await browser.findings(".jp-Dialog") == []
    await browser.picture("proposals")
    # Discarding asks, and whoever presses Enter too early loses nothing.
    await browser.answer("Discard…: Finder")
    await page.wait_for_function("document.activeElement.innerText === 'Cancel'")
    assert await browser.findings(".jp-Dialog") == []
    await page.keyboard.press("Enter")
    # What the loop adds after somebody looked is not merged: it is to be looked at first.
    export.write_text("It has two.\n")
    await stage.server.api("POST", f"loopat/api/loops/{loop}/promote", {"context": "knowledge"})
    await browser.answer("Merge: Finder")
    await page.get_by_role("alert").filter(has_text="has changed since").wait_for()
    assert await page.locator(".jp-Loops-diff").count() == 0
    assert await browser.findings(".jp-Dialog") == []
    await browser.answer("Show: Finder")
    await page.locator(".jp-Loops-diff", has_text="+It has two.").wait_for()
    await browser.answer("Merge: Finder")
    await page.get_by_text("Nothing waits to be merged.").wait_for()
    # The button that had the focus is gone, and the keyboard works all the same.
    await page.keyboard.press("Escape")
    await page.locator(".jp-Dialog").wait_for(state="detached")
    # What is mounted read-only cannot be promoted.
    await stage.server.api("POST", "loopat/api/loops", {"title": "Reader"})
    await browser.row("Reader").click(button="right")
    await page.locator(".lm-Menu").get_by_text("Promote…", exact=True).click()
    offered = await page.locator("#jp-loops-promote-context option").all_inner_texts()
    assert offered == ["Notes", "Personal files"]
    await page.locator(".jp-Loops-note", has_text="set “Knowledge” in “Loop Settings…” of its menu").wait_for()
    assert await page.get_by_placeholder("If empty: Work of loop Reader").count() == 1
    await page.keyboard.press("Escape")


async def test_a_loop_is_distilled(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    record = stage.add("Source")
    await browser.row("Source").wait_for()
    await browser.command("loops:distill", loop=record.id)
    await page.locator(".jp-Dialog input").wait_for()
    assert await browser.findings(".jp-Dialog") == []
    await browser.answer("Create")
    await browser.row("Distill: Source").wait_for()
