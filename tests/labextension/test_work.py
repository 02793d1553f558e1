"""Working in a loop that runs: launcher, notebooks, files, keyboard; real browser, real server, real podman."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.small_kernels import add_small_kernel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Locator, Page

    from tests.labextension.conftest import Stage

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="package")]

KEPT = ("Harbour",)
NOTE = {"type": "file", "format": "text", "content": "rain"}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
NOTE_DIALOGS = """() => {
  window.noted = { dialogs: 0, statuses: [] };
  jupyterapp.shell.currentWidget.sessionContext.statusChanged.connect((_, status) => noted.statuses.push(status));
  new MutationObserver(changes => changes.forEach(({ addedNodes }) => addedNodes.forEach(node => {
    noted.dialogs += Number(node.classList.contains('jp-Dialog'));
  }))).observe(document.body, { childList: true });
}"""
NODE = "import os; print(os.uname().nodename)"


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def harbour(shared_stage: Stage) -> AsyncIterator[str]:
    """The id of a loop that runs, in which kernels start at once: how IPython does is seen in the panel's tests."""
    record = shared_stage.add("Harbour")
    add_small_kernel(shared_stage.workspace.loop_home(record.id))
    assert (await shared_stage.server.api("POST", f"loopat/api/loops/{record.id}/start")).status == 200
    yield record.id
    await shared_stage.clear()


async def test_cards_of_the_launcher_start_in_the_open_loop(stage: Stage, harbour: str) -> None:
    browser, page = stage.browser, stage.browser.page
    # JupyterLab asks for kernels now and then, and so learns of the loop's.
    await page.evaluate("jupyterapp.serviceManager.kernelspecs.refreshSpecs()")
    await browser.name("Harbour").click()
    await page.wait_for_selector("#jp-loops-files .jp-DirListing-content")
    await browser.command("launcher:create")
    section = page.locator(".jp-Launcher-section", has_text="Loop: Harbour").last
    await section.wait_for()
    cards = section.locator(".jp-LauncherCard")
    assert [await card.get_attribute("title") for card in await cards.all()] == [
        f"{what} in “Harbour”" for what in ("New Notebook", "New Console", "New Terminal", "Helper", "Other")
    ]
    # The kernel that the loop offers by name is there for whoever asks for it, and has no card of its own.
    offered = await page.evaluate("Object.keys(jupyterapp.serviceManager.kernelspecs.specs.kernelspecs)")
    assert any(harbour[:8] in name for name in offered)
    assert await page.locator(".jp-LauncherCard", has_text="(loop:").count() == 0
    assert await page.locator(".jp-LauncherCard[data-category='Notebook']:visible").count() >= 1
    status = page.locator(".jp-Loops-statusButton")
    await status.get_by_text("Harbour").wait_for()
    titles = page.locator(".jp-Launcher-sectionTitle:visible")
    assert await titles.first.inner_text() == "Loop: Harbour"
    await browser.picture("launcher")
    await cards.first.click()
    assert await browser.run_cell(NODE) == f"loop-{harbour[:8]}"
    await browser.command("launcher:create")
    await section.wait_for()
    await cards.nth(1).click()
    # JupyterLab leaves the name of the drive out of a console's path.
    console = page.locator(".jp-CodeConsole")
    await console.locator(".jp-CodeConsole-banner", has_text="Python").wait_for()
    await console.locator(".jp-CodeConsole-promptCell .cm-content").click()
    await page.keyboard.insert_text(NODE)
    await page.keyboard.press("Shift+Enter")
    await console.locator(".jp-OutputArea-output", has_text=f"loop-{harbour[:8]}").wait_for()
    await browser.command("launcher:create")
    await section.wait_for()
    await cards.nth(2).click()
    await page.wait_for_selector(".jp-Terminal .xterm-screen")
    await page.locator(".lm-TabBar-tabLabel", has_text="Harbour: ").wait_for()
    terminal = (await stage.server.api("GET", "api/terminals")).body[-1]["name"]
    async with stage.server.terminal(terminal) as watched:
        assert f"loop-{harbour[:8]}" in await watched.run("uname -n")
    # JupyterLab's own, as from the File menu, opens where the files are shown.
    own = await page.evaluate(
        "jupyterapp.commands.execute('terminal:create-new').then(({ content }) => content.session.name)"
    )
    assert own.startswith(harbour[:8])
    await stage.server.api("DELETE", f"api/terminals/{own}")
    # Outside loops there are no such cards.
    await page.locator("#jp-loops-files .jp-BreadCrumbs-home").click()
    await browser.command("launcher:create")
    await page.locator(".jp-Launcher").last.wait_for()
    await section.wait_for(state="detached")
    # The status bar names the loop of what is in front.
    for tab in ("Harbour: ", "Console"):
        await status.wait_for(state="detached")
        await page.locator(".lm-DockPanel-tabBar .lm-TabBar-tabLabel", has_text=tab).click()
        await status.get_by_text("Harbour").wait_for()
        await browser.command("launcher:create")
    # Who stops it knows what ends.
    await browser.show_panel()
    await browser.action("Harbour", "Stop").click()
    ends = "This ends: 2 kernels, 1 terminal. Files stay. A notebook’s kernel"
    await page.locator(".jp-Dialog", has_text=ends).wait_for()
    assert await browser.findings(".jp-Dialog") == []
    await browser.answer("Stop")
    await browser.state("Harbour", "stopped")
    await browser.row("Harbour").locator(".jp-Loops-inside").wait_for(state="detached")
    await page.wait_for_function("[...jupyterapp.serviceManager.sessions.running()].length === 0")
    assert await page.locator(".Toastify__toast", has_text="was stopped").count() == 0
    # After a stop, a console gets a kernel when it is run again, as a notebook does.
    await page.locator(".lm-DockPanel-tabBar .lm-TabBar-tabLabel", has_text="Console").click()
    await console.locator(".jp-OutputArea-output").wait_for(state="detached")
    await console.locator(".jp-CodeConsole-promptCell .cm-content").click()
    await page.keyboard.insert_text(NODE)
    await page.keyboard.press("Shift+Enter")
    await console.locator(".jp-OutputArea-output", has_text=f"loop-{harbour[:8]}").wait_for()


