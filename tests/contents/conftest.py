"""A real Jupyter server whose root folder holds the loops, as an attacker would like it best."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from tornado.httpclient import HTTPClientError

from loopat_jupyter.workspace.records import LoopStore, folder_name, new_record
from tests.workspace.test_records import NOW

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {
        "ServerApp": {
            "contents_manager_class": "loopat_jupyter.contents.managers.LoopContentsManager",
            "kernel_manager_class": "loopat_jupyter.kernels.mapping.LoopMappingKernelManager",
            "jpserver_extensions": {"jupyter_server_terminals": True, "loopat_jupyter": True},
        },
        "TerminalsExtensionApp": {"terminal_manager_class": "loopat_jupyter.terminals.LoopTerminalManager"},
    }


@pytest.fixture
def jp_environ(jp_environ: None, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPAT_HOME", str(workspace.home))


@pytest.fixture
def jp_root_dir(workspace: Workspace) -> Path:
    return workspace.home


@pytest.fixture
def record(workspace: Workspace) -> LoopRecord:
    made = new_record(title="Rain in March", created_by="ada", now=NOW)
    LoopStore(workspace).create(made)
    return made


@pytest.fixture
def folder(record: LoopRecord) -> str:
    return folder_name(record)


@pytest.fixture
def workdir(workspace: Workspace, record: LoopRecord) -> Path:
    return workspace.workdir(record.id)


class Answer(NamedTuple):
    """What a request came to."""

    status: int
    body: Any
    headers: Any


@pytest.fixture
def ask(jp_fetch: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Answer]]:
    """Sends a request; errors are answers too."""

    async def send(method: str, path: str, body: object = None, **params: str) -> Answer:
        data = None if body is None and method in ("GET", "DELETE", "HEAD") else json.dumps(body or {})
        try:
            answer = await jp_fetch(*path.split("/"), method=method, body=data, params=params)
        except HTTPClientError as error:
            answer = error.response
        body = answer.body
        # Some stock answers call a plain sentence JSON.
        with contextlib.suppress(ValueError):
            body = json.loads(body)
        return Answer(answer.code, body, answer.headers)

    return send
