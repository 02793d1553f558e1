"""The Loops panel, as a person sees and uses it: real browser, real server, real podman."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.labextension.browser import READY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.labextension.conftest import Stage

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="package")]

PAUSE_MS = 300
"""Longer than the face waits for further events before it asks."""

EVERY_ACTION = [
    *("New Notebook", "New Console", "New Terminal", "Show Files", "Start", "Stop", "Recreate…"),
    *("Share…", "Rename…", "Loop Settings…", "Archive", "Show Build Log", "Delete…"),
]


LOOK = "jupyterapp.serviceManager.terminals.refreshRunning()"
"""Has JupyterLab look for what runs, as it does every few seconds."""
PLAIN = {
    "type": "notebook",
    "format": "json",
    "content": {"cells": [], "nbformat": 4, "nbformat_minor": 5, "metadata": {}},
}


TERMINAL_BELOW = """() => {
  const widgets = [...jupyterapp.shell.widgets('main')];
  const [notebook, terminal] = ['.jp-Notebook', '.jp-Terminal'].map(
    kind => widgets.find(widget => widget.node.querySelector(kind))
  );
  jupyterapp.shell.add(terminal, 'main', { mode: 'split-bottom', ref: notebook.id });
}"""
"""As a person drags it there, to see both."""


CAN_SAVE = "jupyterapp.shell.currentWidget.context.canSave"
"""Whether JupyterLab saves by itself what is in front."""

CLOSE = """label => {
  [...jupyterapp.shell.widgets('main')].find(widget => widget.title.label === label).dispose();
}"""

ARCHIVED_BELOW = """() => {
  const [button, list] = ['.jp-Loops-archived', '[aria-label="Archived loops"]'].map(
    selector => document.querySelector(`#jp-loops-panel ${selector}`));
  const isAfter = button.compareDocumentPosition(list) & Node.DOCUMENT_POSITION_FOLLOWING;
  return isAfter && list.getBoundingClientRect().top >= button.getBoundingClientRect().bottom;
}"""


async def test_a_person_makes_a_loop_and_works_in_it(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    await page.wait_for_selector(".jp-Loops-empty")
    await browser.picture("empty")
    # A double click asks once.
    await page.locator(".jp-Loops-empty button").dblclick()
    await browser.form()
    await page.keyboard.press("Escape")
    await page.locator(".jp-Dialog").wait_for(state="detached")
    # From a new loop to a cell that ran, with the keyboard alone.
    await page.locator("body").press("Control+Alt+l")
    await browser.form()
    await page.keyboard.type("Rain in March")
    await browser.picture("dialog")
    await page.keyboard.press("Enter")
    await page.wait_for_function("document.activeElement.textContent === 'Rain in March'")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    await page.wait_for_function("document.activeElement.closest('.jp-Notebook') !== null")
    await page.evaluate(READY)
    # Whatever mode the notebook is in, this leads into its cell.
    await page.keyboard.press("Escape")
    await page.keyboard.press("Enter")
    await page.keyboard.type("import os;")
    await page.keyboard.insert_text("print(os.uname().nodename)")
    await page.keyboard.press("Shift+Enter")
    identity = (await stage.loop("Rain in March"))["id"]
    assert await browser.output() == f"loop-{identity[:8]}"
    # It says where it runs, and what the loop takes.
    await page.wait_for_selector(".jp-Loops-statusButton >> text=Rain in March")
    await page.locator(".jp-Loops-usage", has_text="MiB").wait_for()
    await browser.row("Rain in March").locator("text=1 kernel").wait_for()
    badge = page.locator(".jp-NotebookPanel-toolbar .jp-Loops-badgeButton")
    assert await badge.inner_text() == "Rain in March"
    assert await browser.findings(".jp-NotebookPanel-toolbar .jp-Loops-badge") == []
    await page.get_by_role("tab", name="File Browser").first.click()
    await page.locator("#jp-loops-panel").wait_for(state="hidden")
    await badge.click()
    await browser.row("Rain in March").wait_for()
    await page.wait_for_function("document.activeElement.textContent === 'Rain in March'")
    with browser.requests() as asked:
        await browser.action("Rain in March", "New terminal in").dblclick()
        await page.wait_for_selector(".jp-Terminal .xterm-screen")
    assert asked.count(f"POST loops/{identity}/terminals") == 1
    await browser.row("Rain in March").locator("text=1 terminal").wait_for()
    terminal = (await stage.server.api("GET", "api/terminals")).body[-1]["name"]
    async with stage.server.terminal(terminal) as watched:
        await watched.until("$ ")
        await page.evaluate(TERMINAL_BELOW)
        await page.keyboard.type("ps -ef\n")
        await watched.until("ipykernel")
        await watched.until("$ ")
    await browser.picture("work")
    await browser.name("Rain in March").click()
    await page.locator("#jp-loops-files .jp-DirListing-item", has_text="Untitled.ipynb").wait_for()
    await browser.picture("files")
    # A notebook beside the loops has no badge.
    await stage.server.api("PUT", "api/contents/plain.ipynb", PLAIN)
    await browser.command("docmanager:open", path="plain.ipynb")
    await page.locator(".jp-Dialog", has_text="Select Kernel").wait_for()
    await browser.answer("No Kernel")
    await page.locator(".jp-NotebookPanel-toolbar .jp-Loops-badge").nth(1).wait_for(state="hidden")
    assert await badge.count() == 1


async def test_start_stop_archive_and_delete(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    await browser.make("Cycle")
    identity = (await stage.loop("Cycle"))["id"]
    path = f"loops/{identity}"
    # What ran in tests before has ended, which JupyterLab may not have seen yet.
    await page.evaluate(LOOK)
    await page.wait_for_timeout(PAUSE_MS)
    await browser.action("Cycle", "Start").focus()
    with browser.requests() as asked:
        for verb, state in (("Start", "running"), ("Stop", "stopped")):
            async with page.expect_response(re.compile(rf"/{verb.lower()}\b")):
                # The button that stops it is the one that started it, so the keyboard stays where it was.
                assert await browser.action("Cycle", verb).evaluate("node => node === document.activeElement")
                await page.keyboard.press("Enter")
            await browser.state("Cycle", state)
            await page.evaluate(LOOK)
            await page.wait_for_timeout(PAUSE_MS)
    # The answers and the events say everything.
    assert asked == [f"POST {path}/start", f"POST {path}/stop"]
    await browser.action("Cycle", "New terminal in").click()
    await page.locator(".lm-TabBar-tabLabel", has_text="Cycle: Terminal").wait_for()
    await browser.row("Cycle").locator("text=1 terminal").wait_for()
    # What would be lost besides is named.
    (stage.workspace.workdir(identity) / "draft.txt").write_text("")
    folder = (await stage.loop("Cycle"))["folder"]
    await browser.leave_unsaved(f"loops:{folder}/draft.txt", "not saved")
    unsaved = "This ends: 1 terminal. Not saved yet: draft.txt."
    await browser.command("loops:delete", loop=identity)
    await page.locator(".jp-Dialog", has_text=f"{unsaved} This cannot be undone.").wait_for()
    await browser.answer("Cancel")
    await browser.command("loops:archive", loop=identity)
    says = f"{unsaved} Files stay. Until it is unarchived, they are read-only"
    await page.locator(".jp-Dialog", has_text=says).wait_for()
    await browser.answer("Archive")
    await browser.row("Cycle").wait_for(state="detached")
    # What is not saved cannot be saved there until it is unarchived, and JupyterLab does not try.
    stranded = page.locator(".Toastify__toast", has_text="“Cycle” was archived. Not saved: draft.txt.")
    await stranded.wait_for()
    assert await browser.findings(".Toastify__toast") == []
    assert not await page.evaluate(CAN_SAVE)
    archived = page.get_by_role("button", name="Archived")
    await archived.click()
    await browser.state("Cycle", "archived")
    await browser.command("loops:delete", loop=identity)
    await page.locator(".jp-Dialog", has_text="Not saved yet: draft.txt. This cannot be undone.").wait_for()
    await browser.answer("Cancel")
    await stranded.get_by_role("button", name="Unarchive").click()
    await browser.action("Cycle", "Start").wait_for()
    await stranded.wait_for(state="detached")
    await archived.click()
    await page.evaluate("jupyterapp.commands.execute('apputils:dismiss-notification', {})")
    await page.locator(".Toastify__toast").first.wait_for(state="detached")
    await browser.command("loops:archive", loop=identity)
    await browser.answer("Save and Archive")
    await browser.row("Cycle").wait_for(state="detached")
    assert (stage.workspace.workdir(identity) / "draft.txt").read_text() == "not saved"
    await page.evaluate(CLOSE, "draft.txt")
    notice = page.locator(".Toastify__toast", has_text="“Cycle” is archived.")
    await notice.get_by_role("button", name="Undo").click()
    await browser.row("Cycle").wait_for()
    await notice.wait_for(state="detached")
    # Nothing runs in it now, so nobody is asked. The focus goes on to the next row.
    stage.add("Next")
    await browser.row("Next").wait_for()
    await browser.name("Cycle").focus()
    await browser.command("loops:archive", loop=identity)
    await browser.row("Cycle").wait_for(state="detached")
    await page.wait_for_function("document.activeElement.textContent === 'Next'")
    await stage.clear("Cycle")
    await page.wait_for_function("document.activeElement.closest('.jp-Loops-empty')")
    await notice.wait_for()
    await archived.click()
    await browser.state("Cycle", "archived")
    assert await page.evaluate(ARCHIVED_BELOW)
    assert await browser.findings("#jp-loops-panel") == []
    await browser.picture("archived")
    await browser.command("loops:delete", loop=identity)
    await page.locator(".jp-Dialog", has_text="cannot be undone").wait_for()
    await browser.answer("Delete")
    await browser.row("Cycle").wait_for(state="detached")
    assert list(stage.workspace.loops.iterdir()) == []
    await page.get_by_text("No loop is archived.").wait_for()
    await archived.click()


async def test_a_loop_made_changed_and_deleted_elsewhere_is_followed(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    record = stage.add("Elsewhere")
    await browser.row("Elsewhere").wait_for()
    # What cannot be read of one loop is told in its row.
    one = re.compile(rf"/loops/{record.id}(\?|$)")
    await page.route(one, lambda route: route.fulfill(status=500), times=1)
    await stage.server.api("PATCH", f"loopat/api/loops/{record.id}", {"title": "Renamed"})
    await browser.row("Elsewhere").get_by_text("This may be out of date. 500").wait_for()
    assert await browser.findings("#jp-loops-panel") == []
    await browser.command("loops:refresh")
    await browser.row("Renamed").wait_for()
    assert await browser.row("Renamed").locator(".jp-Loops-note").count() == 0
    (stage.workspace.workdir(record.id) / "elsewhere.txt").write_text("")
    folder = (await stage.loop("Renamed"))["folder"]
    await browser.leave_unsaved(f"loops:{folder}/elsewhere.txt", "nowhere else")
    await stage.server.api("DELETE", f"loopat/api/loops/{record.id}")
    await browser.row("Renamed").wait_for(state="detached")
    # What was not saved can be saved elsewhere.
    stranded = page.locator(".Toastify__toast", has_text="“Renamed” was deleted. Not saved: elsewhere.txt.")
    await stranded.wait_for()
    assert not await page.evaluate(CAN_SAVE)
    await page.keyboard.press("Control+s")
    await stranded.get_by_role("button", name="Save a Copy").click()
    saved = page.locator(".Toastify__toast", has_text="Saved in the server’s own folder: elsewhere.txt.")
    await saved.get_by_role("button", name="Open").click()
    await page.wait_for_function("jupyterapp.shell.currentWidget?.context?.path === 'elsewhere.txt'")
    assert (await stage.server.api("GET", "api/contents/elsewhere.txt")).body["content"] == "nowhere else"
    await stranded.wait_for(state="detached")
    assert await page.locator(".jp-Dialog").count() == 0
    await browser.command("loops:start", loop=record.id)
    await page.get_by_text("This loop no longer exists; somebody deleted it.").wait_for()


async def test_every_action_is_in_the_menu_of_a_row(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    record = stage.add("Menu")
    await browser.row("Menu").click(button="right")
    menu = page.locator(".lm-Menu")
    seen = [text.strip() for text in await menu.locator(".lm-Menu-itemLabel:visible").all_inner_texts()]
    assert [text for text in seen if text in EVERY_ACTION] == [text for text in EVERY_ACTION if text != "Stop"]
    await browser.picture("menu")
    await page.keyboard.press("Escape")
    await menu.wait_for(state="detached")
    # The same without a mouse, and what is chosen is done to this very loop.
    # The focus comes back to where it was, from the menu and from a dialog that it opened.
    more = browser.action("Menu", "More actions")
    is_focused = "node => node === document.activeElement"
    await more.focus()
    await page.keyboard.press("Enter")
    await menu.get_by_text("Share…").wait_for()
    await page.keyboard.press("Escape")
    assert await more.evaluate(is_focused)
    await page.keyboard.press("Enter")
    await menu.get_by_text("Share…").click()
    await page.locator(".jp-Dialog").wait_for()
    await page.keyboard.press("Escape")
    await page.locator(".jp-Dialog").wait_for(state="detached")
    assert await more.evaluate(is_focused)
    await page.keyboard.press("Enter")
    await menu.wait_for()
    await page.keyboard.press("r")
    await page.keyboard.press("r")
    await page.keyboard.press("Enter")
    field = page.locator(".jp-Dialog input")
    await field.wait_for()
    await field.fill("Card")
    await page.keyboard.press("Enter")
    await browser.row("Card").wait_for()
    # It is about the row that it was opened on, whatever becomes of that: the line under the mouse goes, then the loop.
    assert (await stage.server.api("POST", "loopat/api/vaults", {"name": "work"})).status == 201
    address = f"loopat/api/loops/{record.id}"
    stage.add("Other")
    await stage.server.api("PATCH", address, {"vault": "work"})
    carried = browser.row("Card").locator(".jp-Loops-carried")
    await carried.click(button="right")
    await stage.server.api("PATCH", address, {"vault": "default"})
    await carried.wait_for(state="detached")
    await menu.get_by_text("Rename…").click()
    await page.locator(".jp-Dialog", has_text="Rename “Card”").wait_for()
    await page.keyboard.press("Escape")
    await browser.row("Card").click(button="right")
    await stage.server.api("DELETE", address)
    await browser.row("Card").wait_for(state="detached")
    await menu.get_by_text("Rename…").click()
    await page.get_by_text("This loop no longer exists; somebody deleted it.").wait_for()


async def test_a_command_without_a_loop_asks_which(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    first, second = stage.add("First"), stage.add("Second")
    await browser.row("Second").wait_for()
    await browser.command("loops:rename")
    await page.locator(".jp-Dialog", has_text="Rename…").wait_for()
    assert await browser.findings(".jp-Dialog") == []
    await page.locator(".jp-Dialog select").select_option(first.id)
    await browser.answer("Rename…")
    field = page.locator(".jp-Dialog input")
    await field.fill("Renamed")
    await page.keyboard.press("Enter")
    await browser.row("Renamed").wait_for()
    await browser.row("Second").wait_for()
    assert await page.locator(".jp-Loops-apart").count() == 0
    await stage.server.api("PATCH", f"loopat/api/loops/{second.id}", {"title": "Renamed"})
    names = page.locator(".jp-Loops-name")
    for record in (first, second):
        await names.get_by_text(record.id[:8]).wait_for()
        await page.get_by_label(f"More actions on “Renamed ({record.id[:8]})”").wait_for()
    await browser.command("loops:rename", loop=first.id)
    await field.fill("long" * 100)
    await page.keyboard.press("Enter")
    refused = page.locator(".Toastify__toast--error")
    told = f"Renamed ({first.id[:8]}): The title must be at most 200 characters, has 400."
    await refused.get_by_text(told).wait_for()


async def test_tabs_of_files_with_the_same_name_say_their_loops(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    for title in ("Rain", "Sun"):
        stage.workspace.workdir(stage.add(title).id).joinpath("a.txt").write_text(title)
    await browser.row("Sun").wait_for()
    tabs = page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text=".txt")
    marks = "tabs => tabs.map(tab => tab.dataset.loopsTitle ?? '')"
    for title in ("Rain", "Sun"):
        folder = (await stage.loop(title))["folder"]
        await browser.command("docmanager:open", path=f"loops:{folder}/a.txt")
        await page.locator(".jp-FileEditor .cm-content", has_text=title).wait_for()
    await page.locator("[data-loops-title=Sun]").wait_for()
    assert await tabs.evaluate_all(marks) == ["Rain", "Sun"]
    assert await tabs.last.evaluate("tab => getComputedStyle(tab, '::after').content") == '"· Sun"'
    assert await browser.findings(".lm-DockPanel-tabBar") == []
    await browser.picture("tabs")
    # It is Lab's tab all the same: a new name is that of the file, and then nothing has to be told apart.
    await page.evaluate("jupyterapp.shell.currentWidget.title.label = 'b.txt'")
    await page.locator("[data-loops-title]").first.wait_for(state="detached")
    assert await tabs.all_inner_texts() == ["a.txt", "b.txt"]
    loops = [stage.workspace.workdir((await stage.loop(title))["id"]) for title in ("Rain", "Sun")]
    assert [[file.name for file in loop.glob("*.txt")] for loop in loops] == [["a.txt"], ["b.txt"]]


async def test_a_loop_that_is_deleted_while_its_dialog_is_open_is_told_there(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    record = stage.add("Brief")
    await browser.row("Brief").wait_for()
    await browser.command("loops:share", loop=record.id)
    await page.locator("#jp-loops-share-mode").wait_for()
    await stage.server.api("DELETE", f"loopat/api/loops/{record.id}")
    await browser.answer("Apply")
    await page.locator(".jp-Dialog [role=alert]").get_by_text("loop").wait_for()
    await browser.answer("Close")


ONLY_LOOPS = """async () => {
  const id = '@jupyterlab/shortcuts-extension:shortcuts';
  const settings = jupyterapp.pluginRegistry._plugins.get('@jupyterlab/apputils-extension:settings').service;
  await settings.load(id);
  const { composite } = settings.plugins[id].data;
  composite.shortcuts = composite.shortcuts.filter(shortcut => shortcut.command.startsWith('loops:'));
}"""
"""Takes Lab's own shortcuts from what its editor shows: rendering hundreds of them is most of its work."""