async def test_agents_start_in_their_loop(stage: Stage, harbour: str) -> None:
    browser, page = stage.browser, stage.browser.page
    await browser.name("Harbour").click()
    await page.wait_for_selector("#jp-loops-files .jp-DirListing-content")
    await browser.command("launcher:create")
    await page.locator(".jp-LauncherCard[title='Helper in “Harbour”']:visible").click()
    await page.wait_for_selector(".jp-Terminal .xterm-screen")
    terminal = (await stage.server.api("GET", "api/terminals")).body[-1]["name"]
    async with stage.server.terminal(terminal) as watched:
        await watched.until(f"Helper on loop-{harbour[:8]}")
    # From the menu of a row, where several agents are there, one is picked.
    await browser.show_panel()
    await browser.row("Harbour").click(button="right")
    await page.locator(".lm-Menu").get_by_text("Agent…", exact=True).click()
    await page.locator(".jp-Dialog", has_text="Agent in “Harbour”").wait_for()
    await page.locator(".jp-Dialog select").select_option("Other")
    await browser.answer("Start")
    await page.locator(".lm-TabBar-tabLabel", has_text="Harbour: ").nth(1).wait_for()
    opened = {each["name"] for each in (await stage.server.api("GET", "api/terminals")).body} - {terminal}
    async with stage.server.terminal(opened.pop()) as watched:
        await watched.until(f"Other on loop-{harbour[:8]}")
    # The palette has it too.
    await page.keyboard.press("Control+Shift+c")
    for command in ("Loops: Agent", "Loops: Refresh"):
        await page.locator(".lm-CommandPalette-input").fill(command)
        await page.locator(".lm-CommandPalette-itemLabel", has_text=command).wait_for()
    await page.keyboard.press("Escape")


