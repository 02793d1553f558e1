"""Commands over REST, on real podman."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from tornado.iostream import IOStream

from loopat_jupyter.sandbox.execution import Exit, Output
from loopat_jupyter.sandbox.process import exec_roots
from loopat_jupyter.sandbox.state import StateFiles
from loopat_jupyter.sandbox.usage import usage
from loopat_jupyter.server.answers import Problem
from loopat_jupyter.server.handlers.commands import Lines
from tests.conftest import add_loop, start_emptied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace

pytestmark = pytest.mark.lonely

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def workspace(workspace_of_module: Workspace) -> Workspace:
    return workspace_of_module


@pytest.fixture(scope="module")
def shared(workspace: Workspace) -> LoopRecord:
    return add_loop(workspace, "commands")


@pytest.fixture
async def loop(real_image: str, jp_serverapp: Any, shared: LoopRecord) -> str:
    """The loop of the module, which runs; nothing runs or lies in it, whatever the test before it left."""
    await start_emptied(jp_serverapp.web_app.settings["loopat_service"].manager, shared)
    return shared.id


def running_inside(workspace: Workspace, loop: str) -> list[int]:
    stamp = StateFiles(workspace.host(loop)).running()
    return exec_roots(stamp.pid) if stamp else []


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.1)


@pytest.fixture
def open_exec(api: Any, jp_http_port: int, jp_base_url: str, jp_auth_header: dict[str, str]) -> Any:
    """A raw connection that has sent a command and read nothing yet; leaving the block hangs up."""

    @contextlib.asynccontextmanager
    async def opened(loop: str, argv: list[str]) -> AsyncIterator[IOStream]:
        stream = IOStream(socket.socket())
        await stream.connect(("127.0.0.1", jp_http_port))
        body = json.dumps({"argv": argv}).encode()
        head = f"POST {jp_base_url}loopat/api/loops/{loop}/exec HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Authorization: {jp_auth_header['Authorization']}\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.write(head.encode() + body)
        try:
            yield stream
        finally:
            stream.close()

    return opened


def text(lines: list[dict[str, Any]], stream: str = "stdout") -> str:
    return "".join(line["data"] for line in lines if line.get("stream") == stream)


class TestLines:
    def test_characters_cut_in_two_are_put_together(self) -> None:
        lines = Lines()
        euro = "€".encode()
        assert lines.of(Output("stdout", b"a" + euro[:1])) == b'{"stream":"stdout","data":"a"}\n'
        assert lines.of(Output("stdout", euro[1:2])) == b""
        assert lines.of(Output("stderr", b"!")) == b'{"stream":"stderr","data":"!"}\n'
        assert lines.of(Output("stdout", euro[2:])) == '{"stream":"stdout","data":"€"}\n'.encode()
        assert lines.of(Exit(3)) == b'{"exit_code":3}\n'

    def test_what_is_no_text_is_replaced(self) -> None:
        lines = Lines()
        assert json.loads(lines.of(Output("stdout", b"a\xffb"))) == {
            "stream": "stdout",
            "data": "a\N{REPLACEMENT CHARACTER}b",
        }

    def test_an_unfinished_character_is_told_before_the_end(self) -> None:
        lines = Lines()
        lines.of(Output("stderr", b"\xe2"))
        ended = [json.loads(line) for line in lines.of(Exit(0)).splitlines()]
        assert ended == [{"stream": "stderr", "data": "\N{REPLACEMENT CHARACTER}"}, {"exit_code": 0}]

    def test_a_problem_is_the_last_line(self) -> None:
        problem = Problem(message="no", reason="engine_failed", code=500)
        assert json.loads(Lines().failed(problem)) == {
            "error": {"message": "no", "reason": "engine_failed", "code": 500}
        }


@pytest.mark.podman
class TestCommands:
    async def test_output_stdin_variables_folder_and_exit_code(self, api: Any, loop: str, workspace: Workspace) -> None:
        (workspace.workdir(loop) / "data").mkdir()
        ran = await api(
            "POST",
            "loops",
            loop,
            "exec",
            send={
                "argv": ["bash", "-c", 'pwd; echo "$GREETING"; cat; echo bad >&2; exit 7'],
                "stdin": "süß\n",
                "env": {"GREETING": "two\nlines"},
                "cwd": "data",
            },
            request_timeout=100,
        )
        assert ran.status == 200
        assert ran.headers["Content-Type"].startswith("application/x-ndjson")
        assert text(ran.body) == f"/loopat/loop/{loop}/workdir/data\ntwo\nlines\nsüß\n"
        assert text(ran.body, "stderr") == "bad\n"
        assert ran.body[-1] == {"exit_code": 7}

    async def test_podman_failing_is_told_from_a_command_failing(self, api: Any, loop: str) -> None:
        missing = await api("POST", "loops", loop, "exec", send={"argv": ["no-such-command"]}, request_timeout=100)
        nowhere = await api("POST", "loops", loop, "exec", send={"argv": ["pwd"], "cwd": "/nowhere"})
        assert missing.body[-1] == {"exit_code": 127}
        assert (nowhere.status, nowhere.body["field"]) == (400, "cwd")

    async def test_no_folder_of_the_loop_is_bad_input(self, api: Any, loop: str, workspace: Workspace) -> None:
        (workspace.workdir(loop) / "out").symlink_to("/")
        for cwd in ("nowhere", "..", "../home", "out", "out/etc", "", "a\0b", "x" * 5000):
            refused = await api("POST", "loops", loop, "exec", send={"argv": ["pwd"], "cwd": cwd})
            assert (refused.status, refused.body["field"]) == (400, "cwd")

    async def test_the_deadline_ends_a_command_silent_or_not_and_is_the_last_line(
        self, api: Any, loop: str, workspace: Workspace
    ) -> None:
        async def run(*argv: str) -> Any:
            send = {"argv": argv, "timeout_s": 2}
            return await api("POST", "loops", loop, "exec", send=send, request_timeout=100)

        ran, silent = await asyncio.gather(
            run("bash", "-c", "echo begun; sleep 1000 & sleep 1000"), run("sleep", "1000")
        )
        assert (text(ran.body), text(silent.body)) == ("begun\n", "")
        for answer in (ran, silent):
            assert answer.status == 200
            assert answer.body[-1]["error"] == {
                "message": "The command was ended after 2 s. Give it a longer timeout_s, or none.",
                "reason": "command_timeout",
                "code": 504,
            }
        await eventually(lambda: not running_inside(workspace, loop))

    async def test_output_comes_as_it_is_written(self, loop: str, open_exec: Any, workspace: Workspace) -> None:
        async with open_exec(
            loop, ["bash", "-c", "echo one; until [ -e go ]; do sleep 0.05; done; echo two"]
        ) as stream:
            await stream.read_until(b'"one\\n"}')
            (workspace.workdir(loop) / "go").touch()
            await stream.read_until(b'"two\\n"}')
            await stream.read_until(b'{"exit_code":0}')

    @pytest.mark.parametrize("command", ["echo begun; sleep 1000 & sleep 1000", "echo begun; yes"])
    async def test_a_client_that_goes_away_ends_the_command(
        self, loop: str, open_exec: Any, workspace: Workspace, command: str
    ) -> None:
        async with open_exec(loop, ["bash", "-c", command]) as stream:
            await stream.read_until(b"begun")
            assert running_inside(workspace, loop)
        await eventually(lambda: not running_inside(workspace, loop))

    async def test_a_client_that_goes_away_is_no_server_that_stops(
        self, loop: str, open_exec: Any, workspace: Workspace, server_log: Any
    ) -> None:
        async with open_exec(loop, ["sleep", "1000"]):
            await eventually(lambda: bool(running_inside(workspace, loop)))
        await eventually(lambda: f"/loops/{loop}/exec" in server_log.text)
        assert "is stopping" not in server_log.text

    @pytest.mark.abuse("A12")
    async def test_values_never_reach_the_log(self, api: Any, loop: str, server_log: Any) -> None:
        canary = "canary-3f9a1c"
        sent = {"argv": ["bash", "-c", f"cat; echo {canary}"], "stdin": canary, "env": {"SECRET": canary}}
        await api("POST", "loops", loop, "exec", send=sent, request_timeout=100)
        await api("POST", "loops", loop, "exec", send={**sent, "env": {"1SECRET": canary}})
        await api("POST", "loops", loop, "exec", send={**sent, "timeout_s": canary})
        await api("POST", "loops", loop, "exec", body=json.dumps(sent).encode()[:-2])
        assert canary not in server_log.text

    @pytest.mark.fault("F16")
    async def test_a_client_that_does_not_read_slows_the_command_down(
        self, api: Any, loop: str, open_exec: Any, workspace: Workspace
    ) -> None:
        script = "block=$(head -c 65536 /dev/zero | tr '\\0' x); while :; do echo $block; echo >>blocks; done"
        written = workspace.workdir(loop) / "blocks"
        readings: list[int] = []

        def stalled() -> bool:
            readings.append(written.stat().st_size if written.exists() else 0)
            return len(readings) > 10 and readings[-1] > 0 and len(set(readings[-10:])) == 1

        server, before = psutil.Process(), psutil.Process().memory_info().rss
        async with open_exec(loop, ["bash", "-c", script]):
            await eventually(stalled)
            assert readings[-1] * 65536 < 64 * MIB
            # At both ends: this process is the server, and all that runs inside is the shell.
            assert server.memory_info().rss - before < 64 * MIB
            stamp = StateFiles(workspace.host(loop)).running()
            assert usage(stamp.pid).memory_bytes < 64 * MIB
        await eventually(lambda: not running_inside(workspace, loop))
        stopped = await api("POST", "loops", loop, "stop", request_timeout=100)
        assert (stopped.status, stopped.body["state"]) == (200, "stopped")
