"""The command as a person runs it: a process of its own, on real podman."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import psutil
import pytest

from loopat_jupyter.cli.app import run
from loopat_jupyter.cli.session import Session
from loopat_jupyter.cli.text import named
from loopat_jupyter.errors import EngineError
from loopat_jupyter.sandbox import facts
from loopat_jupyter.sandbox.making import Maker
from tests.conftest import add_loop, end_all
from tests.kernels.conftest import in_thread
from tests.sandbox.saying import occupy

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.workspace.paths import Workspace
    from tests.cli.conftest import RealCommandLine

    Inside: TypeAlias = Callable[[], list[psutil.Process]]

pytestmark = [pytest.mark.podman, pytest.mark.lonely]


def test_a_loop_from_its_making_to_its_end(real: RealCommandLine, workspace: Workspace) -> None:
    loop_id = str(real.json("create", "Sales in May")["id"])
    started = real.typed("start", loop_id)
    assert started.stdout == f"Sales in May ({loop_id[:8]}) runs.\n".encode()
    assert started.stderr.decode().splitlines()[-1] == "starting the sandbox"

    ran = real.typed("exec", loop_id, "--", "sh", "-c", "echo out; echo err >&2; pwd; whoami; exit 7", code=7)
    assert ran.stdout.decode().splitlines() == ["out", f"/loopat/loop/{loop_id}/workdir", "loopat"]
    assert ran.stderr == b"err\n"

    [listed] = real.look("list")["loops"]
    assert (listed["id"], listed["state"], listed["title"]) == (loop_id, "running", "Sales in May")
    shown = real.look("show", "Sales in May")
    assert shown["kernels"] == [f"loop-sales-in-may-{loop_id[:8]}-python3"]
    [kernel] = real.look("kernelspecs", loop_id)["kernelspecs"]
    assert (kernel["kernel"], kernel["inside"], kernel["language"]) == (*shown["kernels"], "python3", "python")

    real("exec", loop_id, "--", "sh", "-c", "echo kept > file; sudo touch /opt/not-kept")
    changed = real("set", loop_id, "--shm-size", "128MiB").stdout.decode()
    assert changed.endswith(f"and ends what runs in it: jupyter loopat recreate {loop_id[:8]}\n")
    # To look at it changes nothing.
    assert [real.look("show", loop_id)["restart_needed"] for _ in range(2)] == [True, True]
    assert b"is recreated, and runs." in real("recreate", loop_id).stdout
    ran = real("exec", loop_id, "sh", "-c", "cat file; df -B1 --output=size /dev/shm; test ! -e /opt/not-kept")
    assert ran.stdout.split() == [b"kept", b"1B-blocks", b"134217728"]
    assert "recreate" not in real.here("set", loop_id, "--title", "Sales in June").out

    real("stop", loop_id)
    assert real.look("show", loop_id)["state"] == "stopped"
    real.here("stop", "--all")
    assert b"Deleted loop Sales in June" in real.typed("rm", loop_id, "--yes").stdout
    assert not workspace.loop(loop_id).exists()


def test_idle_loops_are_stopped_without_a_server(
    real: RealCommandLine, workspace: Workspace, manager: LoopManager
) -> None:
    idle, busy, wiped = (manager.create(title=title) for title in ("Idle", "Busy", "Wiped"))
    real("start", idle.id, busy.id, wiped.id)
    in_thread(occupy(manager, busy))
    # As after the runtime directory was wiped: nothing says any more when it was used.
    manager.sandboxes.state_files(wiped.id).forget()
    assert real("stop", "--idle").stdout == b"No loop has been idle for that long.\n"
    assert manager.sandboxes.state_files(wiped.id).running() is not None
    stopped = real("stop", "--idle", "0.001").stdout.decode()
    assert sorted(stopped.splitlines()) == [f"{title} is stopped." for title in (named(idle), named(wiped))]
    assert {loop["title"]: loop["state"] for loop in real.look("list")["loops"]} == {
        "Idle": "stopped",
        "Busy": "running",
        "Wiped": "stopped",
    }
    end_all(manager, busy)
    # When its use ended nobody saw: from now on it counts as idle.
    assert real("stop", "--idle", "60").stdout == b"No loop has been idle for that long.\n"
    assert real("stop", "--idle", "0.001").stdout.decode() == f"{named(busy)} is stopped.\n"


def test_an_idle_loop_that_cannot_be_stopped_is_told(
    real: RealCommandLine, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = add_loop(workspace, "Stays")
    real("start", record.id)

    async def refused(*_: object) -> None:
        raise EngineError("Podman refused.")

    monkeypatch.setattr(Maker, "stop", refused)
    answer = real.here("stop", "--idle", "0.001", code=1)
    assert answer.out == ""
    assert f"The idle sandbox of loop {record.id} was not stopped: Podman refused." in answer.err
    assert answer.err.endswith(f"Still running: {record.id[:8]}. Run `jupyter loopat doctor`.\n")


def test_anything_of_any_size_goes_through_unchanged(shared: RealCommandLine, loop_id: str) -> None:
    data = os.urandom(10_000_000)
    assert shared.typed("exec", loop_id, "--", "cat", stdin=data).stdout == data
    assert shared("exec", loop_id, "--", "true", stdin=data).returncode == 0


@pytest.mark.parametrize(("streams", "said"), [("<&-", b"all\n"), ("<&- >&- 2>&-", b"")])
def test_closed_streams_are_empty_ones_to_the_command(
    shared: RealCommandLine, loop_id: str, streams: str, said: bytes
) -> None:
    # Were they inherited as closed, podman would take sockets of its own for them.
    program = (shared.program, "exec", loop_id, "sh", "-c", "cat; echo all; echo more >&2")
    ran = subprocess.run(
        ("bash", "-c", f'"$@" {streams}', "", *program),
        capture_output=True,
        env=shared.environ,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, said, b"more\n" if said else b"")


def test_variables_reach_the_command_and_no_argv(shared: RealCommandLine, loop_id: str, tmp_path: Path) -> None:
    file = tmp_path / "variables"
    file.write_text("FROM_FILE=f i l e\n")
    shared.environ["TOKEN"] = "s3cret\nvalue"
    options = ("--env", "TOKEN", "--env", "PLAIN=a'b\"c", "--env-file", str(file), "--cwd", "/tmp")
    script = 'printf "%s|%s|%s|%s\\n" "$TOKEN" "$PLAIN" "$FROM_FILE" "$PWD"; exec tail -f /dev/null'
    client = shared.start("exec", loop_id, *options, "--", "sh", "-c", script)
    assert client.stdout is not None
    assert client.stdout.readline() + client.stdout.readline() == b"s3cret\nvalue|a'b\"c|f i l e|/tmp\n"
    argvs = [argv for path in Path("/proc").glob("[0-9]*/cmdline") if (argv := read_argv(path))]
    client.terminate()
    client.communicate(timeout=60)
    assert any(loop_id.encode() in argv for argv in argvs)
    assert [argv for argv in argvs if b"s3cret" in argv] == []


def read_argv(path: Path) -> bytes:
    """The arguments of a process; none when it has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_deadline_ends_the_command_and_what_it_started(
    shared: RealCommandLine, loop_id: str, staying: Inside
) -> None:
    ran = shared("exec", loop_id, "--timeout", "0.3", "--", "sh", "-c", "tail -f /dev/null; echo more", code=124)
    assert ran.stdout == b""
    assert ran.stderr == b"sh did not end within 0.3 s and was ended.\n"
    assert staying() == []


