from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import psutil
import pytest

from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.entrance import ENTRANCE, begin, begun, make_entrance
from loopat_jupyter.sandbox.execution import FIND_TIMEOUT_S, start_detached
from loopat_jupyter.sandbox.lifecycle import Running
from loopat_jupyter.sandbox.plan import HOLDER_PYTHON, SPARE_FOLDER
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sandbox.process import Stem, exec_roots
from tests.conftest import exec_ids, start_emptied
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.process import HostProcess
    from loopat_jupyter.workspace.paths import Workspace

SPEC = ExecSpec(argv=("cat", "a b"), cwd="/folder", detach=True)
STEM = "k0123456789ab"


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


async def begin_in(run_folder: Path, spec: ExecSpec = SPEC) -> tuple[str, list[str]]:
    """What `begin` answers, and what podman was asked, where this process's own files are those of the sandbox."""
    engine = FakeEngine(lambda _: Completed(0, b"5e55104\n", ""))
    stem, running = Stem(run_folder, STEM), Running("box", os.getpid(), "image", restart_needed=False)
    answer = await begin(engine, running, stem, spec, timeout_s=1, doing="start it", patience_s=0.05)
    return answer, engine.verbs


@pytest.fixture
def listener(run_folder: Path) -> Iterator[Callable[[], bytes]]:
    """Has the entrance open as the main process does; answers what came in."""
    make_entrance(run_folder)
    entrance = os.open(run_folder / ENTRANCE, os.O_RDWR | os.O_NONBLOCK)
    yield lambda: os.read(entrance, 1000)
    os.close(entrance)


async def test_what_is_taken_at_the_entrance_needs_no_podman(run_folder: Path, listener: Callable[[], bytes]):
    (run_folder / f"{STEM}.taken").touch()
    assert await begin_in(run_folder) == ("", [])
    assert listener() == f"{STEM}\n".encode()
    begin_in_folder, python, launcher, *rest = (run_folder / f"{STEM}.start").read_bytes().split(b"\0")
    assert (begin_in_folder, rest) == (b"", [STEM.encode(), b"/folder", b"cat", b"a b", b""])
    assert (python.startswith(b"/loopat/lib/unmask-"), launcher.startswith(b"/loopat/lib/launch-")) == (True, True)
    begun(Stem(run_folder, STEM))
    assert [path.name for path in run_folder.iterdir()] == [ENTRANCE]


async def test_a_spare_begins_where_it_waits_and_a_holder_by_itself(run_folder: Path, listener: Callable[[], bytes]):
    (run_folder / f"{STEM}.taken").touch()
    await begin_in(run_folder, ExecSpec(argv=("python3",), cwd=SPARE_FOLDER, detach=True))
    assert (run_folder / f"{STEM}.start").read_bytes().startswith(f"{SPARE_FOLDER}\0".encode())
    (run_folder / f"{STEM}.start").unlink()
    await begin_in(run_folder, ExecSpec(argv=("bash",), detach=True, tty=True, size=(24, 80)))
    assert (run_folder / f"{STEM}.start").read_bytes().startswith(f"\0{HOLDER_PYTHON}\0-IS\0".encode())


async def test_what_nobody_takes_is_podmans_and_nobody_elses(run_folder: Path, listener: Callable[[], bytes]):
    assert await begin_in(run_folder) == ("5e55104", ["exec"])
    # Whoever comes late finds that it was taken.
    assert (run_folder / f"{STEM}.taken").exists()


@pytest.mark.parametrize("word", ["one\0two", "\ud800"], ids=["nul", "surrogate"])
async def test_what_cannot_be_an_argument_is_podmans_to_refuse(
    run_folder: Path, listener: Callable[[], bytes], word: str
):
    assert await begin_in(run_folder, ExecSpec(argv=("echo", word), detach=True)) == ("5e55104", ["exec"])
    with pytest.raises(BlockingIOError):
        listener()
    assert [path.name for path in run_folder.iterdir()] == [ENTRANCE]


def plant_nothing(entrance: Path) -> None:
    pass


def plant_file(entrance: Path) -> None:
    entrance.touch()


def plant_link(entrance: Path) -> None:
    outside = entrance.parents[1] / "outside"
    os.mkfifo(outside)
    os.open(outside, os.O_RDWR | os.O_NONBLOCK)
    entrance.symlink_to(outside)


def plant_socket(entrance: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(entrance))


def plant_what_nobody_reads(entrance: Path) -> None:
    os.mkfifo(entrance)