async def test_new_settings_are_taken_with_the_button_in_the_row(stage: Stage, harbour: str) -> None:
    browser, page = stage.browser, stage.browser.page
    await browser.action("Harbour", "New notebook in").click()
    assert await browser.run_cell(NODE) == f"loop-{harbour[:8]}"
    await browser.row("Harbour").locator(".jp-Loops-inside", has_text="1 kernel").wait_for()
    await stage.server.api("PATCH", f"loopat/api/loops/{harbour}", {"config": {"knowledge_rw": True}})
    recreate = browser.action("Harbour", "Recreate “Harbour”")
    await browser.row("Harbour").click(button="right")
    await page.locator(".lm-Menu").get_by_text("Loop Settings…", exact=True).click()
    await browser.form()
    fields = ("title", "vault", "image", "network", "knowledge", "memory")
    shown = [await page.input_value(f"#jp-loops-{field}") for field in fields]
    assert shown == ["Harbour", "", "", "", "changed", ""]
    await browser.picture("loop-settings")
    # What is wrong is said beside its field, which has the focus; what was typed stays.
    await page.select_option("#jp-loops-network", "none")
    for wrong, told in (("4GB", "Give a number"), ("0.001", "Must be at least 0.006")):
        await page.fill("#jp-loops-memory", wrong)
        await page.keyboard.press("Enter")
        await page.locator("#jp-loops-memory-problem", has_text=told).wait_for()
    await page.wait_for_function("document.activeElement.id === 'jp-loops-memory'")
    assert await browser.findings(".jp-Dialog") == []
    await page.fill("#jp-loops-memory", "2")
    # What somebody else changes meanwhile is not undone.
    await stage.server.api("PATCH", f"loopat/api/loops/{harbour}", {"config": {"knowledge_rw": None}})
    assert await recreate.count() == 0
    async with page.expect_response(lambda response: response.request.method == "PATCH") as answered:
        await page.keyboard.press("Enter")
    assert list((await answered.value).request.post_data_json) == ["config"]
    await page.locator(".jp-Dialog").wait_for(state="detached")
    await recreate.wait_for()
    config = (await stage.loop("Harbour"))["config"]
    assert (config["network"], config["resources"]["memory_bytes"]) == ("none", 2 * 2**30)
    assert config["knowledge_rw"] is None
    assert await browser.findings("#jp-loops-panel") == []
    await browser.picture("recreate-needed")
    await recreate.click()
    ends = "This ends 1 kernel; kernels of notebooks start again."
    await page.locator(".jp-Dialog", has_text=f"{ends} Files and home stay").wait_for()
    assert await browser.findings(".jp-Dialog") == []
    await page.evaluate(NOTE_DIALOGS)
    await browser.answer("Recreate")
    await page.locator(".Toastify__toast", has_text=ends).wait_for()
    await recreate.wait_for(state="detached")
    await browser.state("Harbour", "running")
    assert not (await stage.loop("Harbour"))["restart_needed"]
    # Its kernels are restarted, which JupyterLab does not call a death.
    await page.locator(".Toastify__toast", has_text="The kernels of “Harbour” were restarted").wait_for()
    await page.wait_for_function("noted.statuses.at(-1) === 'idle'")
    assert await browser.run_again() == f"loop-{harbour[:8]}"
    # Whoever recreates it, a cell that still runs does not wait for ever.
    await page.locator(".jp-NotebookPanel .jp-Cell .cm-content").nth(1).click()
    await page.keyboard.insert_text("import signal; signal.pause()")
    await page.keyboard.press("Shift+Enter")
    waiting = page.locator(".jp-NotebookPanel .jp-InputPrompt", has_text="[*]:")
    await waiting.wait_for()
    assert (await stage.server.api("POST", f"loopat/api/loops/{harbour}/recreate")).status == 200
    await waiting.wait_for(state="detached")
    await page.wait_for_function("noted.statuses.at(-1) === 'idle'")
    assert await browser.run_again() == f"loop-{harbour[:8]}"
    # Nothing was built for it: that is no error.
    await browser.row("Harbour").click(button="right")
    await page.locator(".lm-Menu").get_by_text("Show Build Log", exact=True).click()
    await page.locator(".Toastify__toast--info", has_text="No build log: the image has not been built").wait_for()
    # Who stops it knows that its kernels end; who works in it is told.
    await browser.action("Harbour", "Stop").click()
    await page.locator(".jp-Dialog", has_text="This ends: 1 kernel.").wait_for()
    await browser.answer("Cancel")
    await browser.action("Harbour", "New terminal in").click()
    await browser.row("Harbour").locator(".jp-Loops-inside", has_text="1 kernel, 1 terminal").wait_for()
    assert (await stage.server.api("POST", f"loopat/api/loops/{harbour}/stop")).status == 200
    # Terminals that were closed just before may count.
    told = re.compile(r"“Harbour” was stopped\. This ended: 1 kernel, \d terminals?\.")
    await page.locator(".Toastify__toast", has_text=told).wait_for()
    await page.locator(".jp-Toolbar-kernelName:visible", has_text="No Kernel").wait_for()
    assert await page.evaluate("noted.dialogs") == 1


