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

POLL_MS = 150
"""The pause after which the panel asks without news."""


@pytest_asyncio.fixture(loop_scope="package")
async def set_up(stage: Stage) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Opens the page with settings; the next test finds it without them."""

    async def put(**settings: object) -> None:
        body = {"raw": json.dumps(settings)}
        assert (await stage.server.api("PUT", "lab/api/settings/loopat-jupyter:face", body)).status == 204
        await stage.browser.open()

    yield put
    await put()


async def test_settings_are_heeded(stage: Stage, set_up: Callable[..., Awaitable[None]]) -> None:
    browser, page = stage.browser, stage.browser.page
    (stage.workspace.home / "profiles" / "data").mkdir(parents=True)
    await stage.server.api("POST", "loopat/api/vaults", {"name": "work"})
    await set_up(
        defaultVault="work", defaultProfiles=["data"], confirmDelete=False, side="right", pollSeconds=POLL_MS / 1000
    )
    # A new loop begins as they say.
    assert await page.locator("#jp-right-stack #jp-loops-panel").count() == 1
    await browser.make("Usual")
    loop = await stage.loop("Usual")
    assert (loop["vault"], loop["profiles"]) == ("work", ["data"])
    await browser.command("loops:delete", loop=loop["id"])
    await browser.row("Usual").wait_for(state="detached")
    # Without news the panel asks while it is seen.
    for _ in range(2):
        await page.wait_for_event("request", lambda request: "/loopat/api/loops?" in request.url)
    await page.evaluate("jupyterapp.shell.collapseRight()")
    with browser.requests() as asked:
        await page.wait_for_timeout(3 * POLL_MS)
    # What was asked for before may still be told: an empty list asks for the machine as well.
    assert "GET loops" not in asked
