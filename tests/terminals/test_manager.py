"""Terminals of a real Jupyter server, in loops on real podman and on the host."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pytest
from tornado.httpclient import HTTPClientError

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.sandbox.entrance import ENTRANCE
from loopat_jupyter.sandbox.process import exec_roots
from tests.conftest import no_entrance
from tests.terminals.conftest import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.terminals import LoopTerminalManager
    from tests.terminals.conftest import Person

pytestmark = [pytest.mark.podman, pytest.mark.lonely]


@pytest.fixture
def workdir(manager: LoopManager, running: LoopRecord) -> Path:
    return manager.workspace.workdir(running.id)


@pytest.fixture
def bashrc(manager: LoopManager, running: LoopRecord) -> Iterator[Path]:
    """The settings of the loop's shell, for one test."""
    settings = manager.workspace.loop_home(running.id) / ".bashrc"
    yield settings
    settings.unlink()


@pytest.fixture
def resting(manager: LoopManager, record: LoopRecord) -> Path:
    """The working directory of a loop that was never started."""
    return manager.workspace.workdir(record.id)


@pytest.fixture
def terminals(jp_serverapp: Any) -> LoopTerminalManager:
    return jp_serverapp.web_app.settings["terminal_manager"]


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)


def files_of_terminals(manager: LoopManager, record: LoopRecord) -> list[str]:
    folders = manager.workspace.run(record.id), manager.workspace.host(record.id)
    return [path.name for folder in folders for path in folder.glob("t*")]


async def nothing_stays(manager: LoopManager, record: LoopRecord) -> None:
    """No process and no file is there; what podman remembers of a command is its own."""
    assert commands(manager, record) == []
    assert files_of_terminals(manager, record) == []
    assert zombies() == []


def zombies() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


# Where a terminal opens


async def test_a_terminal_whose_folder_is_in_a_loop_opens_there_as_it_was_asked_for(
    person: Person, manager: LoopManager, running: LoopRecord, workdir: Path, bashrc: Path
):
    (workdir / "a b").mkdir()
    bashrc.write_text("export SEEN=bashrc\n")
    asked = {"extra_env": {"TOKEN": "canary\n'x'"}, "height": 40, "width": 132}
    async with person.watch(await person.open(workdir / "a b", **asked)) as terminal:
        assert await terminal.run("hostname; pwd; id -un") == (
            f"loop-{running.id[:8]}\r\n/loopat/loop/{running.id}/workdir/a b\r\nloopat\r\n"
        )
        assert await terminal.run("echo $TERM $COLORTERM $LANG $CANARY") == "xterm-256color truecolor C.UTF-8\r\n"
        # The shell reads the settings of the loop.
        assert await terminal.run("echo $SEEN; shopt -q login_shell || echo no login") == "bashrc\r\nno login\r\n"
        # Variables are in no argument, and in no file any more.
        assert await terminal.run('printf "%s" "$TOKEN"') == "canary\r\n'x'"
        shown: list[str] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                shown += process.cmdline()
        assert not [word for word in shown if "canary\n" in word]
        assert [name for name in files_of_terminals(manager, running) if name.endswith(".env")] == []
        # The size is right from the first prompt on, and follows the client.
        assert await terminal.run("stty size; echo $LINES $COLUMNS") == "40 132\r\n40 132\r\n"
        terminal.resize(30, 99)
        await terminal.run("until [ \"$(stty size)\" = '30 99' ]; do :; done")
        assert await terminal.run("echo $LINES $COLUMNS") == "30 99\r\n"


async def test_a_terminal_elsewhere_opens_on_the_host(person: Person, running: LoopRecord, tmp_path: Path):
    async with person.watch(await person.open(tmp_path)) as terminal:
        here = f"{socket.gethostname()}\r\n{tmp_path}\r\n"
        assert await terminal.run("hostname; pwd; echo $CANARY") == f"{here}of-the-server\r\n"


