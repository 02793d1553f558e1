"""A page of JupyterLab in a real browser, and what a person does in it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.jupyter_process import TOKEN, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.async_api import ConsoleMessage, Locator, Page, Request

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / ".artefacts" / "screenshots"
TAKES_PICTURES = "TAKE_PICTURES" in os.environ
CHROMIUM = str(shutil.which("chromium-headless-shell") or shutil.which("chromium"))
# Terminals would be drawn by a graphics card that is only computed.
OPTIONS = ("--disable-gpu", "--disable-software-rasterizer", "--disable-quic")
PATIENCE_MS = 40_000

EXPECTED = re.compile(
    r"status of (40\d|50\d)|ERR_CONNECTION_RE(FUSED|SET)|WebSocket|Failed to fetch|Connection lost"
    r"|Could not restore the debugger state: Canceled future"
)
"""What Lab and the browser say of refused requests, of a server that is away, and of a kernel that is restarted under
Lab's debugger; how the panel shows it is tested."""

READY = """async () => {
  const { sessionContext } = jupyterapp.shell.currentWidget;
  await sessionContext.ready;
  await sessionContext.session.kernel.info;
}"""

OPENED = """async path => {
  const { context } = await jupyterapp.commands.execute('docmanager:open', { path });
  await context.ready;
}"""

# Lab makes a new launcher where nothing is open; the one that is there is as good.
TIDY = """async () => {
  const open = [...jupyterapp.shell.widgets('main')];
  if (open.length !== 1 || open[0].content?.cwd !== '') {
    open.forEach(widget => widget.dispose());
  }
  await jupyterapp.commands.execute('apputils:dismiss-notification', {});
  const { sessions, terminals } = jupyterapp.serviceManager;
  await Promise.all([sessions.shutdownAll(), terminals.shutdownAll()]);
}"""


WATCH_FOCUS = """() => {
  new MutationObserver(changes => changes.forEach(({ addedNodes }) => addedNodes.forEach(node => {
    const form = node.classList.contains('jp-Dialog') && node.querySelector('.jp-Loops-form');
    if (form) {
      requestAnimationFrame(() => {
        const fields = form.querySelector('input, select');
        if (!form.firstChild || (fields && !form.contains(document.activeElement))) {
          console.error('A dialog is painted before its form is there and has the focus', node.innerText);
        }
      });
    }
  }))).observe(document.body, { childList: true });
}"""
"""Complains of each form that somebody who types at once would miss."""

# What is in order need not be told one by one.
FINDINGS = """async selector => {
  const { violations } = await axe.run(selector, { resultTypes: ['violations'] });
  return violations.map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 160)}`);
}"""

LABS_OWN = re.compile(r"Failed to fetch|Disposed\Z|Kernel is dead\Z")
"""What Lab's own code does not handle: a server that is away while it saves its layout; a document that is closed while
its kernel starts; a kernel that has ended when Lab's debugger asks it."""


