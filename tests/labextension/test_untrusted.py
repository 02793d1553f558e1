"""What strict loops show: nothing of it acts in JupyterLab, whatever ran it; real browser, real server, real podman."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import pytest_asyncio

from tests.jupyter_process import TOKEN
from tests.labextension.browser import READY
from tests.labextension.conftest import lab_server, new_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser as Chromium
    from playwright.async_api import Page

    from tests.labextension.browser import Browser
    from tests.labextension.conftest import Stage

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="package")]

KEPT = ("Quarry", "Meadow")

STARTUP = """
from IPython.display import HTML, SVG, display

BUTTON = '''<button data-commandlinker-command="apputils:notify"
    data-commandlinker-args='{"message": "pressed", "options": {"autoClose": false}}'>press</button>'''

def follow(*_):
    display(HTML('<b>follows</b><img src=x onerror="(window.ran ||= []).push(1)">' + BUTTON))
    display(SVG('<svg xmlns="http://www.w3.org/2000/svg"><text>drawn</text></svg>'))

get_ipython().events.register("post_run_cell", follow)
"""
"""What code in a loop leaves for a person who runs a cell: a script and a command, after whatever the cell shows."""

NEW_NOTEBOOK = """async ([path, name]) => {
  const { commands } = jupyterapp;
  const made = await commands.execute('docmanager:new-untitled', { path, type: 'notebook' });
  await commands.execute('docmanager:open', { path: made.path, factory: 'Notebook', kernel: { name } });
}"""

# Once an image that is made later has failed, all that were there before have.
RAN = """async () => {
  await new Promise(resolve => {
    const image = new Image();
    image.onerror = resolve;
    image.src = `x?${Date.now()}`;
  });
  return (window.ran ?? []).length;
}"""

TOLD = "is strict: what its cells show is not trusted"


class Loops(NamedTuple):
    """Two loops that run the same code.

    Attributes:
        strict: Folder of the one whose isolation is `strict`.
        nested: Folder of the other one.
        strict_id: The first one's id.
    """

    strict: str
    nested: str
    strict_id: str


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def loops(shared_stage: Stage) -> AsyncIterator[Loops]:
    """A strict loop and one that is not, both with code that shows a script after each cell."""
    made: list[dict[str, Any]] = []
    for title, isolation in (("Quarry", "strict"), ("Meadow", "nested")):
        loop = {"title": title, "config": {"isolation": isolation, "network": "none"}}
        made.append((await shared_stage.server.api("POST", "loopat/api/loops", loop)).body)
        startup = shared_stage.workspace.loop_home(made[-1]["id"]) / ".ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "00.py").write_text(STARTUP)
    yield Loops(made[0]["folder"], made[1]["folder"], made[0]["id"])
    await shared_stage.clear()


async def new_notebook(page: Page, folder: str, kernel: str = "python3") -> None:
    await page.evaluate("window.ran = []")
    await page.evaluate(NEW_NOTEBOOK, [folder, kernel])
    await page.wait_for_selector(".jp-NotebookPanel .jp-Cell .cm-content")
    await page.evaluate(READY)


async def shown(page: Page, where: str) -> int:
    """How many scripts ran, once the text beside them is there."""
    await page.locator(f"{where} b", has_text="follows").first.wait_for()
    ran: int = await page.evaluate(RAN)
    return ran


def notices(browser: Browser) -> Any:
    return browser.page.locator(".Toastify__toast", has_text=TOLD)


async def test_outputs_of_other_loops_act_as_in_any_jupyterlab(stage: Stage, loops: Loops) -> None:
    page = stage.browser.page
    await new_notebook(page, f"loops:{loops.nested}")
    await stage.browser.run_cell("1")
    assert await shown(page, ".jp-NotebookPanel .jp-OutputArea") > 0
    await page.locator(".jp-NotebookPanel .jp-RenderedSVG img").first.wait_for()
    await page.locator(".jp-OutputArea button", has_text="press").click()
    await page.locator(".Toastify__toast", has_text="pressed").wait_for()
    assert await notices(stage.browser).count() == 0


async def test_outputs_of_a_strict_loop_do_not(stage: Stage, loops: Loops) -> None:
    browser, page = stage.browser, stage.browser.page
    await new_notebook(page, f"loops:{loops.strict}")
    assert await browser.run_cell("1") == "1"
    assert await shown(page, ".jp-NotebookPanel .jp-OutputArea") == 0
    assert await page.locator(".jp-OutputArea [onerror], .jp-RenderedSVG img").count() == 0
    await notices(browser).wait_for()
    await page.locator(".jp-OutputArea button", has_text="press").click()
    # Not by trusting it, nor in views beside it, nor in copies of its cells elsewhere.
    await page.evaluate(
        "[...jupyterapp.shell.currentWidget.content.model.cells].forEach(cell => { cell.trusted = true; })"
    )
    assert await shown(page, ".jp-NotebookPanel .jp-OutputArea") == 0
    assert await page.locator(".jp-Dialog, .Toastify__toast:has-text('pressed')").count() == 0
    await page.evaluate("jupyterapp.shell.currentWidget.content.activeCellIndex = 0")
    await page.evaluate("jupyterapp.commands.execute('notebook:create-output-view')")
    assert await shown(page, ".jp-LinkedOutputView") == 0
    await page.evaluate("jupyterapp.shell.currentWidget.dispose()")
    await page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    await page.evaluate("jupyterapp.commands.execute('docmanager:clone')")
    await page.locator(".jp-NotebookPanel").nth(1).wait_for()
    assert await shown(page, ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea") == 0
    await page.evaluate("jupyterapp.shell.currentWidget.content.activeCellIndex = 0")
    await page.evaluate("jupyterapp.commands.execute('notebook:copy-cell')")
    await new_notebook(page, "")
    await page.evaluate("jupyterapp.commands.execute('notebook:paste-cell-below')")
    assert await shown(page, ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea") == 0
    assert await notices(browser).count() == 1


async def test_nor_do_those_of_its_consoles(stage: Stage, loops: Loops) -> None:
    page = stage.browser.page
    await page.evaluate("window.ran = []")
    await page.evaluate(
        "cwd => jupyterapp.commands.execute('console:create', { cwd, kernelPreference: { name: 'python3' } })",
        f"loops:{loops.strict}",
    )
    await page.locator(".jp-CodeConsole-banner", has_text="Python").wait_for()
    await page.locator(".jp-CodeConsole-promptCell .cm-content").click()
    await page.keyboard.insert_text("1")
    await page.keyboard.press("Shift+Enter")
    assert await shown(page, ".jp-CodeConsole .jp-OutputArea") == 0
    await notices(stage.browser).wait_for()


async def test_nor_do_those_of_its_kernel_in_a_notebook_elsewhere(stage: Stage, loops: Loops) -> None:
    page = stage.browser.page
    await page.evaluate("jupyterapp.serviceManager.kernelspecs.refreshSpecs()")
    names = await page.evaluate("Object.keys(jupyterapp.serviceManager.kernelspecs.specs.kernelspecs)")
    [name] = [name for name in names if loops.strict_id[:8] in name and name.endswith("python3")]
    await new_notebook(page, "", name)
    await stage.browser.run_cell("1")
    assert await shown(page, ".jp-NotebookPanel .jp-OutputArea") == 0
    # What was saved is not trusted either when it is opened without that kernel.
    cells = "[...jupyterapp.shell.currentWidget.content.model.sharedModel.cells]"
    assert True not in await page.evaluate(f"{cells}.map(cell => cell.getMetadata('trusted'))")


async def test_nor_do_they_where_the_server_shows_its_folder(
    stage: Stage, chromium: Chromium, loops: Loops, tmp_path: Path
) -> None:
    workspace = stage.workspace
    environ = {"LOOPAT_HOME": str(workspace.home)}
    async with lab_server(tmp_path, environ, root=workspace.workdir(loops.strict_id)) as server:
        browser = await new_page(chromium, server)
        await browser.open()
        await new_notebook(browser.page, "")
        await browser.run_cell("1")
        assert await shown(browser.page, ".jp-NotebookPanel .jp-OutputArea") == 0
        await notices(browser).wait_for()
        await browser.page.context.close()


async def test_nor_do_they_in_notebook_7(stage: Stage, chromium: Chromium, loops: Loops) -> None:
    path = f"{loops.strict}/seven.ipynb"
    cell = {"cell_type": "code", "metadata": {}, "source": "", "outputs": [], "execution_count": None}
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = {"nbformat": 4, "nbformat_minor": 4, "metadata": metadata, "cells": [cell]}
    await stage.server.api("PUT", f"loopat/api/contents/{path}", {"type": "notebook", "content": notebook})
    browser = await new_page(chromium, stage.server)
    await browser.page.goto(f"{stage.server.url}notebooks/loops:{path}?token={TOKEN}")
    await browser.page.wait_for_selector(".jp-NotebookPanel .jp-Cell .cm-content")
    assert await browser.run_cell("1") == "1"
    assert await shown(browser.page, ".jp-NotebookPanel .jp-OutputArea") == 0
    await notices(browser).wait_for()
    await browser.page.context.close()