async def test_a_terminal_without_a_folder_follows_the_folder_of_the_server(
    person: Person, running: LoopRecord, workdir: Path, jp_serverapp: Any
):
    jp_serverapp.root_dir = str(workdir)
    async with person.watch(await person.open()) as terminal:
        assert await terminal.run("pwd") == f"/loopat/loop/{running.id}/workdir\r\n"


async def test_a_command_from_a_client_runs_inside(person: Person, running: LoopRecord, workdir: Path):
    async with person.watch(await person.open(workdir, shell_command=["bash", "-c", "hostname; read"])) as terminal:
        await terminal.until(f"loop-{running.id[:8]}\r\n")


async def test_what_makes_no_sense_is_refused(person: Person, running: LoopRecord, workdir: Path):
    senseless: tuple[tuple[str, Any], ...] = (
        ("shell_command", "bash"),
        ("extra_env", {"A": 1}),
        ("height", "x"),
        ("height", -1),
        ("width", 0),
        ("width", 70_000),
    )
    for field, value in senseless:
        with pytest.raises(HTTPClientError) as error:
            await person.open(workdir, **{field: value})
        assert error.value.code == 400, (field, value)
        assert field in json.loads(error.value.response.body)["message"], (field, value)
        assert await person.names() == [], (field, value)


async def test_a_place_cannot_be_forged_by_a_client(person: Person, running: LoopRecord, tmp_path: Path):
    async with person.watch(await person.open(tmp_path, place=[{"id": running.id}, "/"])) as terminal:
        assert await terminal.run("hostname") == f"{socket.gethostname()}\r\n"


async def test_a_deleted_loop_is_named(person: Person, manager: LoopManager, record: LoopRecord, resting: Path):
    manager.workspace.record(record.id).unlink()
    with pytest.raises(HTTPClientError) as error:
        await person.open(resting)
    assert error.value.code == 404
    assert record.id in json.loads(error.value.response.body)["message"]


async def test_a_terminal_by_loop_starts_the_sandbox_first(
    person: Person, manager: LoopManager, record: LoopRecord, resting: Path, terminals: LoopTerminalManager
):
    (resting / "sub").mkdir()
    model = await terminals.create_in_loop(record, cwd="sub")
    assert manager.sandboxes.state_files(record.id).running() is not None
    async with person.watch(model["name"]) as terminal:
        assert await terminal.run("pwd") == f"/loopat/loop/{record.id}/workdir/sub\r\n"


async def test_a_toolchain_that_is_missing_is_told_on_each_terminal(person: Person, manager: LoopManager):
    records = [manager.create(title=title) for title in ("Started by its terminal", "Runs already")]
    for record in records:
        # No build can make this one, and it costs no time; both have the same.
        manager.workspace.toolchain(record.id).write_text(f"[tools # {records[0].id}\n")
        resting = manager.workspace.workdir(record.id)
        runs = record is records[1]
        if runs:
            await manager.start(record)
        for _ in range(1 if runs else 2):
            async with person.watch(await person.open(resting)) as terminal:
                await terminal.until("\x1b[33mThe toolchain could not be built")
                assert await terminal.run("echo here") == "here\r\n"
        assert manager.toolchains.problem(record)
    # Once it is mended, nobody is told any more.
    manager.workspace.toolchain(record.id).unlink()
    async with person.watch(await person.open(resting)) as terminal:
        terminal.type("echo do''ne\r")
        assert "toolchain" not in await terminal.until("done\r\n")


async def test_a_folder_that_is_not_in_the_loop_is_refused(record: LoopRecord, terminals: LoopTerminalManager):
    for cwd in ("nowhere", "..", "../../..", "x\0y"):
        with pytest.raises(BadInputError):
            await terminals.create_in_loop(record, cwd=cwd)
        assert terminals.list() == [], cwd


# How it behaves


