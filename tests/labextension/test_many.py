"""A thousand loops in the panel, and how long that takes."""

from __future__ import annotations

import datetime
import gzip
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from loopat_jupyter.workspace.records import LoopStore, new_record
from tests.labextension.browser import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopat_jupyter.workspace.paths import Workspace

MANY = 1000
FRAMES_PER_S = 60

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

SCROLL = """async ({frames, perSecond}) => {
  const node = document.querySelector('.jp-Loops-scroll');
  const times = [];
  for (let frame = 0; frame <= frames; frame++) {
    node.scrollTop += 60;
    times.push(await new Promise(requestAnimationFrame));
  }
  const due = Math.round((times[times.length - 1] - times[0]) * perSecond / 1000);
  return Math.max(0, due - frames);
}"""


@pytest.mark.podman
@pytest.mark.serial
@pytest.mark.asyncio(loop_scope="package")
async def test_a_thousand_loops_are_shown_at_once(
    start_server: Callable[..., Any],
    opened: Callable[..., Any],
    workspace: Workspace,
    measure: Callable[[str, str], None],
) -> None:
    template = new_record(title="Loop", created_by="ada", now=datetime.datetime.now(datetime.UTC))
    store = LoopStore(workspace)
    for number in range(MANY):
        identity = f"{number:08x}-0000-4000-8000-000000000000"
        workspace.loop(identity).mkdir()
        store.write(msgspec.structs.replace(template, id=identity, title=f"Loop {number}"))
    async with start_server() as server, opened(server, panel=False) as browser:
        page = browser.page
        # Nobody clicks before JupyterLab has loaded.
        await page.evaluate("jupyterapp.restored")
        await page.wait_for_load_state("networkidle")
        first, all_known = await page.evaluate(PAINT, MANY)
        measure(f"panel with {MANY} loops, from the click to the first paint", f"{first:.0f} ms")
        measure(f"panel with {MANY} loops, from the click until all are known", f"{all_known:.0f} ms")
        # Rows that nobody sees cost nothing.
        assert await page.locator(".jp-Loops-item").count() < 60
        frames = 120
        dropped = await page.evaluate(SCROLL, {"frames": frames, "perSecond": FRAMES_PER_S})
        measure(f"frames dropped of {frames} while {MANY} loops scroll", f"{dropped}")
        await page.locator(".jp-Loops-scroll").evaluate("node => { node.scrollTop = node.scrollHeight; }")
        await page.locator(f".jp-Loops-item[aria-posinset='{MANY}']").wait_for()
        await page.locator(".jp-Loops-filter").fill("Loop 77")
        await page.locator(".jp-Loops-item[aria-setsize='11']").first.wait_for()
        await browser.picture("many")


def test_what_lab_loads_is_small(measure: Callable[[str, str], None]) -> None:
    static = ROOT / "loopat_jupyter" / "labextension" / "static"
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in static.glob("*.js")}
    (entry,) = (size for name, size in sizes.items() if name.startswith("remoteEntry"))
    measure("the face when Lab starts: its first chunk, gzipped", f"{entry / 1024:.1f} KiB")
    measure("the face, all chunks, gzipped", f"{sum(sizes.values()) / 1024:.1f} KiB")
    assert sum(sizes.values()) <= 60 * 1024
