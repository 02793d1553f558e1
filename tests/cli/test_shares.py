from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.conftest import add_loop
from tests.sharing.conftest import fetch

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace
    from tests.cli.conftest import FakeCommandLine, RealCommandLine


def test_what_is_shared_has_to_be_said(fake: FakeCommandLine) -> None:
    fake("create", "Sales in May")
    for options, told in (
        (("--port", "8000", "--alias", "No"), "alias: must be 1 to 63 lower-case letters"),
        (("--port", "80", "--static"), "Give one of --port"),
        (("--alias", "x"), "Say what to share"),
    ):
        refused = fake("share", "Sales in May", *options)
        assert (refused.code, told in refused.err) == (2, True), refused


@pytest.mark.podman
async def test_files_are_shared_from_the_command_line(real: RealCommandLine, workspace: Workspace) -> None:
    made = add_loop(workspace, "Sales in May")
    (workspace.workdir(made.id) / "index.html").write_text("hello")
    assert real("share", "Sales in May").stdout == b"Nothing is shared.\n"
    url = real("share", "Sales in May", "--static", "--alias", "sales").stdout.decode().strip()
    assert urlsplit(url).hostname == "sales.localhost"
    assert (await fetch(url)).body == b"hello"
    shown = real.json("share", "Sales in May")
    assert (shown["mode"], shown["url"], shown["state"]) == ("static", url, "ready")
    told = real("share", "Sales in May", "--port", "8000").stdout.decode()
    assert told.splitlines()[-1] == f"Sales in May is stopped. To start it: jupyter loopat start {made.id[:8]}"
    assert (await fetch(url)).code == 404
    assert real("share", "Sales in May", "--off").stdout == b"Nothing is shared.\n"
    real("rm", "Sales in May", "--yes")