async def test_shortcuts_of_all_actions_can_be_set(stage: Stage) -> None:
    page = stage.browser.page
    await page.evaluate(ONLY_LOOPS)
    await stage.browser.command("settingeditor:open", query="Keyboard Shortcuts")
    await page.locator(".jp-Shortcuts-Top input").fill("loops")
    for name in ("New Loop", "New Notebook", "Recreate…", "Delete…", "Show in Panel"):
        await page.locator(".jp-Shortcuts-Row", has_text=name).first.wait_for()


WORKSPACES_NETWORK = "Other loops and the internet (workspace’s setting)\nOther loops and the internet\nNone"


async def test_what_is_wrong_stands_beside_its_field(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    await browser.ask_for_new_loop()
    await page.keyboard.press("Enter")
    await page.locator("#jp-loops-title-problem", has_text="Give the loop a title.").wait_for()
    await page.fill("#jp-loops-title", "Form")
    await page.fill("#jp-loops-ref", "main")
    await browser.answer("Create")
    await page.locator("#jp-loops-ref-problem", has_text="Name the repo, too.").wait_for()
    await page.fill("#jp-loops-repo", "nobody-registered-this")
    await browser.answer("Create")
    await page.locator("#jp-loops-repo-problem").wait_for()
    await page.fill("#jp-loops-repo", "")
    await page.fill("#jp-loops-ref", "")
    await page.locator(".jp-Loops-advanced summary").click()
    # What is left empty is as the workspace has it, and that is said.
    assert await page.locator("#jp-loops-network").inner_text() == WORKSPACES_NETWORK
    assert await page.get_attribute("#jp-loops-memory", "placeholder") == "No limit (workspace’s setting)"
    await page.fill("#jp-loops-image", "--privileged")
    await browser.answer("Create")
    await page.locator("#jp-loops-image-problem", has_text="is not an image reference").wait_for()
    assert await browser.findings(".jp-Loops-form") == []
    await browser.picture("bad-input")
    await page.fill("#jp-loops-image", "")
    for field, bad in (("cpus", "0"), ("memory", "0.001"), ("pids", "1")):
        await page.fill(f"#jp-loops-{field}", bad)
        await browser.answer("Create")
        await page.locator(f"#jp-loops-{field}-problem").wait_for()
        await page.fill(f"#jp-loops-{field}", "2" if field == "cpus" else "")
    await page.fill("#jp-loops-image", "localhost/there-is-no-such-image:1")
    await browser.answer("Create")
    await browser.row("Form").wait_for()
    assert (await stage.loop("Form"))["config"]["resources"]["cpus"] == 2
    await browser.action("Form", "Start").click()
    # Once in the notice, and once where the loop is.
    told = page.get_by_text("there-is-no-such-image")
    await browser.row("Form").get_by_text("there-is-no-such-image").wait_for()
    await page.locator(".Toastify__toast", has_text="there-is-no-such-image").wait_for()
    assert await told.count() == 2
    await browser.picture("failed-start")


async def test_a_loop_that_is_called_off_while_it_is_made_is_not_made(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    reached, hung_up = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        hung_up.set()

    remote = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = remote.sockets[0].getsockname()[1]
    await browser.ask_for_new_loop()
    await page.keyboard.type("Unwanted")
    await page.fill("#jp-loops-repo", f"git://127.0.0.1:{port}/x.git")
    # However long the form is, what is done stands above the buttons.
    await page.locator(".jp-Loops-advanced summary").click()
    await browser.answer("Create")
    busy = page.get_by_text("Making the loop and fetching the repo…")
    await busy.wait_for()
    assert await busy.evaluate("""element => {
        const { x, y, width, height } = element.getBoundingClientRect();
        return document.elementFromPoint(x + width / 2, y + height / 2) === element;
    }""")
    await browser.picture("dialog-busy")
    await reached.wait()
    # The main button keeps the focus, and so the dialog the keyboard.
    await page.keyboard.press("Escape")
    await page.locator(".jp-Dialog").wait_for(state="detached")
    # Long before git would give up by itself.
    await hung_up.wait()
    remote.close()
    await browser.make("Wanted")
    assert await page.locator(".jp-Loops-name").all_inner_texts() == ["Wanted"]
    loops = (await stage.server.api("GET", "loopat/api/loops")).body["loops"]
    assert [loop["title"] for loop in loops] == ["Wanted"]


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


async def test_a_loop_of_a_repo_and_its_unsaved_work(stage: Stage, tmp_path: Path) -> None:
    browser, page = stage.browser, stage.browser.page
    repo = tmp_path / "website.git"
    repo.mkdir()
    git(repo, "init", "--quiet", "--initial-branch=trunk")
    git(repo, "commit", "--quiet", "--allow-empty", "--message=First")
    await stage.server.api("PUT", "loopat/api/repos/website", {"url": "http://127.0.0.1:1/website.git"})
    await browser.ask_for_new_loop()
    await page.keyboard.type("Footer")
    assert await page.locator("#jp-loops-repos option").get_attribute("value") == "website"
    await page.fill("#jp-loops-repo", "website")
    await page.fill("#jp-loops-ref", "trunk")
    await browser.picture("dialog-repo")
    await page.keyboard.press("Enter")
    again = browser.action("Footer", "Fetch the repo of “Footer”")
    await browser.row("Footer").get_by_text("The loop has no files of http://127.0.0.1:1/website.git. Git").wait_for()
    assert await browser.findings("#jp-loops-panel") == []
    await browser.picture("repo-missing")
    await again.click()
    await page.locator(".Toastify__toast--error", has_text="Footer: Git failed to reach").wait_for()
    assert (await stage.server.api("PUT", "loopat/api/repos/website", {"url": str(repo)})).status == 200
    await again.click()
    await again.wait_for(state="detached")
    assert await browser.row("Footer").locator(".jp-Loops-note").count() == 0
    shown = await browser.row("Footer").locator(".jp-Loops-repo").inner_text()
    assert re.sub(r"\s+", " ", shown).startswith("website loop/footer-")
    loop = await stage.loop("Footer")
    (stage.workspace.workdir(loop["id"]) / "note.txt").write_text("nowhere else")
    await browser.command("loops:delete", loop=loop["id"])
    await browser.answer("Delete")
    await page.locator(".jp-Dialog", has_text="“Footer” was not deleted").wait_for()
    await page.locator(".jp-Dialog", has_text="would be lost: 1 uncommitted file").wait_for()
    assert "--force" not in await page.locator(".jp-Dialog").inner_text()
    assert await browser.findings(".jp-Dialog") == []
    await browser.picture("unsaved")
    await browser.answer("Delete Anyway")
    await browser.row("Footer").wait_for(state="detached")
    await stage.server.api("DELETE", "loopat/api/repos/website")


async def test_profiles_and_the_vault_of_a_new_loop_are_picked(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    for name in ("data", "reports"):
        (stage.workspace.home / "profiles" / name).mkdir(parents=True)
    (stage.workspace.home / "profiles" / "data" / "profile.toml").write_text('description = "Tables and plots"\n')
    assert (await stage.server.api("POST", "loopat/api/vaults", {"name": "work"})).status == 201
    await browser.ask_for_new_loop()
    await page.keyboard.type("Picked")
    await page.select_option("#jp-loops-vault", "work")
    await page.select_option("#jp-loops-profiles", "data")
    await page.select_option("#jp-loops-profiles", "reports")
    await page.get_by_role("button", name="Move “reports” up").click()
    assert await browser.findings(".jp-Loops-form") == []
    await browser.picture("dialog-picks")
    await browser.answer("Create")
    await browser.row("Picked").wait_for()
    await browser.row("Picked").get_by_text("vault work · profiles reports, data").wait_for()
    loop = await stage.loop("Picked")
    assert (loop["vault"], loop["profiles"]) == ("work", ["reports", "data"])
    # What a person should know of a loop stands in its row.
    (vault,) = stage.workspace.home.glob("members/*/vaults/work")
    shutil.rmtree(vault)
    await page.get_by_role("button", name="Refresh").first.click()
    command = browser.row("Picked").locator(".jp-Loops-note", has_text="There is no vault 'work'.").locator("code")
    assert await command.inner_text() == "jupyter loopat vault create work"
    sizes = "element => [element, element.closest('.jp-Loops-note')].map(each => getComputedStyle(each).fontSize)"
    command_size, text_size = await command.evaluate(sizes)
    assert command_size == text_size
    assert await browser.findings("#jp-loops-panel") == []
    await browser.picture("warning")
    # What most loops would say is said once, above them.
    for method, path, body in (
        ("POST", "vaults", {"name": "work"}),
        ("POST", "loops", {"title": "Second", "vault": "work"}),
        ("POST", "loops", {"title": "Third", "vault": "work"}),
    ):
        assert (await stage.server.api(method, f"loopat/api/{path}", body)).status == 201
    shutil.rmtree(vault)
    await page.get_by_role("button", name="Refresh").first.click()
    await page.locator(".jp-Loops-common", has_text="3 loops: There is no vault 'work'.").wait_for()
    assert await browser.row("Picked").locator(".jp-Loops-note").count() == 0
    assert await browser.findings("#jp-loops-panel") == []
    await browser.picture("common-warning")


async def test_a_hidden_panel_asks_nothing_until_it_is_shown(stage: Stage) -> None:
    browser, page = stage.browser, stage.browser.page
    record = stage.add("Quiet")
    await browser.row("Quiet").wait_for()
    await page.evaluate("jupyterapp.shell.collapseLeft()")
    with browser.requests() as asked:
        await stage.server.api("PATCH", f"loopat/api/loops/{record.id}", {"title": "Hidden"})
        await page.evaluate(HEAR)
        other = stage.add("Other")
        # What follows the events on the page's own connection has been heard after them.
        await page.wait_for_function("id => window.heard.includes(id)", arg=other.id)
    assert asked == []
    with browser.requests() as asked:
        await browser.show_panel()
        await browser.row("Hidden").wait_for()
        await browser.row("Other").wait_for()
    assert sorted(asked) == sorted([f"GET loops/{record.id}", f"GET loops/{other.id}"])


HEAR = """() => {
  window.heard = [];
  jupyterapp.serviceManager.events.stream.connect((_, event) => { window.heard.push(event.loop_id); });
}"""
