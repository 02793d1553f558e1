"""Credentials in JupyterLab: names are seen, values only go in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

    from tests.labextension.conftest import Stage

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="package")]

SECRET = "first-5c1e\nsecond-9f3a"
SEEN = """secret => [document.documentElement.outerHTML, ...[...document.querySelectorAll('input, textarea')].map(
  field => field.value)].some(text => text.includes(secret))"""


async def set_variable(page: Page, name: str, value: str) -> None:
    await page.fill("#jp-loops-vaults-name", name)
    await page.fill("#jp-loops-vaults-value", value)
    await page.locator(".jp-Dialog").get_by_role("button", name="Set", exact=True).click()


async def hold(page: Page, address: str, **answer: Any) -> asyncio.Event:
    """Hold the next request to an address until the event is set; it is answered as is said, or by the server."""
    event = asyncio.Event()

    async def handle(route: Route) -> None:
        await event.wait()
        await (route.fulfill(**answer) if answer else route.continue_())

    await page.route(address, handle, times=1)
    return event


async def variables(stage: Stage, vault: str) -> list[str]:
    found = (await stage.server.api("GET", "loopat/api/vaults")).body["vaults"]
    return [name for each in found if each["name"] == vault for name in each["variables"]]


async def test_variables_are_set_and_removed(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    await page.locator(".jp-Loops-header").get_by_role("button", name="More").click()
    await page.locator(".lm-Menu").get_by_text("Vaults…", exact=True).click()
    await page.get_by_text("It has no variables yet.").wait_for()
    await set_variable(page, "1 bad", "x")
    await page.locator("#jp-loops-vaults-name-problem", has_text="is not the name of a variable").wait_for()
    assert not (await page.locator("#jp-loops-vaults-name-problem").inner_text()).startswith("variable:")
    value = page.locator("#jp-loops-vaults-value")
    assert await value.get_attribute("type") == "password"
    # What has several lines is pasted as it is, and changed where it is shown.
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.evaluate("text => navigator.clipboard.writeText(text)", SECRET)
    await value.focus()
    await page.keyboard.press("Control+a")
    await page.keyboard.press("Control+v")
    await page.get_by_text("2 lines").wait_for()
    await browser.picture("vaults-hidden")
    await browser.answer("Show the value")
    assert await value.input_value() == SECRET
    await browser.answer("Hide the value")
    # What is typed while a variable is set is not that variable, and stays.
    held = await hold(page, "**/variables/API_TOKEN*")
    await page.fill("#jp-loops-vaults-name", "API_TOKEN")
    await browser.answer("Set")
    await page.fill("#jp-loops-vaults-name", "NEXT")
    held.set()
    await page.locator(".jp-Loops-variables", has_text="API_TOKEN").wait_for()
    await page.get_by_text("API_TOKEN is set.").wait_for()
    assert [await page.input_value(f"#jp-loops-vaults-{field}") for field in ("name", "value")] == ["NEXT", ""]
    await page.fill("#jp-loops-vaults-name", "")
    assert await page.evaluate(SEEN, "second-9f3a") is False
    assert await browser.findings(".jp-Dialog") == []
    await browser.picture("vaults")
    (kept,) = stage.workspace.home.glob("members/*/vaults/default/envs/API_TOKEN")
    assert kept.read_text() == SECRET
    # Enter in a field sets as the button does; a variable of an other vault.
    await page.select_option("#jp-loops-vaults-vault", "+")
    await page.fill("#jp-loops-vaults-new", "No Name")
    await page.keyboard.press("Enter")
    await page.locator("#jp-loops-vaults-new-problem").wait_for()
    await page.fill("#jp-loops-vaults-new", "work")
    await page.keyboard.press("Enter")
    await page.get_by_text("It has no variables yet.").wait_for()
    await set_variable(page, "OTHER", "x")
    await page.locator(".jp-Loops-variables", has_text="OTHER").wait_for()
    assert (await variables(stage, "default"), await variables(stage, "work")) == (["API_TOKEN"], ["OTHER"])
    # Removing asks.
    await browser.answer("Remove OTHER")
    await page.wait_for_function("document.activeElement.innerText === 'Keep'")
    # Whoever presses Enter too early loses nothing.
    await page.keyboard.press("Enter")
    await browser.answer("Remove OTHER")
    await browser.answer("Remove")
    await page.get_by_text("It has no variables yet.").wait_for()
    await page.get_by_text("OTHER is removed. What starts from now on does not have it").wait_for()
    assert await variables(stage, "work") == []
    # The button that had the focus is gone, and the keyboard works all the same.
    await page.keyboard.press("Escape")
    await page.locator(".jp-Dialog").wait_for(state="detached")


async def test_vaults_are_edited_on_the_way_to_a_new_loop(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    await browser.ask_for_new_loop()
    await page.keyboard.type("Secretive")
    # Where the server cannot list them, that is said, and what was typed is still there.
    await page.route("**/loopat/api/vaults*", lambda route: route.fulfill(status=503), times=1)
    await browser.answer("Variables of vaults…")
    await page.locator(".Toastify__toast--error", has_text="503").wait_for()
    await browser.form()
    assert await page.locator("#jp-loops-title").input_value() == "Secretive"
    await browser.answer("Variables of vaults…")
    await page.select_option("#jp-loops-vaults-vault", "+")
    await page.fill("#jp-loops-vaults-new", "play")
    await set_variable(page, "PASSWORD", "x")
    await page.locator(".jp-Loops-variables", has_text="PASSWORD").wait_for()
    await browser.answer("Close")
    await browser.form()
    assert await page.locator("#jp-loops-vault option").all_inner_texts() == ["default", "play"]
    assert await page.locator("#jp-loops-title").input_value() == "Secretive"
    await page.select_option("#jp-loops-vault", "play")
    await browser.answer("Create")
    row = browser.row("Secretive")
    await row.locator(".jp-Loops-carried", has_text="vault play").wait_for()
    assert (await stage.loop("Secretive"))["vault"] == "play"
    # A vault that is gone is told in the row, and made again from there.
    assert (await stage.server.api("DELETE", "loopat/api/vaults/play?force=true")).status == 204
    await browser.command("loops:refresh")
    await row.get_by_text("There is no vault 'play'.").wait_for()
    assert await browser.findings("#jp-loops-panel") == []
    await row.get_by_role("button", name="Make the vault of “Secretive”").click()
    assert await page.input_value("#jp-loops-vaults-new") == "play"
    await set_variable(page, "PASSWORD", "y")
    await page.get_by_text("PASSWORD is set.").wait_for()
    # What fails once the dialog is closed is said as well.
    held = await hold(page, "**/variables/LATE*", status=507, json={"message": "No space left."})
    await set_variable(page, "LATE", "z")
    await browser.answer("Close")
    await page.locator(".jp-Dialog").wait_for(state="detached")
    held.set()
    await page.locator(".Toastify__toast--error", has_text="No space left.").wait_for()
    await browser.command("loops:refresh")
    await row.get_by_text("There is no vault").wait_for(state="detached")