async def test_it_is_a_controlling_terminal_with_job_control_whose_keys_arrive_at_once(
    person: Person, running: LoopRecord, workdir: Path
):
    async with person.watch(await person.open(workdir)) as terminal:
        assert "no job control" not in await terminal.run("tty </dev/tty | cut -c1-9; set -o | grep ^monitor")
        # It says itself when it has the terminal: a key typed before that is the shell's. It is bash, as
        # dash starts programs with vfork(2): stopped just then, it waits for a child that is stopped as well.
        terminal.type("bash -c 'trap \"echo again\" CONT; echo begun; while :; do sleep 0.1; done'\r")
        await terminal.until("begun\r\n")
        terminal.type("\x1a")
        await terminal.until("Stopped")
        terminal.type("fg\r")
        await terminal.until("again\r\n")
        terminal.type("\x03echo code $?\r")
        await terminal.until("code 130\r\n")
        # Podman would keep Ctrl-P for itself until the next key.
        terminal.type("stty raw -echo; printf rea''dy; head -c1 | od -An -tx1; stty sane\r")
        await terminal.until("ready")
        terminal.type("\x10")
        await terminal.until("10")


async def test_two_clients_see_one_terminal_and_a_late_one_what_was_said(
    person: Person, running: LoopRecord, workdir: Path
):
    name = await person.open(workdir)
    async with person.watch(name) as first, person.watch(name) as second:
        # A size that comes before the first prompt holds.
        first.resize(31, 101)
        await first.run("until [ \"$(stty size)\" = '31 101' ]; do :; done")
        first.type("echo one''two\r")
        await first.until("onetwo")
        await second.until("onetwo")
        second.type("echo three''four\r")
        await first.until("threefour")
        async with person.watch(name) as late:
            await late.until("onetwo")
            await late.until("threefour")


async def test_more_terminals_at_once_than_podman_starts(
    person: Person, manager: LoopManager, running: LoopRecord, workdir: Path
):
    async def use() -> str:
        async with person.watch(await person.open(workdir)) as terminal:
            return await terminal.run("tty; hostname")

    said = await asyncio.gather(*(use() for _ in range(5)))
    assert len(set(said)) == 5
    await asyncio.gather(*map(person.close, await person.names()))
    assert await person.names() == []
    await nothing_stays(manager, running)


async def test_without_a_process_no_file_stays(
    person: Person, manager: LoopManager, running: LoopRecord, workdir: Path
):
    # A thread counts as a process: those that the server may need are there before.
    threads = 8
    ready = threading.Barrier(threads)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads))
    await asyncio.gather(*(asyncio.to_thread(ready.wait) for _ in range(threads)))
    with no_entrance(manager, running), no_more_processes():
        async with person.watch(await person.open(workdir, extra_env={"TOKEN": "canary"})) as terminal:
            await terminal.until("Press Enter")
    [name] = await person.names()
    await person.close(name)
    assert files_of_terminals(manager, running) == []


@contextlib.contextmanager
def no_more_processes() -> Iterator[None]:
    """The kernel lets this process start no other."""
    limits = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, limits)


# How it ends


async def test_closing_ends_what_was_started_inside(
    person: Person, manager: LoopManager, running: LoopRecord, workdir: Path
):
    name = await person.open(workdir)
    async with person.watch(name) as terminal:
        await terminal.run("{ sleep 1001 & (trap '' TERM INT; sleep 1002) & }")
        await terminal.run("{ bash -c 'trap : HUP TERM INT; sleep 1005; sleep 1006' & }")
        await terminal.run("nohup sleep 1003 >/dev/null 2>&1 & setsid -f sleep 1004")
        terminal.type("cat\r")
        await eventually(lambda: "cat" in commands(manager, running))
        await person.close(name)
        await terminal.until_end()
    assert await person.names() == []
    assert commands(manager, running) == ["sleep 1003", "sleep 1004"]
    assert files_of_terminals(manager, running) == []
    assert zombies() == []


async def test_a_terminal_closed_at_once_starts_nothing(
    person: Person, manager: LoopManager, running: LoopRecord, workdir: Path
):
    names = [await person.open(workdir, shell_command=["sleep", "1001"]) for _ in range(5)]
    await asyncio.gather(*map(person.close, names))
    await eventually(lambda: commands(manager, running) == [])
    await eventually(lambda: exec_roots_of(manager, running) == [])
    assert await person.names() == []