async def drop(page: Page, target: Locator, file: Path) -> None:
    """Drop a file of the machine on a part of the page, as from a file manager."""
    box = await target.bounding_box()
    assert box is not None
    where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] - 5}
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    session = await page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        await session.send("Input.dispatchDragEvent", {"type": kind, **where, "data": data})


async def test_files_of_a_loop_are_files_of_lab(stage: Stage, harbour: str, tmp_path: Path) -> None:
    page = stage.browser.page
    await stage.server.api("PUT", f"loopat/api/contents/{await folder(stage)}/note.txt", NOTE)
    await stage.browser.name("Harbour").click()
    files = page.locator("#jp-loops-files")
    await files.locator(".jp-DirListing-content").wait_for()
    async with page.expect_file_chooser() as choosing:
        await files.get_by_role("button", name="Upload").first.click()
    upload = {"name": "rain.csv", "mimeType": "text/csv", "buffer": b"day,mm\n1,7\n"}
    await (await choosing.value).set_files([upload])  # type: ignore[list-item]
    item = files.locator(".jp-DirListing-item", has_text="rain.csv")
    await item.wait_for()
    uploaded = stage.workspace.workdir(harbour) / "rain.csv"
    assert uploaded.read_bytes() == upload["buffer"]
    await item.click()
    await page.keyboard.press("F2")
    await page.keyboard.type("march")
    await page.keyboard.press("Enter")
    renamed = files.locator(".jp-DirListing-item", has_text="march")
    await renamed.wait_for()
    assert not uploaded.exists()
    # What is dropped there is uploaded; an image is shown.
    (tmp_path / "dot.png").write_bytes(base64.b64decode(PIXEL))
    await drop(page, files.locator(".jp-DirListing-content"), tmp_path / "dot.png")
    await files.locator(".jp-DirListing-item", has_text="dot.png").dblclick()
    await page.wait_for_function("document.querySelector('.jp-ImageViewer img')?.naturalWidth === 1")
    # What is edited and saved is in the loop.
    note = stage.workspace.workdir(harbour) / "note.txt"
    await files.locator(".jp-DirListing-item", has_text="note.txt").dblclick()
    editor = page.locator(".jp-FileEditor .cm-content")
    await editor.click()
    await page.keyboard.press("Control+End")
    await page.keyboard.type(" in March")
    await page.keyboard.press("Control+s")
    await page.locator(".jp-Document.jp-mod-dirty").wait_for(state="detached")
    await page.wait_for_function("!jupyterapp.shell.currentWidget.context.model.dirty")
    assert note.read_text() == "rain in March"
    await stage.browser.picture("editor")
    await page.evaluate("jupyterapp.shell.currentWidget.dispose()")
    # What is deleted is gone.
    await files.locator(".jp-DirListing-item", has_text="note.txt").click()
    await page.keyboard.press("Delete")
    await stage.browser.answer("Move to Trash")
    await files.locator(".jp-DirListing-item", has_text="note.txt").wait_for(state="detached")
    assert not note.exists()


async def folder(stage: Stage) -> str:
    name: str = (await stage.loop("Harbour"))["folder"]
    return name
