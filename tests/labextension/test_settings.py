"""The settings of the face, as JupyterLab keeps them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.labextension.conftest import Stage

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="package")]

POLL_S = 7.5
"""The pause after which the panel asks without news."""

NOTE_PAUSES = """() => {
  const { setTimeout } = window;
  window.pauses = [];
  window.setTimeout = (act, pause, ...more) => {
    window.pauses.push(pause);
    return setTimeout.call(window, act, pause, ...more);
  };
}"""

UPLOAD = """settings => jupyterapp.pluginRegistry._plugins.get('@jupyterlab/apputils-extension:settings').service
  .upload('loopat-jupyter:face', settings)"""


@pytest_asyncio.fixture(loop_scope="package")
async def stock(stage: Stage) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Takes what was set back, in the page; the next test finds none."""

    async def take_back() -> None:
        await stage.browser.page.evaluate(UPLOAD, "{}")

    yield take_back
    await take_back()


async def test_settings_are_heeded(stage: Stage, stock: Callable[[], Awaitable[None]]) -> None:
    browser, page = stage.browser, stage.browser.page
    (stage.workspace.home / "profiles" / "data").mkdir(parents=True)
    await stage.server.api("POST", "loopat/api/vaults", {"name": "work"})
    settings = {"defaultVault": "work", "defaultProfiles": ["data"], "confirmDelete": False, "side": "right"}
    body = {"raw": json.dumps({**settings, "pollSeconds": POLL_S})}
    assert (await stage.server.api("PUT", "lab/api/settings/loopat-jupyter:face", body)).status == 204
    await browser.open()
    # A new loop begins as they say.
    assert await page.locator("#jp-right-stack #jp-loops-panel").count() == 1
    await browser.make("Usual")
    loop = await stage.loop("Usual")
    assert (loop["vault"], loop["profiles"]) == ("work", ["data"])
    # What is nowhere else is asked about in any case.
    (stage.workspace.workdir(loop["id"]) / "draft.txt").write_text("")
    await browser.leave_unsaved(f"loops:{loop['folder']}/draft.txt", "not saved")
    await browser.command("loops:delete", loop=loop["id"])
    await page.locator(".jp-Dialog", has_text="Not saved yet: draft.txt.").wait_for()
    await browser.answer("Cancel")
    await page.evaluate("jupyterapp.shell.currentWidget.dispose()")
    await browser.command("loops:delete", loop=loop["id"])
    await browser.row("Usual").wait_for(state="detached")
    # Without news the panel asks while it is seen.
    await page.evaluate(NOTE_PAUSES)
    await page.evaluate("jupyterapp.shell.collapseRight()")
    stage.add("Heard")
    await page.evaluate("pauses.length = 0")
    await browser.show_panel()
    await browser.row("Heard").wait_for()
    await page.wait_for_function("pause => pauses.includes(pause)", arg=1000 * POLL_S)
    # One that would flood the server is refused.
    for refused in (0.001, 1e9):
        body = {"raw": json.dumps({"pollSeconds": refused})}
        assert (await stage.server.api("PUT", "lab/api/settings/loopat-jupyter:face", body)).status == 400
    # So are they when they change.
    await stock()
    await page.locator("#jp-left-stack #jp-loops-panel").wait_for(state="attached")
    await browser.show_panel()
    await browser.make("Stock")
    loop = await stage.loop("Stock")
    assert (loop["vault"], loop["profiles"]) == ("default", [])
