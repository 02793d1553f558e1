"""A thousand loops in the panel, and how long that takes."""

from __future__ import annotations

import datetime
import gzip
import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest
import pytest_asyncio

from loopat_jupyter.workspace.records import LoopStore, new_record
from tests.labextension.browser import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from playwright.async_api import Page

    from tests.labextension.browser import Browser
    from tests.labextension.conftest import Stage

MANY = 1000
FRAMES, FRAMES_PER_S = 30, 60

PAINT = """async count => {
  const begun = performance.now();
  const seen = what => new Promise(resolve => {
    const look = () => document.querySelector(`.jp-Loops-item${what}`)
      ? requestAnimationFrame(() => resolve(performance.now() - begun)) : requestAnimationFrame(look);
    look();
  });
  jupyterapp.shell.activateById('jp-loops-panel');
  return [await seen(''), await seen(`[aria-setsize='${count}']`)];
}"""

CALM = """async perSecond => {
  const frame = () => new Promise(requestAnimationFrame);
  for (let calm = 0, waited = 0, last = await frame(); calm < perSecond / 2 && waited < 10 * perSecond; waited++) {
    const now = await frame();
    calm = now - last < 1100 / perSecond ? calm + 1 : 0;
    last = now;
  }
}"""
"""Half a second in which no frame comes late: what JupyterLab does when a panel is opened (it keeps the layout and
tells who has the focus) is not the list's, nor is what other tests leave to be done."""

SCROLL = """async ({selector, frames, perSecond}) => {
  const node = document.querySelector(selector);
  const times = [];
  for (let step = 0; step <= frames; step++) {
    node.scrollTop += 60;
    times.push(await new Promise(requestAnimationFrame));
  }
  const due = Math.round((times[times.length - 1] - times[0]) * perSecond / 1000);
  return Math.max(0, due - frames);
}"""

PLAIN_LIST = """count => {
  const list = document.createElement('div');
  list.id = 'plain-list';
  list.style = 'position: fixed; inset: 0 auto 0 0; width: 300px; overflow: auto; z-index: 10000; background: white';
  list.innerHTML = '<div style="height: 51px">Loop</div>'.repeat(count);
  document.body.append(list);
}"""
"""The floor: as many lines of text, to which nothing happens while they are scrolled."""


async def sweep(page: Page, selector: str, sweeps: int) -> list[int]:
    """How many frames are dropped in each sweep through a list."""
    dropped = []
    for _ in range(sweeps):
        await page.locator(selector).evaluate("node => { node.scrollTop = 0; }")
        await page.evaluate(CALM, FRAMES_PER_S)
        asked = {"selector": selector, "frames": FRAMES, "perSecond": FRAMES_PER_S}
        dropped.append(await page.evaluate(SCROLL, asked))
    return dropped


@pytest_asyncio.fixture(loop_scope="package")
async def many(stage: Stage) -> AsyncIterator[Browser]:
    """JupyterLab as it was opened with that many loops, of which it has shown none yet."""
    browser, workspace = stage.browser, stage.workspace
    # Nobody looks while they are made.
    await browser.page.goto("about:blank")
    template = new_record(title="Loop", created_by="ada", now=datetime.datetime.now(datetime.UTC))
    store = LoopStore(workspace)
    for number in range(MANY):
        identity = f"{number:08x}-0000-4000-8000-000000000000"
        workspace.loop(identity).mkdir()
        store.write(msgspec.structs.replace(template, id=identity, title=f"Loop {number}"))
    await browser.open(panel=False)
    # Nobody clicks before JupyterLab has loaded.
    await browser.page.evaluate("jupyterapp.restored")
    await browser.page.wait_for_load_state("networkidle")
    yield browser
    for folder in workspace.loops.iterdir():
        shutil.rmtree(folder)
    await browser.show_panel()
    await browser.command("loops:refresh")
    await browser.page.locator(".jp-Loops-empty").wait_for()


@pytest.mark.podman
@pytest.mark.serial
@pytest.mark.asyncio(loop_scope="package")
async def test_a_thousand_loops_are_shown_at_once(many: Browser, measure: Callable[[str, str], None]) -> None:
    page = many.page
    await page.evaluate(CALM, FRAMES_PER_S)
    first, all_known = await page.evaluate(PAINT, MANY)
    measure(f"panel with {MANY} loops, from the click to the first paint", f"{first:.0f} ms")
    measure(f"panel with {MANY} loops, from the click until all are known", f"{all_known:.0f} ms")
    # Rows that nobody sees cost nothing.
    assert await page.locator(".jp-Loops-item").count() < 60
    dropped = await sweep(page, ".jp-Loops-scroll", 3)
    measure(f"frames dropped of {FRAMES} while {MANY} loops scroll, three times", " ".join(map(str, dropped)))
    await page.evaluate(PLAIN_LIST, MANY)
    (floor,) = await sweep(page, "#plain-list", 1)
    measure(f"frames dropped of {FRAMES} while {MANY} lines of plain text scroll", f"{floor}")
    await page.locator("#plain-list").evaluate("node => node.remove()")
    await page.locator(".jp-Loops-scroll").evaluate("node => { node.scrollTop = node.scrollHeight; }")
    await page.locator(f".jp-Loops-item[aria-posinset='{MANY}']").wait_for()
    await page.locator(".jp-Loops-filter").fill("Loop 77")
    await page.locator(".jp-Loops-item[aria-setsize='11']").first.wait_for()
    await many.picture("many")
    await page.locator(".jp-Loops-filter").fill("")


def test_what_lab_loads_is_small(measure: Callable[[str, str], None]) -> None:
    static = ROOT / "loopat_jupyter" / "labextension" / "static"
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in static.glob("*.js")}
    (entry,) = (size for name, size in sizes.items() if name.startswith("remoteEntry"))
    measure("the face when Lab starts: its first chunk, gzipped", f"{entry / 1024:.1f} KiB")
    measure("the face, all chunks, gzipped", f"{sum(sizes.values()) / 1024:.1f} KiB")
    assert sum(sizes.values()) <= 60 * 1024
