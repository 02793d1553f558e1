"""What a person sees when something is missing, broken or away: real browser, real server, real podman."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import uuid
from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio

from loopat_jupyter.sandbox.images import LABEL_TEMPLATE, Images
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.workspace.config import load_config
from tests.conftest import add_loop
from tests.labextension.conftest import Stage, as_found, lab_server, made_workspace, new_page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from playwright.async_api import Browser as Chromium

    from loopat_jupyter.workspace.paths import Workspace

pytestmark = [pytest.mark.podman, pytest.mark.asyncio(loop_scope="package")]

STEP = re.compile(r"\(\d of \d+\)")


class Trouble(NamedTuple):
    """A server that builds its image on one that is not there, with the podman that a test puts there.

    Attributes:
        stage: The server, which was started without podman, and its page.
        base: The name of the image that is built upon.
        podman: The command.
    """

    stage: Stage
    base: str
    podman: Path

    def bring_podman(self) -> None:
        self.podman.unlink(missing_ok=True)
        self.podman.symlink_to(str(shutil.which("podman")))


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def shared_trouble(chromium: Chromium, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trouble]:
    folder = tmp_path_factory.mktemp("trouble")
    base, podman = f"localhost/base-{uuid.uuid4().hex[:8]}:latest", folder / "podman"
    with made_workspace(folder) as workspace:
        workspace.config_file.write_text(f'[image]\nbase = "{base}"\n')
        environ = {"LOOPAT_HOME": str(workspace.home), "LOOPAT_PODMAN_BIN": str(podman)}
        async with lab_server(folder, environ) as server:
            browser = await new_page(chromium, server)
            await browser.open()
            # The page was opened on a machine without podman.
            await browser.page.locator(".jp-Loops-checks", has_text="podman").wait_for()
            yield Trouble(Stage(workspace, server, browser), base, podman)
        remove_steps(workspace)


def remove_steps(workspace: Workspace) -> None:
    """Remove what podman keeps of the steps of builds that did not come to their end."""
    digest = Images(workspace, Podman("podman", os.environ), load_config(workspace.config_file, {})).template().digest
    steps = ["podman", "images", "--all", "--quiet", f"--filter=label={LABEL_TEMPLATE}={digest}"]
    listed = subprocess.run(steps, check=True, capture_output=True, text=True)
    subprocess.run(["podman", "rmi", "--force", *listed.stdout.split()], check=True, capture_output=True)


@pytest_asyncio.fixture(loop_scope="package")
async def trouble(shared_trouble: Trouble, request: pytest.FixtureRequest) -> AsyncIterator[Trouble]:
    shared_trouble.bring_podman()
    await shared_trouble.stage.browser.command("loops:refresh")
    async with as_found(shared_trouble.stage, request):
        yield shared_trouble
        shared_trouble.bring_podman()


@pytest.fixture
def not_debian(trouble: Trouble) -> Iterator[None]:
    """Nothing can be built on the image."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    subprocess.run(["podman", "import", "-", trouble.base], input=archive.getvalue(), check=True, capture_output=True)
    yield
    subprocess.run(["podman", "rmi", "--force", trouble.base], check=True, capture_output=True)


@pytest.fixture
def endless(trouble: Trouble, sandbox_image: str, tmp_path: Path) -> Iterator[None]:
    """A build on the image never ends."""
    (tmp_path / "Containerfile").write_text(f"FROM {sandbox_image}\nCOPY apt-get /usr/local/bin/\n")
    (tmp_path / "apt-get").write_text("#!/bin/sh\nexec sleep 600\n")
    (tmp_path / "apt-get").chmod(0o755)
    build = ["podman", "build", "--no-cache", "--tag", trouble.base, str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True)
    yield
    subprocess.run(["podman", "rmi", "--force", trouble.base], check=True, capture_output=True)