def plant_what_is_full(entrance: Path) -> None:
    os.mkfifo(entrance)
    full = os.open(entrance, os.O_RDWR | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while os.write(full, bytes(4096)):
            pass


@pytest.mark.parametrize(
    "plant",
    [plant_nothing, plant_file, plant_link, plant_socket, plant_what_nobody_reads, plant_what_is_full],
)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_what_a_sandbox_plants_there_is_left_alone(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, plant: Callable[[Path], None]
):
    monkeypatch.chdir(run_folder)
    plant(run_folder / ENTRANCE)
    assert await begin_in(run_folder) == ("5e55104", ["exec"])


@pytest.mark.podman
@pytest.mark.lonely
class TestReal:
    @pytest.fixture
    def workspace(self, workspace_of_module: Workspace) -> Workspace:
        return workspace_of_module

    @pytest.fixture
    def record(self, manager: LoopManager) -> LoopRecord:
        records = list(manager.store.readable())
        return records[0] if records else manager.create(title="box")

    async def test_what_starts_is_as_podman_would_start_it(self, manager: LoopManager, record: LoopRecord):
        running = await start_emptied(manager, record)
        entrance = manager.workspace.run(record.id) / ENTRANCE
        # (Of further groups, podman's has none and init's has its own group again.)
        told = "grep -E '^(Sig|Shd|Cap|Uid|Gid|NoNew|Seccomp)' /proc/self/status; ulimit -a; pwd; env; exec sleep 60"
        logs = []
        for _ in range(2):
            stem = Stem.new(manager.workspace.run(record.id), "k")
            started = await start_detached(
                manager.engine, running, stem, ExecSpec(argv=("bash", "-c", told), env={"A": "b"}, detach=True)
            )
            assert started.process is not None
            assert exec_roots(running.init_pid) == [started.process.pid]
            while psutil.Process(started.process.pid).name() != "sleep":
                pass
            logs.append(sorted(line for line in stem.log_tail().splitlines() if not line.startswith("SigQ")))
            assert bool(await exec_ids(manager, record)) is (len(logs) == 2)
            psutil.Process(started.process.pid).kill()
            await started.process.wait()
            started.process.close()
            # The second one is podman's.
            entrance.unlink(missing_ok=True)
        assert logs[0] == logs[1]
        assert exec_roots(running.init_pid) == []

    async def test_a_folder_that_cannot_be_entered_and_a_command_that_cannot_be_run_take_no_time(
        self, manager: LoopManager, record: LoopRecord
    ):
        running = await manager.start(record, fresh=True)
        workdir, run = manager.workspace.workdir(record.id), manager.workspace.run(record.id)

        async def start(*argv: str, cwd: str = "/loopat/lib") -> tuple[Stem, HostProcess | None]:
            return await start_detached(
                manager.engine, running, Stem.new(run, "k"), ExecSpec(argv=argv, cwd=cwd, detach=True)
            )

        # Far longer than any argument may be: it ends at once, and nobody waits for it for long.
        async with asyncio.timeout(FIND_TIMEOUT_S / 2):
            stem, ended = await start("echo", "x" * 200_000)
            if ended is not None:
                await ended.wait()
                ended.close()
        assert stem.log_tail() == ""
        workdir.chmod(0)
        try:
            _, started = await start("sleep", "60")
        finally:
            workdir.chmod(0o700)
        assert started is not None
        # What works where the main process is counts as well.
        while exec_roots(running.init_pid) != [started.pid]:
            await asyncio.sleep(0.01)
        started.close()

    async def test_a_main_process_that_was_stopped_keeps_nobody(self, manager: LoopManager, record: LoopRecord):
        running = await manager.start(record, fresh=True)
        [main] = psutil.Process(running.init_pid).children()
        main.suspend()
        stem = Stem.new(manager.workspace.run(record.id), "k")
        started = await start_detached(
            manager.engine, running, stem, ExecSpec(argv=("bash", "-c", "echo once; exec sleep 60"), detach=True)
        )
        assert started.process is not None
        assert main.status() == psutil.STATUS_STOPPED
        # Meanwhile another start is asked for and called off.
        called_off = Stem.new(manager.workspace.run(record.id), "k")
        starting = asyncio.create_task(
            start_detached(manager.engine, running, called_off, ExecSpec(argv=("sleep", "60"), detach=True))
        )
        while not called_off.file("start").exists():
            await asyncio.sleep(0.001)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        # It goes on, and finds that somebody else was faster, and that nobody wants the other one.
        main.resume()
        again = Stem.new(manager.workspace.run(record.id), "k")
        second = await start_detached(manager.engine, running, again, ExecSpec(argv=("sleep", "60"), detach=True))
        assert second.process is not None
        assert psutil.Process(second.process.pid).ppid() == main.pid
        while not stem.log_tail():
            await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            while len(exec_roots(running.init_pid)) > 2 or list(called_off.folder.glob(f"{called_off.name}*")):
                await asyncio.sleep(0.01)
        assert stem.log_tail() == "once\n"
        for process in (started.process, second.process):
            process.close()