def exec_roots_of(manager: LoopManager, record: LoopRecord) -> list[int]:
    stamp = manager.sandboxes.state_files(record.id).running()
    assert stamp is not None
    return exec_roots(stamp.pid)


async def test_exit_ends_the_terminal(person: Person, manager: LoopManager, running: LoopRecord, workdir: Path):
    async with person.watch(await person.open(workdir)) as terminal:
        await terminal.run("{ sleep 1001 & }")
        terminal.type("exit\r")
        await terminal.until_end()
    await eventually(lambda: commands(manager, running) == [])
    async with asyncio.timeout(60):
        while await person.names():
            await asyncio.sleep(0.02)
    await nothing_stays(manager, running)


async def test_a_killed_holder_leaves_no_orphan(
    person: Person, manager: LoopManager, running: LoopRecord, workdir: Path, terminals: LoopTerminalManager
):
    name = await person.open(workdir)
    async with person.watch(name) as terminal:
        await terminal.run("{ sleep 1001 & }")
        [holder] = exec_roots_of(manager, running)
        os.kill(holder, signal.SIGKILL)
        await terminal.until_end()
    await eventually(lambda: commands(manager, running) == [])
    await eventually(lambda: name not in terminals.terminals)
    assert files_of_terminals(manager, running) == []
    assert zombies() == []


async def test_stopping_the_loop_ends_its_terminals(
    person: Person, manager: LoopManager, running: LoopRecord, workdir: Path, terminals: LoopTerminalManager
):
    async with person.watch(await person.open(workdir)) as terminal:
        await terminal.run("true")
        await manager.stop(running)
        await terminal.until_end()
    await eventually(lambda: not terminals.terminals)
    assert zombies() == []


async def test_the_end_of_the_server_ends_all_if_it_is_to(
    person: Person, manager: LoopManager, running: LoopRecord, workdir: Path, terminals: LoopTerminalManager
):
    for folder in (workdir, workdir, manager.workspace.home):
        async with person.watch(await person.open(folder)) as terminal:
            await terminal.run("{ sleep 1001 & }")
    kept = terminals.loops.config
    terminals.loops.config = msgspec.structs.replace(kept, on_shutdown="stop")
    await terminals.terminate_all()
    # The sandbox itself is for the next test.
    terminals.loops.config = kept
    await eventually(lambda: not terminals.terminals)
    await nothing_stays(manager, running)


async def test_the_event_loop_goes_on_while_a_stubborn_terminal_ends(
    person: Person, manager: LoopManager, running: LoopRecord, workdir: Path
):
    stubborn, other = await person.open(workdir), await person.open(workdir)
    async with person.watch(stubborn) as terminal, person.watch(other) as lively:
        await terminal.run("trap '' HUP")
        await lively.run("true")
        closing = asyncio.ensure_future(person.close(stubborn))
        answered = 0
        while not closing.done():
            await lively.run("true")
            answered += 1
            # A few answers show it; as many as there is time for are a lot of work.
            await asyncio.wait({closing}, timeout=0.05)
        assert answered > 1
    assert await person.names() == [other]


# When the sandbox does not run yet


