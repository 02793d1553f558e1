"""A real Jupyter server in a process of its own, and clients that talk to it as a browser would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import sys
import uuid
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

TOKEN = "token-of-the-tests"
PATIENCE_S = 120
SIGNAL_AGAIN_S = 20
LEAN = Path(__file__).parent / "lean"
FACES = ("jupyterlab", "notebook", "notebook_shim", "jupyter_lsp")


FORKS = multiprocessing.get_context("forkserver")
"""Starts what is long to import from a process that has imported it."""

IMPORTED = [
    *("jupyter_server.serverapp", "jupyter_server.services.kernels.handlers", "jupyter_server_terminals.app"),
    *("loopat_jupyter.server.app", "loopat_jupyter.server.routes", "loopat_jupyter.server.service", __name__),
    *("loopat_jupyter.contents.managers", "loopat_jupyter.kernels.sessions", "loopat_jupyter.terminals"),
    *("loopat_jupyter.kernels.provisioner", "loopat_jupyter.kernels.spares", "loopat_jupyter.server.follower"),
    # Jupyter looks for kernels in IPython's folder, too, and imports all of IPython for its name.
    *("IPython.paths", "ipykernel.kernelspec"),
]
FORKS.set_forkserver_preload(IMPORTED)


class Process(Protocol):
    """What a server runs in, as asyncio has it."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def kill(self) -> None: ...

    def terminate(self) -> None: ...

    def send_signal(self, signal: int, /) -> None: ...

    async def wait(self) -> int: ...


class Forked:
    """A process that is forked, from one that has imported what it runs.

    Args:
        target: What runs, a function of a module.
        args: For it.
    """

    def __init__(self, target: Callable[..., None], *args: object) -> None:
        _import_once()
        self._process = FORKS.Process(target=target, args=args)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        self._loop.add_reader(self._process.sentinel, self._note_end)

    def _note_end(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        self._process.join()
        self._ended.set()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, signal: int, /) -> None:
        os.kill(self.pid, signal)

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()

    async def wait(self) -> int:
        await self._ended.wait()
        assert self._process.exitcode is not None
        return self._process.exitcode


