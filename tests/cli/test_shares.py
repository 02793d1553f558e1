from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.sharing.conftest import fetch

if TYPE_CHECKING:
    from tests.cli.conftest import RealCommandLine

pytestmark = pytest.mark.podman


async def test_files_are_shared_from_the_command_line(real: RealCommandLine) -> None:
    made = real.json("create", "Sales in May")
    with open(f"{made['workdir']}/index.html", "w") as file:
        file.write("hello")
    assert real("share", "Sales in May").stdout == b"Nothing is shared.\n"
    url = real("share", "Sales in May", "--static", "--alias", "sales").stdout.decode().strip()
    assert urlsplit(url).hostname == "sales.localhost"
    assert (await fetch(url)).body == b"hello"
    shown = real.json("share", "Sales in May")
    assert (shown["mode"], shown["url"], shown["state"]) == ("static", url, "ready")
    told = real("share", "Sales in May", "--port", "8000").stdout.decode()
    assert told.splitlines()[-1] == f"Sales in May is stopped. To start it: jupyter loopat start {made['id'][:8]}"
    assert (await fetch(url)).code == 404
    refused = real("share", "Sales in May", "--port", "8000", "--alias", "No", code=2)
    assert b"alias: must be 1 to 63 lower-case letters" in refused.stderr
    assert b"Give one of --port" in real("share", "Sales in May", "--port", "80", "--static", code=2).stderr
    assert b"Say what to share" in real("share", "Sales in May", "--alias", "x", code=2).stderr
    assert real("share", "Sales in May", "--off").stdout == b"Nothing is shared.\n"
    real("rm", "Sales in May", "--yes")
