"""The runner against scripts that behave like a bad podman."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from loopat_jupyter.errors import EngineError, EngineTimeoutError, EngineUnavailableError, StorageFullError
from loopat_jupyter.sandbox.podman import Podman

if TYPE_CHECKING:
    from pathlib import Path


def script(tmp_path: Path, body: str, grace_s: float = 600) -> Podman:
    path = tmp_path / "podman"
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)
    return Podman(str(path), os.environ, grace_s=grace_s)


async def test_an_answer_comes_back_whole(tmp_path: Path):
    podman = script(tmp_path, 'echo "$@"; echo oops >&2')
    answer = await podman.run("ps", "--all", "a b")
    assert answer == (0, b"ps --all a b\n", "oops")
    assert podman.argv("ps") == (str(tmp_path / "podman"), "ps")


async def test_a_failure_carries_command_code_and_words(tmp_path: Path):
    podman = script(tmp_path, "echo first >&2; echo 'Error: no such container' >&2; exit 125")
    with pytest.raises(EngineError, match="failed to stop the sandbox: Error: no such container") as caught:
        await podman.run("stop", "box", doing="stop the sandbox")
    assert (caught.value.argv[1:], caught.value.returncode) == (("stop", "box"), 125)
    assert caught.value.stderr == "first\nError: no such container"
    assert (await podman.run("stop", "box", ok=(0, 125))).returncode == 125


async def test_a_failure_is_told_in_time_where_the_version_is_not(tmp_path: Path):
    podman = script(tmp_path, "[ $1 = version ] && exec sleep 600; echo 'Error: no such container' >&2; exit 125")
    with pytest.raises(EngineError, match="no such container"):
        async with asyncio.timeout(30):
            await podman.run("stop", "box", timeout_s=0.5)


@pytest.mark.fault("F13")
async def test_a_full_storage_is_told(tmp_path: Path):
    podman = script(tmp_path, "echo 'Error: write x: no space left on device' >&2; exit 125")
    with pytest.raises(StorageFullError, match="podman system df"):
        await podman.run("create")


async def test_a_podman_that_hangs_meets_its_deadline_and_leaves_nothing(tmp_path: Path):
    podman = script(tmp_path, f"sleep 600 & echo $! >{tmp_path}/child; wait")
    with pytest.raises(EngineTimeoutError, match=r"within 0\.5 s"):
        await podman.run("ps", timeout_s=0.5)
    child = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


async def test_a_podman_that_ignores_term_is_killed(tmp_path: Path):
    podman = script(tmp_path, f"trap '' TERM; echo $$ >{tmp_path}/pid; while true; do sleep 1; done", 0.1)
    with pytest.raises(EngineTimeoutError):
        await podman.run("ps", timeout_s=0.5)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


async def test_cancelling_ends_the_process(tmp_path: Path):
    os.mkfifo(tmp_path / "started")
    podman = script(tmp_path, f"echo $$ >{tmp_path}/started; exec sleep 600")
    task = asyncio.create_task(podman.run("ps"))
    pid = int(await asyncio.to_thread((tmp_path / "started").read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not psutil.pid_exists(pid)


async def test_a_change_that_is_called_off_ends_by_itself(tmp_path: Path):
    os.mkfifo(tmp_path / "started")
    os.mkfifo(tmp_path / "go")
    podman = script(tmp_path, f"echo >{tmp_path}/started; read <{tmp_path}/go; echo whole >{tmp_path}/done")
    task = asyncio.create_task(podman.run("rm", "box"))
    await asyncio.to_thread((tmp_path / "started").read_text)
    task.cancel()
    await asyncio.to_thread((tmp_path / "go").write_text, "\n")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "done").read_text() == "whole\n"


async def test_a_change_that_is_called_off_before_its_process_is_handed_over_ends_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    begun, create = asyncio.Event(), asyncio.create_subprocess_exec

    async def late(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        process = await create(*arguments, **options)
        begun.set()
        await asyncio.sleep(0)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", late)
    os.mkfifo(tmp_path / "go")
    podman = script(tmp_path, f"read <{tmp_path}/go; echo whole >{tmp_path}/done")
    task = asyncio.create_task(podman.run("rm", "box"))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    go = os.open(tmp_path / "go", os.O_RDWR)
    os.write(go, b"\n")
    with pytest.raises(asyncio.CancelledError):
        await task
    os.close(go)
    assert (tmp_path / "done").read_text() == "whole\n"


@pytest.mark.fault("F8")
async def test_the_event_loop_stays_responsive_while_podman_hangs(tmp_path: Path):
    podman = script(tmp_path, "sleep 600")
    hanging = asyncio.create_task(podman.run("ps", timeout_s=0.5))
    ticks = 0
    while not hanging.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 10
    with pytest.raises(EngineTimeoutError):
        await hanging


@pytest.mark.parametrize("kind", ["missing", "not executable", "no program", "folder"])
async def test_an_unusable_podman_is_told_with_the_way_out(tmp_path: Path, kind: str):
    path = tmp_path / "podman"
    if kind == "not executable":
        path.write_text("#!/bin/sh\n")
    elif kind == "no program":
        path.write_bytes(b"\0\1\2")
        path.chmod(0o755)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(EngineUnavailableError, match="jupyter loopat doctor"):
        await Podman(str(path), os.environ).run("ps")


async def test_only_so_many_run_at_once(tmp_path: Path):
    podman = script(tmp_path, f"mkdir {tmp_path}/$$; ls -d {tmp_path}/[0-9]* | wc -l; sleep 0.1; rmdir {tmp_path}/$$")
    podman._slots = asyncio.Semaphore(2)
    answers = await asyncio.gather(*(podman.run("ps") for _ in range(8)))
    assert max(int(answer.stdout) for answer in answers) <= 2


async def test_an_opened_process_ends_with_its_block(tmp_path: Path):
    podman = script(tmp_path, "cat; exec sleep 600")
    async with podman.open("exec", stdin=True) as process:
        process.stdin.write(b"hello\n")
        assert await process.stdout.readline() == b"hello\n"
    assert process.returncode is not None


async def test_an_opened_process_whose_output_nobody_reads_ends_with_its_block(tmp_path: Path):
    podman = script(tmp_path, "exec yes")
    async with podman.open("exec", stdin=False) as process:
        await process.stdout.readline()
        while not process.stdout._paused:
            await asyncio.sleep(0)
    assert process.returncode is not None


async def test_the_deadline_covers_the_wait_for_a_slot(tmp_path: Path):
    podman = script(tmp_path, "exec sleep 600")
    podman._slots = asyncio.Semaphore(1)
    hanging = asyncio.create_task(podman.run("ps", timeout_s=600))
    while not podman._slots.locked():
        await asyncio.sleep(0)
    with pytest.raises(EngineTimeoutError, match=r"within 0\.2 s"):
        await podman.run("inspect", timeout_s=0.2)
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging
    # What gave up waiting holds no slot.
    assert not podman._slots.locked()


async def test_one_sandbox_takes_no_place_of_another(tmp_path: Path):
    podman = Podman("podman", os.environ, parallel=4)
    async with podman.starting(tmp_path / "one", 1), podman.starting(tmp_path / "one", 1):
        with pytest.raises(EngineTimeoutError, match=r"Other commands of this loop kept it from its start for 0\.1 s"):
            async with podman.starting(tmp_path / "one", 0.1):
                pass
        async with podman.starting(tmp_path / "other", 0):
            pass
    async with podman.starting(tmp_path / "one", 0):
        pass
    # Nothing is kept of sandboxes in which nothing starts.
    assert tmp_path / "other" not in podman._starts


async def test_closing_ends_what_hangs(tmp_path: Path):
    os.mkfifo(tmp_path / "started")
    podman = script(tmp_path, f"echo $$ >{tmp_path}/started; trap '' TERM; while true; do sleep 1; done", 0.1)
    hanging = asyncio.create_task(podman.run("ps", timeout_s=600))
    pid = int(await asyncio.to_thread((tmp_path / "started").read_text))
    await podman.close()
    with pytest.raises((EngineError, EngineUnavailableError)):
        await hanging
    assert not psutil.pid_exists(pid)
    with pytest.raises(EngineUnavailableError):
        await podman.run("ps")


async def test_a_lost_namespace_is_given_up_and_the_command_repeated(tmp_path: Path):
    """What podman answers after every process of its user was killed while its notes about them stayed."""
    script = tmp_path / "podman"
    script.write_text(
        f"""#!/bin/sh
