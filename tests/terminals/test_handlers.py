"""Stock `/api/terminals` of a real server, asked for folders that something in a loop has tampered with."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tornado.httpclient import HTTPClientError

from loopat_jupyter.server.activity import ActivityNotes
from loopat_jupyter.workspace.records import folder_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord
    from tests.terminals.conftest import Person

pytestmark = [pytest.mark.podman, pytest.mark.lonely]


@pytest.fixture
def jp_server_config(jp_server_config: dict[str, Any]) -> dict[str, Any]:
    """The whole extension, as installed."""
    jp_server_config["ServerApp"]["jpserver_extensions"]["loopat_jupyter"] = True
    return jp_server_config


async def test_a_folder_that_leads_out_of_its_loop_is_refused(
    person: Person, manager: LoopManager, running: LoopRecord, tmp_path: Path
):
    workdir = manager.workspace.workdir(running.id)
    (tmp_path / "folder").mkdir()
    (workdir / "host").symlink_to(tmp_path)
    (workdir / "loop").symlink_to(manager.workspace.workdir(manager.create(title="other").id))
    for way in ("host", "loop", "host/folder"):
        with pytest.raises(HTTPClientError) as refused:
            await person.open(workdir / way)
        assert refused.value.code == 409, way
        assert await person.names() == [], way


async def test_a_link_that_stays_in_its_loop_is_followed(person: Person, manager: LoopManager, running: LoopRecord):
    workdir = manager.workspace.workdir(running.id)
    (workdir / "folder").mkdir()
    (workdir / "link").symlink_to("folder")
    async with person.watch(await person.open(workdir / "link")) as terminal:
        for size in ([], [1], ["x", 80], [24.5, 80], [70_000, 80], [-1, 80], [True, 80], [[], {}]):
            terminal.resize(*size)
        assert await terminal.run("pwd") == f"/loopat/loop/{running.id}/workdir/folder\r\n"


@pytest.mark.parametrize("drive", ["loops:", ""])
async def test_a_folder_of_the_drive_is_in_its_loop(
    person: Person, manager: LoopManager, running: LoopRecord, drive: str, jp_serverapp: Any
):
    (manager.workspace.workdir(running.id) / "folder").mkdir()
    name = await person.open(Path(f"{drive}{folder_name(running)}/folder"))
    async with person.watch(name) as terminal:
        assert await terminal.run("pwd") == f"/loopat/loop/{running.id}/workdir/folder\r\n"
    # That keys were pressed is noted as the loop's last activity.
    os.utime(manager.workspace.record(running.id), (1000, 1000))
    terminals = jp_serverapp.web_app.settings["terminal_manager"]
    await ActivityNotes(lambda: manager.store, None, terminals, dt.datetime.fromtimestamp(0, dt.UTC)).look()
    pressed = terminals.terminals[name].last_activity
    assert abs(manager.store.last_activity(running.id) - pressed) < dt.timedelta(milliseconds=1)


async def test_a_folder_beside_a_loops_files_is_refused(person: Person, manager: LoopManager, running: LoopRecord):
    for below in (".", "home"):
        with pytest.raises(HTTPClientError) as refused:
            await person.open(manager.workspace.loop(running.id) / below)
        assert refused.value.code == 409, below
        assert await person.names() == [], below


async def test_a_folder_that_is_only_inside_may_be_missing(person: Person, manager: LoopManager, running: LoopRecord):
    async with person.watch(await person.open_in_loop(running.id, {"cwd": "/no/where"})) as terminal:
        assert await terminal.run("pwd") == f"/loopat/loop/{running.id}/workdir\r\n"


async def test_a_folder_of_a_loop_that_is_gone_opens_no_shell_of_the_host(
    person: Person,
    manager: LoopManager,
    running: LoopRecord,
    jp_fetch: Callable[..., Awaitable[Any]],
    jp_serverapp: Any,
):
    workdir = manager.workspace.workdir(running.id)
    for cwd in (workdir / "gone", Path("gone-0b347d59/sub"), Path("0b347d59-0000-4000-8000-000000000000")):
        with pytest.raises(HTTPClientError) as refused:
            await person.open(cwd)
        assert refused.value.code == 404
    # Nor one of the loop that the server's own root is in.
    root, jp_serverapp.root_dir = jp_serverapp.root_dir, str(workdir)
    for cwd in (Path("nowhere/sub"), Path("/no/where")):
        with pytest.raises(HTTPClientError) as refused:
            await person.open(cwd)
        assert refused.value.code == 404
    jp_serverapp.root_dir = root
    # A page that is loaded again asks by name.
    for number in ("1", "99999999999", "7\n", "x\ny"):
        with pytest.raises(HTTPClientError) as refused:
            await person.open(None, name=f"00000000_{number}")
        assert refused.value.code == 404
    for body in (
        5,
        ["cwd"],
        {"cwd": ["x"]},
        {"cwd": "\0"},
        {"cwd": "\ud800"},
        {"cwd": None},
        {"name": ["x"]},
    ):
        with pytest.raises(HTTPClientError) as refused:
            await jp_fetch("api", "terminals", method="POST", body=json.dumps(body))
        assert refused.value.code == 400
    # Notes of a terminal are files of its name.
    for name in ("x/../../../evil", "a b", "x" * 101, "é"):
        with pytest.raises(HTTPClientError) as refused:
            await person.open(manager.workspace.workdir(running.id), name=name)
        assert refused.value.code == 400
    assert await person.names() == []