class Browser:
    """A page of JupyterLab, and everything that went wrong in it.

    Attributes:
        problems: Errors that nobody handled, and what was written to the console as an error.
    """

    def __init__(self, page: Page, server: Server) -> None:
        self.page, self.server = page, server
        self.problems: list[str] = []
        page.on("pageerror", self._hear)
        page.on("console", self._listen)

    def _hear(self, error: Any) -> None:
        if not LABS_OWN.match(error.message) or "/lab/extensions/loopat-jupyter/" in str(error.stack):
            self.problems.append(f"unhandled: {error.stack}")

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not EXPECTED.search(message.text):
            self.problems.append(message.text[:400])

    async def open(self, *, panel: bool = True) -> None:
        """Open JupyterLab anew, and the Loops panel."""
        await self.page.goto(f"{self.server.url}lab?reset&token={TOKEN}")
        await self.page.wait_for_selector("#jp-main-dock-panel")
        await self.page.evaluate(WATCH_FOCUS)
        if panel:
            await self.show_panel()

    async def show_panel(self) -> None:
        """Open the Loops panel, if it is not open."""
        await self.page.evaluate("jupyterapp.shell.activateById('jp-loops-panel')")
        await self.page.wait_for_selector("#jp-loops-panel", state="visible")

    async def tidy(self) -> None:
        """Close what is open and end what runs, as a test that comes next wants to find it."""
        while await self.page.locator(".jp-Dialog").count():
            await self.page.keyboard.press("Escape")
        await self.page.keyboard.press("Escape")
        await self.page.evaluate(TIDY)
        await self.show_panel()

    async def picture(self, name: str, *, always: bool = False) -> None:
        """Keep what the page looks like, if somebody wants pictures: each takes longer than most steps of a test."""
        if not (TAKES_PICTURES or always):
            return
        PICTURES.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=PICTURES / f"{name}.png")

    def row(self, title: str) -> Locator:
        """A loop in the panel."""
        name = self.page.get_by_role("button", name=title, exact=True)
        return self.page.locator(".jp-Loops-row").filter(has=name)

    def name(self, title: str) -> Locator:
        """A loop's title in its row, which shows its files."""
        return self.page.locator("#jp-loops-panel").get_by_role("button", name=title, exact=True)

    def action(self, title: str, name: str) -> Locator:
        """A button in a loop's row."""
        return self.row(title).get_by_role("button", name=name)

    async def state(self, title: str, word: str) -> None:
        """Wait until a loop's row says what state it is in."""
        await self.row(title).locator(".jp-Loops-word", has_text=word).wait_for()

    async def command(self, name: str, **arguments: object) -> None:
        """Give a command of JupyterLab, without waiting for its end."""
        await self.page.evaluate("([id, args]) => { void jupyterapp.commands.execute(id, args); }", [name, arguments])

    async def ask_for_new_loop(self) -> None:
        """Open the form of a new loop."""
        await self.page.get_by_role("button", name="New Loop").first.click()
        await self.form()

    async def form(self) -> None:
        """Wait until the form of a new loop takes what is typed."""
        await self.page.wait_for_function("document.activeElement?.id === 'jp-loops-title'")

    async def make(self, title: str) -> None:
        """Make a loop as a person does."""
        await self.ask_for_new_loop()
        await self.page.keyboard.type(title)
        await self.page.keyboard.press("Enter")
        await self.row(title).wait_for()

    async def answer(self, button: str) -> None:
        """Press a button of the dialog that is open."""
        await self.page.locator(".jp-Dialog").get_by_role("button", name=button, exact=True).click()

    async def leave_unsaved(self, path: str, text: str) -> None:
        """Open a text file and type something that is not saved."""
        await self.page.evaluate(OPENED, path)
        await self.page.locator(".jp-FileEditor:visible .cm-content").click()
        await self.page.keyboard.type(text)
        await self.page.locator(".jp-mod-dirty:visible").first.wait_for()

    async def run_cell(self, code: str) -> str:
        """Run code in the first cell of the open notebook and return what it printed."""
        await self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        await self.page.evaluate(READY)
        await self.page.locator(".jp-NotebookPanel .jp-Cell .cm-content").first.click()
        await self.page.keyboard.insert_text(code)
        await self.page.keyboard.press("Shift+Enter")
        return await self.output()

    async def run_again(self) -> str:
        """Run the first cell of the open notebook once more."""
        await self.page.locator(".jp-NotebookPanel .jp-Cell .cm-content").first.click()
        await self.page.keyboard.press("Shift+Enter")
        await self.page.locator(".jp-NotebookPanel .jp-InputPrompt", has_text="[1]:").first.wait_for()
        return await self.output()

    async def output(self) -> str:
        """What the first cell printed."""
        output = self.page.locator(".jp-NotebookPanel .jp-OutputArea-output").first
        await output.wait_for()
        return (await output.inner_text()).strip()

    async def findings(self, selector: str) -> list[str]:
        """What an accessibility check finds in a part of the page."""
        if not await self.page.evaluate("'axe' in window"):
            await self.page.add_script_tag(path=ROOT / "labextension" / "node_modules" / "axe-core" / "axe.min.js")
        found: list[str] = await self.page.evaluate(FINDINGS, selector)
        return found

    @contextlib.contextmanager
    def requests(self) -> Iterator[list[str]]:
        """Collects what the page asks of the extension meanwhile, such as "GET loops"."""
        asked: list[str] = []

        def note(request: Request) -> None:
            _, found, path = request.url.partition("/loopat/api/")
            if found:
                asked.append(f"{request.method} {path.partition('?')[0]}")

        self.page.on("request", note)
        yield asked
        self.page.remove_listener("request", note)
