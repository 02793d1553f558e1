"""The contents manager of the drive, with what people configure for that of the server's root folder."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from loopat_jupyter.contents.drive import Drive
from loopat_jupyter.contents.drive_manager import LoopDriveManager
from loopat_jupyter.workspace.records import LoopStore, new_record
from tests.workspace.test_records import NOW

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_server.serverapp import ServerApp

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace
    from loopat_jupyter.workspace.records import Stamp

API = "loopat/api/contents"


async def test_a_loop_that_is_deleted_meanwhile_is_left_out(
    ask: Any, folder: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_record(title="Other", created_by="ada", now=NOW)
    LoopStore(workspace).create(other)
    read = LoopStore.read

    def deleted_since(store: LoopStore, loop_id: str) -> LoopRecord:
        found = read(store, loop_id)
        if loop_id == other.id:
            workspace.record(loop_id).unlink(missing_ok=True)
        return found

    monkeypatch.setattr(LoopStore, "read", deleted_since)
    answer = await ask("GET", API)
    assert (answer.status, [entry["name"] for entry in answer.body["content"]]) == (200, [folder])


async def test_the_root_is_listed_beside_the_event_loop(
    folder: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive, on_event_loop = Drive(workspace), []

    def noted() -> list[Stamp]:
        on_event_loop.append(threading.current_thread() is threading.main_thread())
        return LoopStore(workspace).stamps()

    monkeypatch.setattr(drive.store, "stamps", noted)
    manager = LoopDriveManager(workspace=workspace, drive=drive, root_dir=str(workspace.loops))
    assert [entry["name"] for entry in (await manager.get(""))["content"]] == [folder]
    assert on_event_loop == [False]


class TestPreferredFolder:
    """One that is in the server's root folder, and in no loop."""

    @pytest.fixture
    def jp_server_config(self, jp_server_config: dict[str, Any]) -> dict[str, Any]:
        return {**jp_server_config, "FileContentsManager": {"preferred_dir": "sub"}}

    @pytest.fixture
    def jp_root_dir(self, workspace: Workspace) -> Path:
        (workspace.home / "sub").mkdir()
        return workspace.home

    async def test_the_drive_opens_at_its_root(self, ask: Any, folder: str, jp_serverapp: ServerApp) -> None:
        answer = await ask("GET", API)
        assert (answer.status, [entry["name"] for entry in answer.body["content"]]) == (200, [folder])
        assert jp_serverapp.contents_manager.preferred_dir == "sub"
        assert jp_serverapp.web_app.settings["loopat_drive"]().preferred_dir == ""