@pytest.mark.parametrize("opened", [os.pipe, pty.openpty], ids=["a pipe", "a terminal"])
def test_a_deadline_holds_while_nobody_reads(
    shared: RealCommandLine, loop_id: str, staying: Inside, opened: Callable[[], tuple[int, int]]
) -> None:
    reader, writer = opened()
    argv = [shared.program, "exec", loop_id, "--timeout", "1", "--", "sh", "-c", "yes >&2 & exec yes"]
    client = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, env=shared.environ)
    os.close(writer)
    seen = os.read(reader, 1)
    # From here on, what both outputs lead to is full.
    assert staying() == []
    with contextlib.suppress(OSError):
        while data := os.read(reader, 100_000):
            seen = (seen + data)[-100:]
    os.close(reader)
    assert client.wait(timeout=60) == 124
    assert b"\nsh did not end within 1 s and was ended." in seen.replace(b"\x1b[31m", b"")


def test_what_is_piped_may_be_left_for_the_next_command(shared: RealCommandLine, loop_id: str) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"one\ntwo\n")
    argv = [shared.program, "exec", "--no-stdin", loop_id, "cat"]
    ran = subprocess.run(argv, stdin=reader, capture_output=True, env=shared.environ, check=True, timeout=60)
    assert ran.stdout == b""
    assert os.read(reader, 100) == b"one\ntwo\n"
    for end in (reader, writer):
        os.close(end)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_heeded_while_nobody_reads(
    shared: RealCommandLine, loop_id: str, staying: Inside, signum: int
) -> None:
    reader, writer = os.pipe()
    argv = [shared.program, "exec", loop_id, "--", "sh", "-c", "yes >&2 & exec yes"]
    client = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, env=shared.environ)
    until_full(writer)
    client.send_signal(signum)
    assert client.wait(timeout=60) == 128 + signum
    assert staying() == []
    for end in (reader, writer):
        os.close(end)


def until_full(writer: int) -> None:
    poll = select.poll()
    poll.register(writer, select.POLLOUT)
    while poll.poll(0):
        time.sleep(0.01)


