"""A real Jupyter server with the extension, on a workspace of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pwd
import resource
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from tornado.httpclient import HTTPClientError, HTTPResponse

from loopat_jupyter.server.events import SCHEMA_ID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from loopat_jupyter.workspace.paths import Workspace


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {
        "ServerApp": {"jpserver_extensions": {"jupyter_server_terminals": True, "loopat_jupyter": True}},
        "TerminalsExtensionApp": {"terminal_manager_class": "loopat_jupyter.terminals.LoopTerminalManager"},
    }


@pytest.fixture
def carries_contexts() -> bool:
    """Whether new loops carry the contexts: three repos for each loop, of which most tests claim nothing."""
    return False


@pytest.fixture
def jp_environ(
    jp_environ: None, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, *, carries_contexts: bool
) -> Iterator[None]:
    """The server's environment names the test's workspace. HOME is the real one: podman's images are there."""
    settings = workspace.config_file.read_text() if workspace.config_file.exists() else ""
    if not carries_contexts:
        workspace.config_file.write_text(f"{settings}[context]\nuse = false\n")
    monkeypatch.setenv("HOME", pwd.getpwuid(os.getuid()).pw_dir)
    monkeypatch.setenv("LOOPAT_HOME", str(workspace.home))
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    yield
    if workspace.config_file.is_file():
        # Who removes what podman has of the workspace looks there for whether it has a network.
        workspace.config_file.write_text(settings)


class Answer(NamedTuple):
    """What a request came to."""

    status: int
    body: Any
    headers: Any


@pytest.fixture
def api(jp_fetch: Callable[..., Awaitable[HTTPResponse]]) -> Callable[..., Awaitable[Answer]]:
    """Calls the interface; errors are answers too."""

    async def call(verb: str, *parts: str, send: Any = None, body: bytes | None = None, **options: Any) -> Answer:
        if body is None and verb in ("POST", "PATCH", "PUT"):
            body = b"" if send is None else json.dumps(send).encode()
        try:
            response = await jp_fetch(
                "loopat", "api", *parts, method=verb, body=body, allow_nonstandard_methods=True, **options
            )
        except HTTPClientError as error:
            if error.response is None:
                raise
            response = error.response
        kind = response.headers.get("Content-Type", "")
        text = response.body
        if kind.startswith("application/json"):
            return Answer(response.code, json.loads(text) if text else None, response.headers)
        if kind.startswith("application/x-ndjson"):
            return Answer(response.code, [json.loads(line) for line in text.splitlines()], response.headers)
        return Answer(response.code, text, response.headers)

    return call


@pytest.fixture
async def started(jp_serverapp: Any) -> Any:
    """The server with its extensions' background work, as it has after start."""
    await jp_serverapp.extension_manager.start_all_extensions()
    return jp_serverapp


@pytest.fixture
def real_image(sandbox_image: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Loops of the server use the image that is there."""
    monkeypatch.setenv("LOOPAT_SANDBOX_IMAGE", sandbox_image)
    return sandbox_image


@pytest.fixture
def full_disk() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """While the block runs, no file of this process can grow: the kernel refuses every write to one."""

    @contextlib.contextmanager
    def full() -> Iterator[None]:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)

    return full


class Log(logging.Handler):
    """Keeps what is logged, in whatever phase of a test."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def text(self) -> str:
        return "\n".join(record.getMessage() for record in self.records)


@pytest.fixture
def server_log(jp_serverapp: Any) -> Iterator[Log]:
    """Everything that the server and the extension log, at any level."""
    extension = jp_serverapp.extension_manager.extension_points["loopat"].app
    loggers = [jp_serverapp.log, extension.log, logging.getLogger("loopat_jupyter"), logging.getLogger("tornado")]
    log, levels = Log(), [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(log)
        logger.setLevel(logging.DEBUG)
    yield log
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(log)
        logger.setLevel(level)


@pytest.fixture
async def connect(jp_ws_fetch: Any) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Opens websockets, and hangs up properly: a connection that is merely dropped outlives its test."""
    sockets = []

    async def opened(*parts: str) -> Any:
        sockets.append(await jp_ws_fetch(*parts))
        return sockets[-1]

    yield opened
    async with asyncio.timeout(30):
        for socket in sockets:
            socket.close()
            while await socket.read_message() is not None:
                pass


@pytest.fixture
async def next_event(started: Any, connect: Any) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Reads the next event of ours from the server's own event stream."""
    socket = await connect("api", "events", "subscribe")

    async def read() -> dict[str, Any]:
        async with asyncio.timeout(100):
            while True:
                message = json.loads(await socket.read_message())
                if message["schema_id"] == SCHEMA_ID:
                    return {key: value for key, value in message.items() if key != "schema_id" and key[0] != "_"}

    return read