def _import_once() -> None:
    """Start the process that imports, unless it runs: with nothing of the test that happens to be the first."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            patch.delenv(name)
        patch.setenv("PATH", os.defpath)
        patch.setenv("LANG", "C.UTF-8")
        patch.setenv("PYTHONPATH", str(LEAN))
        patch.chdir(LEAN.parents[1])
        forkserver.ensure_running()


def _begin(arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
    # Names that cannot be imported beforehand are passed over without a word.
    lacking = [name for name in IMPORTED if name not in sys.modules]
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    assert not lacking, f"not imported beforehand: {lacking}"
    sys.argv = ["jupyter-server", *arguments]


def _serve(arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
    _begin(arguments, environment, log)
    from jupyter_server.serverapp import ServerApp

    ServerApp.launch_instance(list(arguments))
    # Stock leaves a thread of AnyIO's behind where a request is under way when the event loop ends, and Python would
    # wait for it for ever.
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


def _execute(script: str, arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
    _begin(arguments, environment, log)
    sys.argv = ["-c", *arguments]
    exec(script, {"__name__": "__main__"})


def forked_script(script: str, *arguments: str, environ: dict[str, str], log: Path) -> Forked:
    """As `python -c` does, in a process that has imported what it needs of us; what it writes goes to a file."""
    return Forked(_execute, script, arguments, environ, log)


def _report(arguments: Sequence[str], environment: dict[str, str], log: Path, report: Path) -> None:
    _begin(arguments, environment, log)
    from jupyter_client.provisioning import KernelProvisionerFactory
    from jupyter_server.serverapp import ServerApp

    app = ServerApp.instance()
    app.initialize(list(arguments))
    assert app.web_app is not None
    terminals = app.web_app.settings["terminal_manager"]
    provisioners = KernelProvisionerFactory.instance(parent=app.kernel_manager)
    told = {
        "terminals": f"{type(terminals).__module__}.{type(terminals).__qualname__}",
        "sessions": f"{type(app.session_manager).__module__}.{type(app.session_manager).__qualname__}",
        "provisioner": provisioners.default_provisioner_name,
        "member": app.extension_manager.extension_points["loopat"].app.member,
    }
    report.write_text(json.dumps(told))


def settings_of_server(arguments: Sequence[str], environment: dict[str, str], folder: Path) -> dict[str, str]:
    """What a server works by that is started so, in a process of its own, for settings are global to one.

    Args:
        arguments: Of `jupyter server`.
        environment: All its variables.
        folder: For its log.
    """
    _import_once()
    log, report = folder / "server.log", folder / "report.json"
    process = FORKS.Process(target=_report, args=(arguments, environment, log, report))
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == 0, log.read_text()
    told: dict[str, str] = json.loads(report.read_text())
    return told


class Answer(NamedTuple):
    """What the server answered."""

    status: int
    body: Any


class Server:
    """A server that runs, and how to talk to it."""

    def __init__(self, process: Process, url: str, log: Path) -> None:
        self.process, self.url, self.log = process, url, log

    async def api(self, method: str, path: str, body: object = None, timeout_s: float = PATIENCE_S) -> Answer:
        request = HTTPRequest(
            f"{self.url}{path}",
            method=method,
            headers={"Authorization": f"token {TOKEN}"},
            body=None if body is None else json.dumps(body),
            allow_nonstandard_methods=True,
            request_timeout=timeout_s,
        )
        answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        kind = answer.headers.get("Content-Type", "")
        if kind.startswith("application/x-ndjson"):
            return Answer(answer.code, [json.loads(line) for line in answer.body.splitlines()])
        return Answer(answer.code, json.loads(answer.body) if "json" in kind and answer.body else answer.body)

    @contextlib.asynccontextmanager
    async def socket(self, path: str) -> AsyncIterator[Any]:
        url = f"ws{self.url.removeprefix('http')}{path}"
        connection = await websocket_connect(HTTPRequest(url, headers={"Authorization": f"token {TOKEN}"}))
        try:
            yield connection
        finally:
            connection.close()

    @contextlib.asynccontextmanager
    async def kernel(self, kernel_id: str) -> AsyncIterator[Kernel]:
        async with self.socket(f"api/kernels/{kernel_id}/channels?session_id={uuid.uuid4()}") as connection:
            yield Kernel(connection)

    @contextlib.asynccontextmanager
    async def terminal(self, name: str) -> AsyncIterator[Terminal]:
        async with self.socket(f"terminals/websocket/{name}") as connection:
            yield Terminal(connection)


class Result(NamedTuple):
    """What a cell did."""

    status: str
    text: str
    content: dict[str, Any]


class Kernel:
    """A kernel's channels over one websocket."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def send(self, kind: str, content: dict[str, Any]) -> str:
        message_id = uuid.uuid4().hex
        header = {"msg_id": message_id, "msg_type": kind, "username": "t", "session": "t", "version": "5.3", "date": ""}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        self._connection.write_message(json.dumps(message))
        return message_id

    def submit(self, code: str) -> str:
        return self.send(
            "execute_request", {"code": code, "silent": False, "store_history": True, "stop_on_error": True}
        )

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        while (text := await asyncio.wait_for(self._connection.read_message(), PATIENCE_S)) is not None:
            yield json.loads(text)

    async def result(self, message_id: str) -> Result:
        text, reply, idle = "", None, False
        async for message in self.messages():
            if message["parent_header"].get("msg_id") != message_id:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                text += content["text"]
            elif kind in ("execute_result", "display_data"):
                text += content["data"].get("text/plain", "")
            elif kind == "error":
                text += "\n".join(content["traceback"])
            elif kind == "execute_reply":
                reply = content
            elif kind == "status" and content["execution_state"] == "idle":
                idle = True
            if reply is not None and idle:
                return Result(reply["status"], text, reply)
        raise AssertionError("the kernel's websocket closed")

    async def run(self, code: str) -> Result:
        return await self.result(self.submit(code))


