"""Loops in JupyterLab, as a person sees and uses them: real browser, real server, real podman."""

from __future__ import annotations

import datetime
import signal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from loopat_jupyter.workspace.records import LoopStore, new_record
from tests.labextension.conftest import opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopat_jupyter.workspace.paths import Workspace
    from tests.labextension.conftest import Browser

pytestmark = pytest.mark.podman

MANY = 1000

READY = """async () => {
  const { sessionContext } = jupyterapp.shell.currentWidget;
  await sessionContext.ready;
  await sessionContext.session.kernel.info;
}"""


async def run_cell(browser: Browser, code: str) -> str:
    """Run code in the first cell of the open notebook and return what it printed."""
    page = browser.page
    await page.evaluate(READY)
    await page.locator(".jp-NotebookPanel .jp-Cell .cm-content").first.click()
    await page.keyboard.type(code)
    await page.keyboard.press("Shift+Enter")
    output = page.locator(".jp-NotebookPanel .jp-OutputArea-output").first
    await output.wait_for()
    return (await output.inner_text()).strip()


async def test_a_person_makes_a_loop_and_works_in_it(start_server: Callable[..., Any], workspace: Workspace) -> None:
    async with start_server() as server, opened(server) as browser:
        page = browser.page
        await page.wait_for_selector(".jp-Loops-empty")
        await browser.picture("empty")
        await page.locator(".jp-Loops-empty button").click()
        await page.wait_for_selector("#jp-loops-title")
        await page.keyboard.type("Rain in March")
        await browser.picture("dialog")
        await page.keyboard.press("Enter")
        row = browser.row("Rain in March")
        await row.wait_for()
        (record,) = LoopStore(workspace).readable()
        await row.get_by_role("button", name="New notebook in").click()
        await page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        assert await run_cell(browser, "import os; print(os.uname().nodename)") == f"loop-{record.id[:8]}"
        await page.wait_for_selector(".jp-Loops-statusButton >> text=Rain in March")
        await row.locator("text=1 kernel").wait_for()
        await browser.picture("work")
        await row.get_by_role("button", name="New terminal in").click()
        await page.wait_for_selector(".jp-Terminal .xterm-screen")
        await row.locator("text=1 terminal").wait_for()
        terminal = (await server.api("GET", "api/terminals")).body[-1]["name"]
        async with server.terminal(terminal) as watched:
            assert "ipykernel" in await watched.run("ps -ef")
        await browser.picture("panel")
        await row.get_by_role("button", name="Files of").click()
        await page.locator("#jp-loops-files .jp-DirListing-item", has_text="Untitled.ipynb").wait_for()
        await browser.picture("files")


async def test_files_of_a_loop_are_files_of_lab(start_server: Callable[..., Any], workspace: Workspace) -> None:
    record = new_record(title="Files", created_by="ada", now=datetime.datetime.now(datetime.UTC))
    LoopStore(workspace).create(record)
    async with start_server() as server, opened(server) as browser:
        page = browser.page
        await browser.row("Files").get_by_role("button", name="Files of").click()
        await page.wait_for_selector("#jp-loops-files .jp-DirListing-content")
        async with page.expect_file_chooser() as choosing:
            await page.locator("#jp-loops-files").get_by_role("button", name="Upload").first.click()
        upload = {"name": "rain.csv", "mimeType": "text/csv", "buffer": b"day,mm\n1,7\n"}
        await (await choosing.value).set_files([upload])  # type: ignore[list-item]
        item = page.locator("#jp-loops-files .jp-DirListing-item", has_text="rain.csv")
        await item.wait_for()
        uploaded = workspace.workdir(record.id) / "rain.csv"
        assert uploaded.read_bytes() == upload["buffer"]
        await item.click()
        await page.keyboard.press("F2")
        await page.keyboard.type("march")
        await page.keyboard.press("Enter")
        await page.locator("#jp-loops-files .jp-DirListing-item", has_text="march").wait_for()
        assert not uploaded.exists()


async def test_stop_start_archive_and_delete(start_server: Callable[..., Any], workspace: Workspace) -> None:
    async with start_server() as server, opened(server) as browser:
        page = browser.page
        await browser.make("Cycle")
        row = browser.row("Cycle")
        await row.get_by_role("button", name="Start").click()
        await row.locator(".jp-Loops-word", has_text="running").wait_for()
        (record,) = LoopStore(workspace).readable()
        running = await server.api("POST", f"loopat/api/loops/{record.id}/terminals", {})
        assert running.status == 201
        await server.api("PATCH", f"loopat/api/loops/{record.id}", {"config": {"network": "none"}})
        await row.locator("text=Restart needed").wait_for()
        await browser.picture("restart-needed")
        await row.get_by_role("button", name="Stop").click()
        await page.get_by_role("button", name="Stop", exact=True).last.click()
        await row.locator(".jp-Loops-word", has_text="stopped").wait_for()
        await page.evaluate("id => jupyterapp.commands.execute('loops:archive', {loop: id})", record.id)
        await row.wait_for(state="detached")
        await page.get_by_role("button", name="Archived").click()
        await row.locator(".jp-Loops-word", has_text="archived").wait_for()
        await page.evaluate("id => { jupyterapp.commands.execute('loops:delete', {loop: id}); }", record.id)
        await page.locator(".jp-Dialog", has_text="cannot be undone").wait_for()
        await page.get_by_role("button", name="Delete", exact=True).click()
        await row.wait_for(state="detached")
        assert list(LoopStore(workspace).readable()) == []