async def test_a_build_that_fails_keeps_its_log(trouble: Trouble, not_debian: None) -> None:
    browser = trouble.stage.browser
    add_loop(trouble.stage.workspace, "Broken")
    page = browser.page
    await browser.action("Broken", "Start").click()
    notice = page.locator(".Toastify__toast--error", has_text="Broken:")
    # JupyterLab cuts long notices off, and what to do stands at the end.
    await notice.get_by_role("button", name="Show All").click()
    await page.locator(".jp-Dialog", has_text="The image could not be built").wait_for()
    assert await browser.findings(".jp-Dialog") == []
    await browser.picture("failed-build-notice")
    await page.keyboard.press("Escape")
    await page.locator(".jp-Dialog").wait_for(state="detached")
    await notice.get_by_role("button", name="Log").click()
    log = page.locator(".jp-Loops-log")
    await log.wait_for()
    assert "STEP 4/" in await log.inner_text()
    assert "/bin/sh" in await log.inner_text()
    await page.locator(".lm-TabBar-tabLabel", has_text="Build of Broken").wait_for()
    await browser.action("Broken", "Start").wait_for()
    await browser.state("Broken", "build failed")
    await browser.row("Broken").locator(".jp-Loops-note", has_text="The image could not be built").wait_for()
    assert await browser.findings("#jp-loops-panel") == []
    await browser.picture("failed-build")
    # What cannot be shown leaves a way back.
    await page.route("**/start*", lambda route: route.fulfill(json={"id": "odd"}), times=1)
    await browser.action("Broken", "Start").click()
    await page.locator("#jp-loops-panel").get_by_role("button", name="Reload").wait_for()
    assert await browser.findings("#jp-loops-panel") == []
    browser.problems.clear()
    # A page that is opened later says so too.
    await browser.open()
    await page.get_by_role("button", name="Show the build log of “Broken”").click()
    await log.get_by_text("STEP 4/").wait_for()


async def test_a_build_shows_its_steps_and_is_called_off(trouble: Trouble, endless: None) -> None:
    browser = trouble.stage.browser
    add_loop(trouble.stage.workspace, "Slow")
    page = browser.page
    await browser.action("Slow", "Start").click()
    notice = page.locator(".Toastify__toast", has_text=STEP)
    await notice.wait_for()
    await browser.row("Slow").locator(".jp-Loops-word", has_text=STEP).wait_for()
    await browser.row("Slow").locator("progress").wait_for()
    assert await browser.findings("#jp-loops-panel") == []
    await browser.picture("progress")
    await notice.get_by_role("button", name="Cancel").click()
    await browser.state("Slow", "not started")
    await browser.action("Slow", "Start").wait_for()


async def test_podman_that_goes_away_is_told_with_what_mends_it(trouble: Trouble) -> None:
    browser = trouble.stage.browser
    add_loop(trouble.stage.workspace, "Stranded")
    page = browser.page
    await browser.row("Stranded").wait_for()
    trouble.podman.unlink()
    await browser.action("Stranded", "Start").click()
    await page.locator(".Toastify__toast--error", has_text="podman").wait_for()
    await browser.command("loops:refresh")
    await page.locator(".jp-Loops-checks", has_text="podman").wait_for()
    # What was known before stays in view below.
    await browser.row("Stranded").wait_for()
    assert await browser.findings("#jp-loops-panel") == []
    await browser.picture("podman-away")
    trouble.bring_podman()
    await page.get_by_role("button", name="Refresh").first.click()
    await browser.row("Stranded").wait_for()


async def test_the_machine_without_podman_is_explained(trouble: Trouble) -> None:
    browser = trouble.stage.browser
    trouble.podman.unlink()
    await browser.command("loops:refresh")
    await browser.page.locator(".jp-Loops-checks", has_text="podman").wait_for()
    assert await browser.page.locator(".jp-Loops-fix").count() >= 1
    assert await browser.findings("#jp-loops-panel") == []
    await browser.picture("no-podman")
    await browser.page.get_by_role("tab", name="File Browser").first.click()
    await browser.page.wait_for_selector("#filebrowser .jp-DirListing-content")
