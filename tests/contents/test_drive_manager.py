"""The contents manager of the drive, with what people configure for that of the server's root folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from jupyter_server.serverapp import ServerApp

    from loopat_jupyter.workspace.paths import Workspace

API = "loopat/api/contents"


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