async def test_a_start_that_fails_is_told(start_server: Callable[..., Any]) -> None:
    async with start_server() as server, opened(server) as browser:
        page = browser.page
        await page.get_by_role("button", name="New Loop").first.click()
        await page.wait_for_selector("#jp-loops-title")
        await page.keyboard.type("No image")
        await page.locator(".jp-Loops-advanced summary").click()
        await page.fill("#jp-loops-image", "--privileged")
        await page.get_by_role("button", name="Create").click()
        await page.locator(".jp-Loops-problem", has_text="is not an image reference").wait_for()
        await browser.picture("bad-input")
        await page.fill("#jp-loops-image", "localhost/there-is-no-such-image:1")
        await page.get_by_role("button", name="Create").click()
        row = browser.row("No image")
        await row.get_by_role("button", name="Start").click()
        told = page.get_by_text("there-is-no-such-image")
        await told.first.wait_for()
        assert await told.count() == 1
        await browser.picture("failed-start")


async def test_the_machine_without_podman_is_explained(
    start_server: Callable[..., Any], lab_environment: dict[str, str]
) -> None:
    lab_environment["LOOPAT_PODMAN_BIN"] = "/nonexistent/podman"
    async with start_server() as server, opened(server) as browser:
        await browser.page.locator(".jp-Loops-checks", has_text="podman").wait_for()
        assert await browser.page.locator(".jp-Loops-fix").count() >= 1
        await browser.picture("no-podman")
        await browser.page.get_by_role("tab", name="File Browser").first.click()
        await browser.page.wait_for_selector("#filebrowser .jp-DirListing-content")


async def test_the_panel_comes_back_with_the_server(start_server: Callable[..., Any], workspace: Workspace) -> None:
    async with start_server() as first:
        port = first.url.rstrip("/").rpartition(":")[2]
        async with opened(first) as browser:
            await browser.make("Before")
            first.process.send_signal(signal.SIGKILL)
            await first.process.wait()
            await browser.page.locator(".jp-Loops-message, .jp-Dialog").first.wait_for()
            async with start_server(f"--ServerApp.port={port}", "--ServerApp.port_retries=0"):
                made = new_record(title="Meanwhile", created_by="ada", now=datetime.datetime.now(datetime.UTC))
                LoopStore(workspace).create(made)
                await browser.row("Meanwhile").wait_for()
                await browser.row("Before").wait_for()


async def test_a_thousand_loops_are_shown_at_once(start_server: Callable[..., Any], workspace: Workspace) -> None:
    template = new_record(title="Loop", created_by="ada", now=datetime.datetime.now(datetime.UTC))
    store = LoopStore(workspace)
    for number in range(MANY):
        identity = f"{number:08x}-0000-4000-8000-000000000000"
        workspace.loop(identity).mkdir()
        store.write(msgspec.structs.replace(template, id=identity, title=f"Loop {number}"))
    async with start_server() as server, opened(server) as browser:
        page = browser.page
        await page.locator(f".jp-Loops-item[aria-setsize='{MANY}']").first.wait_for()
        # Rows that nobody sees cost nothing.
        assert await page.locator(".jp-Loops-item").count() < 60
        await page.locator(".jp-Loops-scroll").evaluate("node => { node.scrollTop = node.scrollHeight; }")
        await page.locator(f".jp-Loops-item[aria-posinset='{MANY}']").wait_for()
        await page.locator(".jp-Loops-filter").fill("Loop 77")
        await page.locator(".jp-Loops-item[aria-setsize='11']").first.wait_for()
        await browser.picture("many")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
async def test_nothing_stands_in_the_way_of_anybody_in_both_themes(
    start_server: Callable[..., Any], theme: str
) -> None:
    async with start_server() as server, opened(server) as browser:
        page = browser.page
        await page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        await page.wait_for_selector(f"body[data-jp-theme-name='{theme}']", state="attached")
        await page.wait_for_selector(".jp-Loops-empty")
        assert await browser.findings("#jp-loops-panel") == []
        await browser.make("Snow")
        await browser.make("Rain")
        await browser.row("Rain").get_by_role("button", name="Start").click()
        await browser.row("Rain").locator(".jp-Loops-word", has_text="running").wait_for()
        assert await browser.findings("#jp-loops-panel") == []
        await page.get_by_role("button", name="New Loop").first.click()
        await page.wait_for_selector("#jp-loops-title")
        assert await browser.findings(".jp-Loops-form") == []
        await browser.picture("dark" if "Dark" in theme else "light")
        await page.keyboard.press("Escape")
