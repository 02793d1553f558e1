"""The main process of a sandbox, run on the host on folders of its own."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from loopat_jupyter.sandbox.entrance import ENTRANCE, make_entrance
from loopat_jupyter.sandbox.helpers import INSIDE, MAIN_HELPER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


STEM = "k0123456789ab"


@pytest.fixture
def start_main(tmp_path: Path) -> Iterator[Callable[..., psutil.Popen]]:
    """Starts it with some variables."""
    run, script = tmp_path / "run", tmp_path / MAIN_HELPER
    run.mkdir()
    make_entrance(run)
    script.write_text((INSIDE / MAIN_HELPER).read_text().replace("/loopat/run", str(run)))
    script.chmod(0o700)
    started = []

    def start(**variables: str) -> psutil.Popen:
        started.append(psutil.Popen([script], env={"PATH": os.defpath, **variables}, cwd=tmp_path))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def ask(run: Path, stem: str, *words: str) -> None:
    (run / f"{stem}.start").write_bytes(b"".join(word.encode() + b"\0" for word in ("", *words)))
    # It waits for the main process to be there.
    with (run / ENTRANCE).open("w") as entrance:
        entrance.write(f"{stem}\n")


def names(main: psutil.Popen) -> list[str]:
    """What its children are."""
    found = []
    for child in main.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(child.name())
    return found


def test_variables_of_a_loop_are_not_for_it(tmp_path: Path, start_main: Callable[..., psutil.Popen]) -> None:
    (tmp_path / "ends").write_text("exit 3")
    main = start_main(BASH_ENV=str(tmp_path / "ends"), ENV=str(tmp_path / "ends"), TMOUT="1")
    ask(tmp_path / "run", STEM, "sh", "-c", "echo $TMOUT >told; sleep 2; echo ready >ready")
    while not (tmp_path / "ready").exists():
        assert main.poll() is None
    # It still listens, longer than the variable says; what starts gets it.
    ask(tmp_path / "run", "k0123456789ac", "touch", "again")
    while not (tmp_path / "again").exists():
        assert main.poll() is None
    assert (tmp_path / "told").read_text() == "1\n"


def test_whatever_ends_it_but_its_stop_makes_it_begin_anew(
    tmp_path: Path, start_main: Callable[..., psutil.Popen]
) -> None:
    main = start_main()
    ask(tmp_path / "run", STEM, "sleep", "600")
    while names(main) != ["sleep"]:
        assert main.poll() is None
    # Each program of a process gets other random bytes from the kernel.
    auxiliary = Path(f"/proc/{main.pid}/auxv")
    before = auxiliary.read_bytes()
    # As bash ends where it can make no process for a while.
    main.send_signal(signal.SIGHUP)
    while auxiliary.read_bytes() == before:
        assert main.poll() is None
    ask(tmp_path / "run", "k0123456789ac", "sh", "-c", "pwd >again")
    while not (tmp_path / "again").exists() or not (tmp_path / "again").read_text():
        assert main.poll() is None
    assert (tmp_path / "again").read_text() == f"{tmp_path}\n"
    assert names(main)[0] == "sleep"
    main.children()[0].kill()


def test_it_ends_when_its_sandbox_is_stopped(start_main: Callable[..., psutil.Popen]) -> None:
    main = start_main()
    while main.cmdline()[-1:] == [] or main.num_fds() < 4:
        assert main.poll() is None
    main.terminate()
    assert main.wait(timeout=60) in (143, -15)