echo "$*" >>{tmp_path}/calls
[ "$*" = "system migrate" ] && exec touch {tmp_path}/migrated
[ -e {tmp_path}/migrated ] && exec echo fine
echo 'Error: invalid internal status, try resetting the pause process with "podman system migrate"' >&2
exit 125
""",
        encoding="utf-8",
    )
    script.chmod(0o755)
    answer = await Podman(str(script), os.environ).run("ps", ok=(0, 125))
    assert (answer.returncode, answer.stdout) == (0, b"fine\n")
    assert (tmp_path / "calls").read_text(encoding="utf-8").splitlines() == ["ps", "system migrate", "ps"]


@pytest.mark.parametrize(
    ("verb", "gone"),
    [
        ("images", 'Error: reading image "f00": locating image with ID "f00": image not known'),
        ("ps", "Error: determining buildah container for container f00: container not known"),
    ],
)
async def test_a_list_is_asked_for_again_when_something_on_it_went_meanwhile(tmp_path: Path, verb: str, gone: str):
    body = f"[ -e {tmp_path}/again ] && exec echo '[]'; touch {tmp_path}/again; echo '{gone}' >&2; exit 125"
    podman = script(tmp_path, body)
    assert (await podman.run(verb, "--format=json")).stdout == b"[]\n"
    # Only a list: what changes something is not run twice.
    (tmp_path / "again").unlink()
    with pytest.raises(EngineError, match="not known"):
        await podman.run("rm", "f00")


def test_proxies_are_for_processes_inside_alone(tmp_path: Path):
    environ = {"http_proxy": "http://user:canary@proxy", "NO_PROXY": "localhost", "PATH": "/bin", "PROXY": "x"}
    assert Podman("podman", environ).proxies() == {"http_proxy": "http://user:canary@proxy", "NO_PROXY": "localhost"}


async def test_an_answer_without_end_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("loopat_jupyter.sandbox.clients.LARGEST_ANSWER_BYTES", 2**20)
    podman = script(tmp_path, f"echo $$ >{tmp_path}/pid; exec yes")
    with pytest.raises(EngineError, match="more than 1 MiB"):
        await podman.run("ps")
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("times", [1, 2])
async def test_what_is_called_off_while_it_is_being_started_ends(tmp_path: Path, times: int):
    podman = script(tmp_path, f"echo $$ >{tmp_path}/pid; exec sleep 600", 0.1)
    for turns in range(8):
        starting = asyncio.create_task(podman.run("ps"))
        for _ in range(turns):
            await asyncio.sleep(0)
        for _ in range(times):
            starting.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(starting, 30)
    if (tmp_path / "pid").exists():
        assert not psutil.pid_exists(int((tmp_path / "pid").read_text() or -1))


async def test_closing_waits_for_what_is_being_started(tmp_path: Path):
    podman = script(tmp_path, "exec sleep 600", 0.1)
    starting = asyncio.create_task(podman.run("ps"))
    while not podman._creating:
        await asyncio.sleep(0)
    await podman.close()
    # The event loop may end now: nothing is left that would wait for a process that nobody watches any more.
    assert podman._creating == set()
    with pytest.raises((EngineError, EngineUnavailableError)):
        await starting


async def test_once_closed_nothing_is_started(tmp_path: Path):
    podman = script(tmp_path, f"echo >{tmp_path}/started")
    await podman.close()
    with pytest.raises(EngineUnavailableError, match="this program is ending"):
        await podman.run("ps")
    assert not (tmp_path / "started").exists()