def test_an_output_that_cannot_be_written_is_told(shared: RealCommandLine, loop_id: str, tmp_path: Path) -> None:
    file = tmp_path / "read-only"
    file.touch()
    with file.open() as output:
        ran = subprocess.run(
            [shared.program, "exec", loop_id, "--", "echo", "hi"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            env=shared.environ,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 125
    assert ran.stderr == b"The result could not be written: Bad file descriptor.\n"


def test_the_code_of_a_missing_command_is_its_own(shared: RealCommandLine, loop_id: str) -> None:
    ran = shared("exec", loop_id, "--", "no-such-command", code=127)
    assert b"no-such-command" in ran.stderr


@pytest.mark.fault("F3")
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_what_runs_inside(
    shared: RealCommandLine, loop_id: str, staying: Inside, signum: int, code: int
) -> None:
    client = shared.start("exec", loop_id, "--", "sh", "-c", "echo ready; tail -f /dev/null; echo not reached")
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    client.send_signal(signum)
    out, err = client.communicate(timeout=60)
    assert (client.returncode, out, err.decode()) == (code, b"", "Cancelling …\n")
    assert staying() == []


def test_a_reader_that_leaves_ends_the_command_quietly(shared: RealCommandLine, loop_id: str, staying: Inside) -> None:
    client = shared.start("exec", loop_id, "--", "yes")
    assert client.stdout is not None
    assert client.stdout.readline() == b"y\n"
    client.stdout.close()
    assert client.stderr is not None
    assert (client.wait(timeout=60), client.stderr.read()) == (141, b"")
    client.stderr.close()
    assert staying() == []


def test_a_loop_in_use_is_deleted_only_by_force(
    shared: RealCommandLine, workspace_of_module: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_id = add_loop(workspace_of_module, "In use").id
    client = shared.start("exec", loop_id, "--", "sh", "-c", "echo ready; exec tail -f /dev/null")
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    refused = shared.here("rm", loop_id, "--yes", code=1)
    message = "1 command of loop 'In use' would end. End that first, or force it (`--force`).\n"
    assert refused.err == message
    # Nobody is asked about what is refused then.
    assert shared.here("rm", loop_id, code=1).err == message
    assert "Add --yes" in shared.here("recreate", loop_id, code=2).err
    questions: list[str] = []

    def refuse(_session: Session, question: str, **_options: object) -> None:
        questions.append(question)
        raise click.Abort

    with monkeypatch.context() as patch:
        patch.setattr(Session, "confirm", refuse)
        assert run(["recreate", loop_id], Session(shared.environ)) == 130
    assert questions == [
        f"In use ({loop_id[:8]}) gets a new sandbox. This ends tail; kernels of notebooks start again. Go on?"
    ]
    # Another image is told of before it is there; where it cannot be had, nothing ends, nor is it said to.
    assert "ends what runs in it" in shared.here("set", loop_id, "--image", "localhost/nobody-has-this").out
    assert {one["id"]: one["restart_needed"] for one in shared.look("list")["loops"]}[loop_id] is True
    failed = shared.here("recreate", loop_id, "--yes", code=1)
    assert ("cannot be pulled" in failed.err, "This ends" in failed.err) == (True, False)
    assert client.poll() is None
    shared.here("rm", loop_id, "--yes", "--force")
    client.communicate(timeout=60)
    assert not workspace_of_module.loop(loop_id).exists()


@pytest.mark.fault("F7")
def test_a_missing_podman_is_told_with_what_to_do(
    shared: RealCommandLine, loop_id: str, workspace_of_module: Workspace
) -> None:
    shared.environ["LOOPAT_PODMAN_BIN"] = "/nonexistent"
    for arguments in (["list"], ["show", loop_id], ["start", loop_id], ["gc"]):
        told = shared.here(*arguments, code=3).err
        assert told == "There is no command '/nonexistent'. Run `jupyter loopat doctor` to see what is missing.\n"
    # What runs already needs none; what has to start does.
    shared.here("exec", loop_id, "--", "true")
    stopped = add_loop(workspace_of_module, "Stopped").id
    assert "/nonexistent" in shared.here("exec", stopped, "--", "true", code=125).err
    assert "✗ fails podman: fix it with" in shared.here("doctor", code=1).out


@pytest.mark.fault("F8")
def test_a_podman_that_hangs_is_given_up_on(
    shared: RealCommandLine, loop_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    podman = tmp_path / "podman"
    podman.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    podman.chmod(0o755)
    shared.environ["LOOPAT_PODMAN_BIN"] = str(podman)
    monkeypatch.setattr(facts, "INSPECT_TIMEOUT_S", 0.5)
    answer = shared("show", loop_id, code=124)
    assert answer.stderr.startswith(b"Podman did not inspect the sandbox within 0.5 s.")
    commands = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert [command for command in commands if str(podman) in command] == []


def test_a_healthy_machine_passes_its_check(shared: RealCommandLine) -> None:
    assert b"This machine can run loops." in shared.typed("doctor").stdout