class Terminal:
    """A terminal over its websocket."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.seen = ""

    def resize(self, *size: object) -> None:
        self._connection.write_message(json.dumps(["set_size", *size]))

    def type(self, text: str) -> None:
        self._connection.write_message(json.dumps(["stdin", text]))

    async def until(self, marker: str) -> str:
        while marker not in self.seen:
            text = await asyncio.wait_for(self._connection.read_message(), PATIENCE_S)
            assert text is not None, f"the terminal closed before {marker!r}: {self.seen}"
            kind, *rest = json.loads(text)
            if kind == "stdout":
                self.seen += rest[0]
            assert kind != "disconnect", f"the terminal ended before {marker!r}: {self.seen}"
        before, _, self.seen = self.seen.partition(marker)
        return before

    async def run(self, command: str) -> str:
        """Run a command and return what it printed."""
        mark = uuid.uuid4().hex
        # The marker is split where it is typed, so that the echo of the command does not end the wait.
        self.type(f"{command}; echo {mark[:16]}''{mark[16:]}\r")
        return (await self.until(mark)).partition("\n")[2]


@contextlib.asynccontextmanager
async def jupyter_server(
    folder: Path, root: Path, environ: dict[str, str], *options: str, faces: bool = False, fresh: bool = False
) -> AsyncIterator[Server]:
    """Start a real `jupyter server`; it is ended with the block. Importing is most of its start, and done before.

    Args:
        folder: For its runtime files, settings and log.
        root: Its root folder.
        environ: Variables on top of the tests' own.
        options: Further command-line options.
        faces: With JupyterLab and Notebook.
        fresh: Start it as people do, which takes thrice as long.
    """
    runtime = folder / "jupyter-runtime"
    runtime.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    environment = {
        **os.environ,
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter-config"),
        "JUPYTER_DATA_DIR": str(folder / "jupyter-data"),
        "PYTHONPATH": str(LEAN),
        **({"PATH": f"{LEAN}{os.pathsep}{os.environ['PATH']}"} if faces else {}),
        **environ,
    }
    is_given = any(option.startswith("--IdentityProvider.token=") for option in options)
    without = dict.fromkeys(FACES, False)
    # Nobody asks which language servers there are, for which npm would be run.
    own = "--LanguageServerManager.autodetect=False" if faces else f"--ServerApp.jpserver_extensions={without}"
    own_token = () if is_given else (f"--IdentityProvider.token={TOKEN}",)
    is_fixed = any(option.startswith("--ServerApp.port=") for option in options)
    port = () if is_fixed else ("--ServerApp.port=0",)
    root_dir = f"--ServerApp.root_dir={root}"
    arguments = ("--no-browser", "--ServerApp.ip=127.0.0.1", *port, *own_token, own, root_dir, *options)
    process: Process
    if fresh:
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "jupyter_server", *arguments),
                env=environment, stdout=output, stderr=output, stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
    else:
        process = Forked(_serve, arguments, environment, log)
    try:
        yield Server(process, await _url(process, runtime, log), log)
    finally:
        # A signal that meets the server while it writes to its log is lost: Jupyter's handler writes there first.
        for _ in range(PATIENCE_S // SIGNAL_AGAIN_S):
            if process.returncode is None:
                process.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), SIGNAL_AGAIN_S)
        assert process.returncode is not None, f"the server does not end: {log.read_text()}"


async def _url(process: Process, runtime: Path, log: Path) -> str:
    info = runtime / f"jpserver-{process.pid}.json"
    while process.returncode is None:
        # The file is written before the server listens.
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError, ConnectionRefusedError):
            told = json.loads(info.read_text())
            _, writer = await asyncio.open_connection("127.0.0.1", told["port"])
            writer.close()
            return str(told["url"])
        await asyncio.sleep(0.05)
    raise AssertionError(f"the server ended: {log.read_text()}")
