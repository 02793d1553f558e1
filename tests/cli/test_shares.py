from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import pytest

from loopat_jupyter.cli.shares import told
from loopat_jupyter.values import ListeningPort, Sharing
from loopat_jupyter.workspace.records import new_record
from tests.conftest import add_loop
from tests.sharing.conftest import fetch

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace
    from tests.cli.conftest import FakeCommandLine, RealCommandLine


def test_what_is_shared_has_to_be_said(fake: FakeCommandLine) -> None:
    fake.manager.create(title="Sales in May")
    for options, said in (
        (("--port", "8000", "--alias", "No"), "alias: must be 1 to 63 lower-case letters"),
        (("--port", "80", "--static"), "Give one of --port"),
        (("--alias", "x"), "Say what to share"),
    ):
        refused = fake("share", "Sales in May", *options)
        assert (refused.code, said in refused.err) == (2, True), refused


def test_what_listens_for_the_loop_alone_is_told_with_the_way_out() -> None:
    record = new_record(title="Sales in May", created_by="ada", now=dt.datetime(2026, 5, 1, tzinfo=dt.UTC))
    open_port, own, udp = (
        ListeningPort(port=8000, protocol="tcp", reachable=True),
        ListeningPort(port=8888, protocol="tcp", reachable=False),
        ListeningPort(port=9000, protocol="udp", reachable=True),
    )
    off = Sharing(
        mode="off",
        port=None,
        alias=None,
        protocol="tcp",
        public_port=None,
        url=None,
        jupyter_path=None,
        state="off",
        listening=(open_port, own, udp),
    )
    nothing, shown, hidden = told(record, off).splitlines()
    assert (nothing, shown) == ("Nothing is shared.", "Programs in the loop listen on 8000/tcp and 9000/udp.")
    assert hidden.startswith(
        "For the loop alone, as on 127.0.0.1, and not to be shared: 8888/tcp. Let the program listen on 0.0.0.0"
    )
    ready = msgspec.structs.replace(off, mode="port", port=8000, url="http://a.localhost/", state="ready")
    assert told(record, ready) == ready.url
    assert told(record, ready, whole=True).splitlines() == [
        ready.url,
        "Its port 8000/tcp is shared, as port.",
        shown,
        hidden,
    ]
    waiting = msgspec.structs.replace(off, mode="port", port=8888, state="not_listening", listening=(own,))
    assert told(record, waiting).splitlines() == [
        "Nothing in the loop is reached at port 8888 yet: a program there must listen on 0.0.0.0.",
        hidden,
    ]


@pytest.mark.podman
def test_files_are_shared_from_the_command_line(real: RealCommandLine, workspace: Workspace) -> None:
    made = add_loop(workspace, "Sales in May")
    index = workspace.workdir(made.id) / "index.html"
    assert real.here("share", "Sales in May").out == "Nothing is shared.\n"
    url, no_index = real("share", "Sales in May", "--static", "--alias", "sales").stdout.decode().splitlines()
    assert no_index == "The loop has no index.html, so ask for a file by its name behind this address."
    index.write_text("hello")
    assert real.here("share", "Sales in May").out == f"{url}\nIts files are shared, as static.\n"
    assert urlsplit(url).hostname == "sales.localhost"
    assert asyncio.run(fetch(url)).body == b"hello"
    shown = real.look("share", "Sales in May")
    assert (shown["mode"], shown["url"], shown["state"]) == ("static", url, "ready")
    told = real.here("share", "Sales in May", "--port", "8000").out
    hint = f"Sales in May is stopped. To start it: jupyter loopat start {made.id[:8]}"
    # Who shares something else keeps the name that was given out.
    assert told.splitlines() == [url, hint]
    assert asyncio.run(fetch(url)).code == 502
    assert real.here("share", "Sales in May", "--off").out == "Nothing is shared.\n"
    assert real.look("share", "Sales in May")["alias"] is None
    real.here("rm", "Sales in May", "--yes")