async def test_a_terminal_of_a_loop_that_does_not_run_starts_it_as_soon_as_there_is_podman(
    person: Person, manager: LoopManager, record: LoopRecord, resting: Path, podman: Path
):
    manager.vaults.create("terminals")
    manager.vaults.set("terminals", "CANARY", b"of the\nvault")
    manager.vaults.set("terminals", "COLORTERM", b"of the vault")
    await manager.update(record.id, {"vault": "terminals"})
    asked = {"extra_env": {"TOKEN": "canary"}, "height": 40, "width": 132}
    for starts in (True, False):
        name = await person.open(resting, **asked)
        async with person.watch(name) as terminal:
            if starts:
                # It says what to do, and tries again.
                assert str(podman) in await terminal.until("jupyter loopat doctor")
                await terminal.until("Enter")
                put_podman(podman)
                terminal.type("\r")
                await terminal.until("starting the sandbox")
            said = await terminal.run("hostname; stty size; echo $TOKEN")
            assert said == f"loop-{record.id[:8]}\r\n40 132\r\ncanary\r\n"
            # The variables of the vault arrive whether the loop ran before or not; those of the terminal win.
            assert await terminal.run('printf "%q %s" "$CANARY" $COLORTERM') == "$'of the\\nvault' truecolor"
        await person.close(name)
    assert not [path for path in manager.workspace.runtime.rglob("*") if path.suffix in (".env", ".size")]
    await nothing_stays(manager, record)


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where there is no podman yet."""
    path = tmp_path / "podman"
    monkeypatch.setenv("LOOPAT_PODMAN_BIN", str(path))
    return path


def put_podman(path: Path) -> None:
    path.write_text('#!/bin/sh\nexec podman "$@"\n')
    path.chmod(0o755)


async def test_changed_settings_are_told_and_nothing_is_replaced(
    person: Person, manager: LoopManager, running: LoopRecord, workdir: Path
):
    async with person.watch(await person.open(workdir)) as first:
        await first.run("true")
        await manager.update(running.id, {"config": running.config.__class__(network="bridge")})
        try:
            async with person.watch(await person.open(workdir)) as second:
                await second.until("settings of this loop have changed")
                assert await second.run("hostname") == f"loop-{running.id[:8]}\r\n"
        finally:
            await manager.update(running.id, {"config": running.config})
        assert await first.run("hostname") == f"loop-{running.id[:8]}\r\n"


async def test_closing_works_while_the_sandbox_starts(
    person: Person, manager: LoopManager, record: LoopRecord, resting: Path
):
    name = await person.open(resting)
    async with person.watch(name) as terminal:
        await terminal.until("starting the sandbox")
        await person.close(name)
        await terminal.until_end()
    assert await person.names() == []
    assert files_of_terminals(manager, record) == []
    assert zombies() == []
    await manager.start(record)
    assert commands(manager, record) == []


async def test_a_loop_that_is_stopped_while_its_terminal_opens_is_told(
    person: Person, manager: LoopManager, running: LoopRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    podman, end, workdir = tmp_path / "podman", tmp_path / "end", manager.workspace.workdir(running.id)
    entrance = manager.workspace.run(running.id) / ENTRANCE
    entrance.unlink()
    podman.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = exec ] && [ -e {end} ]; then podman stop -t 0 "$3" >{tmp_path}/stopped || exit; . {end}; fi\n'
        # Only podman starts anything.
        f'[ "$1" = exec ] || rm -f {entrance}\n'
        'exec podman "$@"\n'
    )
    podman.chmod(0o755)
    monkeypatch.setenv("LOOPAT_PODMAN_BIN", str(podman))
    # Podman refuses; then, it has started what ends with the sandbox.
    end.write_text("")
    async with person.watch(await person.open(workdir)) as terminal:
        for then in ("exit 0", None):
            await terminal.until("The loop was stopped while this terminal opened")
            await terminal.until("Press Enter")
            end.unlink() if then is None else end.write_text(then)
            terminal.type("\r")
        assert await terminal.run("hostname") == f"loop-{running.id[:8]}\r\n"
        assert "in order?" not in terminal.seen
        assert "can only create" not in terminal.seen


async def test_a_terminal_that_could_not_open_ends_once_its_loop_is_deleted(
    person: Person, record: LoopRecord, podman: Path, jp_serverapp: Any
):
    await jp_serverapp.extension_manager.start_all_extensions()
    loops: LoopManager = jp_serverapp.web_app.settings["loopat_service"].manager
    async with person.watch(await person.open(loops.workspace.workdir(record.id))) as terminal:
        await terminal.until("Press Enter")
        put_podman(podman)
        await loops.delete(record.id)
        assert "The loop was deleted" in await terminal.until_end()
    assert await person.names() == []
