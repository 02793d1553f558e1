"""Commands in a real sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from loopat_jupyter.errors import BadInputError, EngineError, EngineTimeoutError
from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox import execution
from loopat_jupyter.sandbox.entrance import ENTRANCE
from loopat_jupyter.sandbox.execution import Exit, Output, run_attached, run_inherited, start_detached
from loopat_jupyter.sandbox.host import allowed_open_files
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.sandbox.process import Stem, exec_roots
from loopat_jupyter.sandbox.trees import descendants, end_tree
from tests.conftest import no_entrance
from tests.kernels.conftest import gone
from tests.sandbox.saying import said

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.lifecycle import Running
    from loopat_jupyter.workspace.paths import Workspace

pytestmark = [pytest.mark.podman, pytest.mark.lonely]


class Box:
    """A running loop."""

    def __init__(self, manager: LoopManager, record: LoopRecord, running: Running) -> None:
        self.manager, self.record, self.running = manager, record, running
        self.folder = manager.workspace.run(record.id)

    def files(self) -> list[Path]:
        """What was left in the runtime folder."""
        return [path for path in self.folder.iterdir() if path.name != ENTRANCE]

    async def run(self, *argv: str, stdin: bytes = b"", timeout_s: float | None = 60, **spec: object):
        events = [
            event
            async for event in run_attached(
                self.manager.engine,
                self.running,
                self.folder,
                ExecSpec(argv=argv, interactive=bool(stdin), **spec),
                stdin=stdin,
                timeout_s=timeout_s,
            )
        ]
        assert isinstance(events[-1], Exit)
        out = b"".join(event.data for event in events[:-1] if event.stream == "stdout")
        err = b"".join(event.data for event in events[:-1] if event.stream == "stderr")
        return events[-1].exit_code, out, err

    async def detached(self, *argv: str, **spec: object):
        stem = Stem.new(self.folder, "k")
        return await start_detached(self.manager.engine, self.running, stem, ExecSpec(argv=argv, detach=True, **spec))


class LatePodman(Podman):
    """Podman on a machine so busy that its clients are not handed over before what they start runs."""

    @contextlib.asynccontextmanager
    async def open(self, *arguments: str, stdin: bool = False):
        async with super().open(*arguments, stdin=stdin) as client:
            await asyncio.Event().wait()
            yield client

    @contextlib.asynccontextmanager
    async def attach(self, *arguments: str, stdin: bool, foreground: bool):
        async with super().attach(*arguments, stdin=stdin, foreground=foreground) as client:
            await asyncio.Event().wait()
            yield client


@pytest.fixture
def workspace(workspace_of_module: Workspace) -> Workspace:
    return workspace_of_module


@pytest.fixture
async def box(manager: LoopManager) -> AsyncIterator[Box]:
    """A loop that all tests share, as if nothing had ever run in it."""
    records = list(manager.store.readable())
    record = records[0] if records else manager.create(title="box")
    made = Box(manager, record, await manager.use(record))
    own = set(descendants(made.running.init_pid))
    yield made
    for pid in set(descendants(made.running.init_pid)) - own:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        await gone(pid)
    for file in made.files():
        file.unlink()


async def test_streams_exit_code_and_standard_input_are_the_commands_own(box: Box):
    assert await box.run("bash", "-c", "cat; echo problem >&2; exit 7", stdin=b"hello") == (7, b"hello", b"problem\n")
    data = bytes(range(256)) * 20_000
    assert (await box.run("cat", stdin=data))[1] == data


async def test_a_command_is_the_user_in_the_workdir_and_may_be_root(box: Box):
    script = "id -u; id -g; whoami; pwd; hostname; echo $HOME; touch made; sudo id -u"
    code, out, err = await box.run("bash", "-c", script)
    assert (code, err) == (0, b"")
    assert out.decode().split() == [
        "2000",
        "2000",
        "loopat",
        f"/loopat/loop/{box.record.id}/workdir",
        f"loop-{box.record.id[:8]}",
        "/loopat/home/loopat",
        # No password is asked for.
        "0",
    ]
    made = box.manager.workspace.workdir(box.record.id) / "made"
    assert made.owner() == psutil.Process().username()


async def test_variables_arrive_whole_and_leave_no_trace(box: Box):
    value = 'can\'ary "$HOME"\nsecond line\\'
    code, out, _ = await box.run("bash", "-c", 'printf %s "$TOKEN"; ls /loopat/run', env={"TOKEN": value})
    assert code == 0
    assert out.decode().startswith(value)
    assert ".env" not in out.decode()
    assert box.files() == []
    inspected = await box.manager.engine.run("inspect", box.running.name)
    assert b"can'ary" not in inspected.stdout


async def test_a_command_opens_its_streams_by_their_own_names(box: Box):
    script = "cat /dev/stdin; echo out >/dev/stdout; echo err >/dev/stderr; cat </dev/fd/0"
    assert await box.run("bash", "-c", script, stdin=b"in") == (0, b"inout\n", b"err\n")


async def test_a_python_that_does_not_run_is_no_hindrance(box: Box):
    assert (await box.run("sudo", "chmod", "000", "/usr/bin/python3"))[0] == 0
    try:
        assert await box.run("echo", "hi") == (0, b"hi\n", b"")
    finally:
        assert (await box.run("sudo", "chmod", "755", "/usr/bin/python3"))[0] == 0


async def test_what_waits_for_a_command_is_not_found_by_its_words(box: Box):
    assert await box.run("pgrep", "-f", "a word of nothing else") == (1, b"", b"")
    assert (await box.run("pkill", "-f", "python3"))[0] == 1


async def test_a_command_may_use_podmans_own_exit_codes(box: Box):
    for code in (125, 126):
        assert (await box.run("bash", "-c", f"exit {code}"))[0] == code


async def test_a_sandbox_that_is_gone_is_a_failure_of_podman(box: Box):
    await box.manager.stop(box.record)
    with pytest.raises(EngineError, match="could not run in"):
        await box.run("true")
    assert box.files() == []


async def test_a_limit_of_this_login_that_podman_cannot_set_is_told(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    limit = allowed_open_files() // 2
    smaller = tmp_path / "podman"
    smaller.write_text(f'#!/bin/sh\nexec prlimit --nofile={limit}:{limit} podman "$@"\n')
    smaller.chmod(0o755)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    box.manager.engine = Podman(str(smaller), os.environ)
    with (
        no_entrance(box.manager, box.record),
        pytest.raises(EngineError, match=r"open files \(`ulimit -Hn`\).* recreate LOOP`"),
    ):
        await box.run("true")


async def test_the_deadline_ends_the_command_and_its_children(box: Box):
    with pytest.raises(TimeoutError):
        await box.run("bash", "-c", "setsid sleep 600 & sleep 600", timeout_s=0.3)
    # One look: what waited for the command may just be ending.
    left = descendants(box.running.init_pid)
    assert left == [pid for pid in left if not sleeping(pid)]
    assert exec_roots(box.running.init_pid) == []


@pytest.mark.parametrize("reader", ["waits", "asks", "leaves"])
async def test_the_deadline_ends_what_ignores_term_below_a_shell_that_heeds_it(
    box: Box, monkeypatch: pytest.MonkeyPatch, reader: str
):
    monkeypatch.setattr(execution, "end_tree", functools.partial(end_tree, grace_s=0.5))
    stubborn = """setsid bash -c "trap '' TERM; echo; sleep 600; sleep 600" & sleep 600"""
    spec = ExecSpec(argv=("bash", "-c", stubborn))
    events = run_attached(box.manager.engine, box.running, box.folder, spec, stdin=b"", timeout_s=0.3)

    async def read() -> None:
        async with contextlib.aclosing(events):
            await anext(events)
            if reader == "asks":
                # The shell has ended, what ignores it has not: it is being ended, whoever looks.
                while exec_roots(box.running.init_pid):
                    await asyncio.sleep(0.01)
            await exhausted(events)

    reading = asyncio.ensure_future(read())
    if reader == "leaves":
        while not (roots := exec_roots(box.running.init_pid)):
            await asyncio.sleep(0.01)
        await gone(*roots)
        reading.cancel()
    with pytest.raises((asyncio.CancelledError, TimeoutError)):
        await reading
    assert not [pid for pid in descendants(box.running.init_pid) if sleeping(pid)]
    assert box.files() == []


async def test_a_folder_that_is_not_there_is_named_and_nothing_runs(box: Box):
    with pytest.raises(BadInputError, match="no folder '/no/where' in the loop") as refused:
        await box.run("touch", "/loopat/run/ran", cwd="/no/where", env={"SECRET": "x"})
    assert refused.value.field == "cwd"
    assert box.files() == []
    code, out, _ = await box.run("pwd", cwd="/usr/lib")
    assert (code, out) == (0, b"/usr/lib\n")


async def test_a_command_that_is_not_there_is_named(box: Box):
    code, _, err = await box.run("no-such-command")
    assert (code, err) == (127, b"no-such-command: there is no such command in this loop\n")
    for line in ("cd", "ls -la"):
        told = f"{line}: there is no such command in this loop\nA line of the shell is run with: bash -c '...'\n"
        assert await said(box.manager, box.record, line) == told


async def test_variables_may_have_any_name(box: Box):
    names = ("pair", "stem", "RANDOM", "SECONDS", "LINENO", "GROUPS", "IFS", "HOME", "rows", "loopat_x")
    env = {name: f"value of {name}" for name in names} | {"PATH": "/nowhere:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    code, out, _ = await box.run("env", "-0", env=env)
    assert code == 0
    arrived = dict(pair.split("=", 1) for pair in out.decode().split("\0") if pair)
    assert {name: arrived.get(name) for name in env} == env
    code, out, _ = await box.run("/usr/bin/env", env={"PATH": "/nowhere"})
    assert (code, b"PATH=/nowhere\n" in out) == (0, True)


def sleeping(pid: int) -> bool:
    return b"600" in command_of(pid)


def command_of(pid: int) -> list[bytes]:
    # A zombie has no command line any more, and what has been reaped no file.
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


async def test_leaving_early_ends_the_command(box: Box):
    spec = ExecSpec(argv=("bash", "-c", "yes & yes"))
    events = run_attached(box.manager.engine, box.running, box.folder, spec, stdin=b"", timeout_s=None)
    async for event in events:
        assert isinstance(event, Output)
        break
    await events.aclose()
    assert exec_roots(box.running.init_pid) == []
    assert box.files() == []


async def test_a_detached_process_is_held_watched_and_logged(box: Box):
    stem, process = await box.detached(
        "bash", "-c", "echo $GREETING; echo oops >&2; exec sleep 600", env={"GREETING": "hi"}
    )
    assert process is not None
    assert exec_roots(box.running.init_pid) == [process.pid]
    waiting = asyncio.create_task(process.wait())
    while "oops" not in stem.log_tail():
        await asyncio.sleep(0.01)
    process.signal_group(signal.SIGTERM)
    await asyncio.wait_for(waiting, 30)
    assert stem.log_tail() == "hi\noops\n"
    process.close()
    stem.remove()
    assert box.files() == []


async def test_a_detached_process_that_ends_at_once_is_told(box: Box):
    stem, process = await box.detached("bash", "-c", "echo bye")
    if process is not None:
        await asyncio.wait_for(process.wait(), 30)
        process.close()
    assert stem.log_tail() == "bye\n"


async def test_ending_a_tree_reaches_grandchildren_that_ignore_term(box: Box):
    script = "trap '' TERM; setsid bash -c \"trap '' TERM; sleep 600; sleep 600\" & wait; sleep 600"
    _, process = await box.detached("bash", "-c", script)
    assert process is not None
    while len(descendants(process.pid)) < 2:
        await asyncio.sleep(0.01)
    family = descendants(process.pid)
    await end_tree(process, grace_s=0.5)
    for pid in family:
        await gone(pid)
    assert not any(sleeping(pid) for pid in descendants(box.running.init_pid))


async def test_background_daemons_do_not_count_as_use(box: Box):
    await box.run("bash", "-c", "setsid sleep 600 >/dev/null 2>&1 </dev/null &")
    while not any(sleeping(pid) for pid in descendants(box.running.init_pid)):
        await asyncio.sleep(0.01)
    assert exec_roots(box.running.init_pid) == []


async def test_processes_of_one_loop_see_each_other(box: Box):
    _, process = await box.detached("sleep", "4242")
    assert process is not None
    assert "sleep 4242" in await said(box.manager, box.record, "ps", "-e", "-o", "args=")
    await end_tree(process)


async def test_signals_that_the_server_ignores_are_heeded_inside(box: Box, monkeypatch: pytest.MonkeyPatch):
    ignored = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
    before = [signal.signal(signum, signal.SIG_IGN) for signum in ignored]
    monkeypatch.setattr(box.manager, "engine", Podman("podman", os.environ))
    try:
        code, out, _ = await box.run("grep", "SigIgn", "/proc/self/status")
    finally:
        for signum, handler in zip(ignored, before, strict=True):
            signal.signal(signum, handler)
    assert code == 0
    assert int(out.split()[1], 16) & 0b111 == 0


async def test_a_deadline_strikes_the_command_and_not_a_slow_reader(box: Box):
    spec = ExecSpec(argv=("yes",))
    events = run_attached(box.manager.engine, box.running, box.folder, spec, stdin=b"", timeout_s=0.2)
    task = asyncio.current_task()

    async def read_slowly() -> None:
        async for _ in events:
            await asyncio.sleep(0.3)

    with pytest.raises(TimeoutError):
        await read_slowly()
    assert task.cancelling() == 0
    assert exec_roots(box.running.init_pid) == []
    assert box.files() == []


@pytest.mark.parametrize("turns", [1, 50, 200])
async def test_a_cancelled_start_leaves_nothing_inside(box: Box, turns: int):
    starting = asyncio.create_task(box.detached("sleep", "600"))
    for _ in range(turns):
        await asyncio.sleep(0.0005)
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        stem, process = await starting
        await end_tree(process)
        stem.remove()
    # Its main process may hear of it now, and clears up after itself.
    while exec_roots(box.running.init_pid) or box.files():
        await asyncio.sleep(0.01)


async def test_a_start_that_its_client_fails_leaves_nothing_inside(box: Box, monkeypatch: pytest.MonkeyPatch):
    run = box.manager.engine.run

    async def fail(*arguments: str, **options: object):
        await run(*arguments, **options)
        raise EngineError("the client failed although the process runs")

    monkeypatch.setattr(box.manager.engine, "run", fail)
    with no_entrance(box.manager, box.record), pytest.raises(EngineError, match="although"):
        await box.detached("sleep", "600")
    while exec_roots(box.running.init_pid):
        await asyncio.sleep(0.01)


@pytest.mark.fault("F3")
@pytest.mark.parametrize("client", ["attach", "podman"])
async def test_a_killed_client_is_no_exit_code_of_the_command(box: Box, client: str):
    async def kill_client() -> None:
        while not exec_roots(box.running.init_pid):
            await asyncio.sleep(0.01)
        if client == "attach":
            # Before it has the pipes, podman would start the command in its place.
            while not any(b"3333" in command_of(pid) for pid in descendants(box.running.init_pid)):
                await asyncio.sleep(0.01)
            (root,) = exec_roots(box.running.init_pid)
            os.kill(root, signal.SIGKILL)
            return
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if command[-2:] == ["sleep", "3333"] and "exec" in command:
                process.kill()

    with contextlib.ExitStack() as stack:
        if client == "podman":
            stack.enter_context(no_entrance(box.manager, box.record))
        killing = asyncio.create_task(kill_client())
        with pytest.raises(EngineError, match="ended by signal 9"):
            await box.run("sleep", "3333")
        await killing
    # One that had just begun ends by itself, once it sees that nobody waits for it.
    while exec_roots(box.running.init_pid):
        await asyncio.sleep(0.01)


async def exhausted(events) -> None:
    async for _ in events:
        pass


async def test_the_deadline_holds_while_nobody_reads(box: Box):
    events = run_attached(
        box.manager.engine, box.running, box.folder, ExecSpec(argv=("yes",)), stdin=b"", timeout_s=0.3
    )
    async with contextlib.aclosing(events):
        await anext(events)
        while exec_roots(box.running.init_pid):
            await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError):
            await exhausted(events)


async def test_a_podman_that_hangs_is_noticed_at_the_start(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hanging = tmp_path / "podman"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(execution, "FIND_TIMEOUT_S", 0.1)
    box.manager.engine = Podman(str(hanging), os.environ)
    with no_entrance(box.manager, box.record), pytest.raises(EngineTimeoutError, match="did not start the command"):
        await box.run("true", timeout_s=None)


LATE = """#!/bin/sh
exec >{0}/said 2>&1
setsid sh -c 'while [ ! -e {0}/go ]; do sleep 0.05; done; podman "$@" <&-; touch {0}/ended' sh "$@" &
exec sleep 600
"""


@pytest.mark.fault("F8")
@pytest.mark.parametrize("way", ["detached", "attached", "inherited"])
async def test_what_podman_starts_after_its_deadline_does_not_run(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
):
    late = tmp_path / "podman"
    late.write_text(LATE.format(tmp_path))
    late.chmod(0o755)
    monkeypatch.setattr(execution, "FIND_TIMEOUT_S", 0.5)
    box.manager.engine = Podman(str(late), os.environ)
    spec = ExecSpec(argv=("touch", "/loopat/run/ran"))
    starts = {
        "detached": lambda: box.detached(*spec.argv),
        "attached": lambda: box.run(*spec.argv),
        "inherited": lambda: run_inherited(box.manager.engine, box.running, box.folder, spec),
    }
    with no_entrance(box.manager, box.record), pytest.raises(EngineTimeoutError):
        await starts[way]()
    (tmp_path / "go").touch()
    async with asyncio.timeout(60):
        while not (tmp_path / "ended").exists() or exec_roots(box.running.init_pid):
            await asyncio.sleep(0.01)
    assert box.files() == [], (tmp_path / "said").read_text()


@pytest.mark.parametrize("attached", [True, False])
async def test_a_command_called_off_before_its_client_is_handed_over_leaves_nothing_inside(box: Box, attached: bool):
    engine = LatePodman("podman", os.environ)
    spec = ExecSpec(argv=("sleep", "600"))

    async def run() -> None:
        if attached:
            async for _ in run_attached(engine, box.running, box.folder, spec, stdin=b"", timeout_s=None):
                pass
        else:
            await run_inherited(engine, box.running, box.folder, spec)

    running = asyncio.ensure_future(run())
    while not exec_roots(box.running.init_pid):
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    # A launcher that had yet to write its id sees that it was called off, and starts nothing.
    async with asyncio.timeout(60):
        while exec_roots(box.running.init_pid):
            await asyncio.sleep(0.01)
    assert box.files() == []
