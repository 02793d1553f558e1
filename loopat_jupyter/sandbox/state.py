"""Runtime notes about one sandbox, each of them checked against a living process before it is believed.

They live in the loop's host-only runtime folder, which a reboot wipes. They spare a podman call where one would block
(a terminal opened from synchronous code) or cost too much (a list of loops); podman stays the truth for every change.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.errors import EngineTimeoutError, ImageBuildError, StorageFullError
from loopat_jupyter.models import ContainerFacts, Progress, Value
from loopat_jupyter.sandbox.process import is_init, stat_fields
from loopat_jupyter.workspace.files import make_shared_folder, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Stamp(Value, frozen=True, kw_only=True):
    """What was true when the sandbox was last started or used."""

    loop_id: str
    name: str
    pid: int
    start_ticks: int
    config_hash: str
    image_id: str
    reference: str
    """Name of the image it was checked against."""
    used_at_s: float
    """On the monotonic clock of the host, which no clock change moves and every process shares."""
    restart_needed: bool = False
    """It was not as wanted then, and could not be replaced."""

    @classmethod
    def of(cls, loop_id: str, facts: ContainerFacts, reference: str, *, restart_needed: bool = False) -> Stamp:
        """A stamp of a running container, used now."""
        return cls(
            loop_id=loop_id,
            name=facts.name,
            pid=facts.pid,
            start_ticks=start_ticks(facts.pid),
            config_hash=facts.config_hash,
            image_id=facts.image_id,
            reference=reference,
            used_at_s=time.monotonic(),
            restart_needed=restart_needed,
        )

    @property
    def facts(self) -> ContainerFacts:
        """What podman would say of the container now, if it is alive."""
        return ContainerFacts(
            id="",
            name=self.name,
            loop_id=self.loop_id,
            config_hash=self.config_hash,
            image_id=self.image_id,
            running=True,
            pid=self.pid,
            alive=True,
        )

    @property
    def alive(self) -> bool:
        """Whether the very same init process still runs."""
        return is_init(self.pid) and start_ticks(self.pid) == self.start_ticks


class Use(Value, frozen=True, kw_only=True):
    """How a running sandbox was seen last. Written by whoever looks, so it is kept apart from the stamp."""

    pid: int
    start_ticks: int
    used_at_s: float
    """Monotonic."""
    in_use: bool


class _Working(Value, frozen=True, kw_only=True):
    pid: int
    start_ticks: int
    progress: Progress
    token: str = ""
    """Tells apart who works on the same loop at once, in one process or in several."""


class _Ending(Value, frozen=True, kw_only=True):
    pid: int = 0
    """Who ends the sandbox; 0 once that is done."""
    start_ticks: int = 0
    stamp: Stamp | None = None
    """What ran before."""

    @property
    def given_up(self) -> bool:
        """Whether who began is gone, and the sandbox still runs."""
        is_gone = self.pid != 0 and start_ticks(self.pid) != self.start_ticks
        return is_gone and self.stamp is not None and self.stamp.alive


class _FailedBuild(Value, frozen=True, kw_only=True):
    image: str
    message: str


class StateFiles:
    """The notes of one loop.

    Args:
        folder: The loop's host-only runtime folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.pidfile = folder / "sandbox.pid"
        self._stamp = folder / "sandbox.json"
        self._use = folder / "use.json"
        self._stopped = folder / "stopped"
        self._replaced = folder / "replaced"
        self._progress = folder / "progress.json"
        self._failed_build = folder / "failed-build.json"

    def read_pidfile(self) -> int | None:
        """The init process that podman wrote down at start."""
        try:
            return int(self.pidfile.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None

    def stamp(self, stamp: Stamp) -> None:
        """Note that the sandbox runs and was just used. Only under the loop's lock."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._stopped.unlink(missing_ok=True)
        self._replaced.unlink(missing_ok=True)
        if not stamp.restart_needed:
            # Whoever made its image: that it could not be had is over.
            self._failed_build.unlink(missing_ok=True)
        write_atomic(self._stamp, msgspec.json.encode(stamp), lasting=False)

    def running(self) -> Stamp | None:
        """The stamp, if the process it names still runs."""
        try:
            stamp = msgspec.json.decode(self._stamp.read_bytes(), type=Stamp)
        except (OSError, msgspec.DecodeError):
            return self._given_up()
        return stamp if stamp.alive else None

    def _given_up(self) -> Stamp | None:
        """The stamp of a sandbox that runs because somebody was killed before it was ended."""
        for note in (self._stopped, self._replaced):
            with contextlib.suppress(OSError, msgspec.DecodeError):
                ending = msgspec.json.decode(note.read_bytes(), type=_Ending)
                if ending.given_up:
                    return ending.stamp
        return None

    def stamped(self) -> bool:
        """Whether there is a stamp that holds; `running` also goes by what somebody left who was killed."""
        return self._stamp.exists() and self.running() is not None

    def noted(self) -> bool:
        """Whether anything was noted of the sandbox since the runtime directory was made, be it that it was stopped."""
        return any(path.exists() for path in (self._stamp, self._stopped, self._replaced))

    def last_use(self, stamp: Stamp) -> Use:
        """How the sandbox of a stamp was seen last; as the stamp says if nobody looked since."""
        with contextlib.suppress(OSError, msgspec.DecodeError):
            use = msgspec.json.decode(self._use.read_bytes(), type=Use)
            if (use.pid, use.start_ticks) == (stamp.pid, stamp.start_ticks) and use.used_at_s >= stamp.used_at_s:
                return use
        return Use(pid=stamp.pid, start_ticks=stamp.start_ticks, used_at_s=stamp.used_at_s, in_use=False)

    def seen(self, stamp: Stamp, *, in_use: bool) -> Use:
        """Note how the sandbox of a stamp was seen just now."""
        use = Use(pid=stamp.pid, start_ticks=stamp.start_ticks, used_at_s=time.monotonic(), in_use=in_use)
        with contextlib.suppress(FileNotFoundError):
            write_atomic(self._use, msgspec.json.encode(use), lasting=False)
        return use

    def forget(self) -> None:
        """Nothing may count on the sandbox any more. Only under the loop's lock."""
        self._stamp.unlink(missing_ok=True)
        self._use.unlink(missing_ok=True)
        self.pidfile.unlink(missing_ok=True)

    @contextlib.contextmanager
    def ending(self, *, replaced: bool = False) -> Iterator[None]:
        """While the block ends the sandbox, nothing may count on it; afterwards only if it could not and still runs.

        Only under the loop's lock: who is about to use the sandbox waits for it, and whose kernel ends knows why.

        Args:
            replaced: It gives way to a new one; otherwise somebody wants it to be gone until it is started again.
        """
        stamp, note, pid = self.running(), self._replaced if replaced else self._stopped, os.getpid()
        # Before the stamp goes: whoever is killed from here on leaves one of the two.
        _lay(note, _Ending(pid=pid, start_ticks=start_ticks(pid), stamp=stamp))
        self.forget()
        try:
            yield
        except BaseException:
            if stamp is not None and stamp.alive:
                self.stamp(stamp)
            raise
        _lay(note, _Ending())

    def stopped_on_purpose(self) -> bool:
        """Whether the sandbox was stopped on purpose and not started since."""
        return self._stopped.exists() and self._given_up() is None

    def replaced_on_purpose(self) -> bool:
        """Whether the sandbox gave way to a new one that does not run yet."""
        return self._replaced.exists() and self._given_up() is None

    @contextlib.contextmanager
    def working(self) -> Iterator[_Reporter]:
        """While the block runs, other processes see this one's progress."""
        # Under no lock: somebody may be removing the sandbox, and its folder with it.
        make_shared_folder(self._folder)
        reporter = _Reporter(self._progress)
        try:
            yield reporter
        finally:
            reporter.end()

    def progress(self) -> Progress | None:
        """What some living process is doing for this sandbox right now."""
        try:
            working = msgspec.json.decode(self._progress.read_bytes(), type=_Working)
        except (OSError, msgspec.DecodeError):
            return None
        return working.progress if start_ticks(working.pid) == working.start_ticks else None

    @contextlib.contextmanager
    def building(self, image: Callable[[], str]) -> Iterator[None]:
        """While the block builds an image; that it failed is kept until the next one begins.

        Args:
            image: Says what is built, and on what. Asked once that failed: what lies below may be built first.
        """
        self._failed_build.unlink(missing_ok=True)
        try:
            yield
        except (EngineTimeoutError, ImageBuildError) as error:
            # The loop may be deleted meanwhile; then nobody looks.
            with contextlib.suppress(FileNotFoundError):
                failed = _FailedBuild(image=image(), message=error.message)
                write_atomic(self._failed_build, msgspec.json.encode(failed))
            raise

    def failed_build(self, image: Callable[[], str]) -> str:
        """Why the image could not be built when it was tried last; empty if it could, or is another one by now.

        Args:
            image: Says what `building` would be told now. Asked only if a build failed.
        """
        try:
            failed = msgspec.json.decode(self._failed_build.read_bytes(), type=_FailedBuild)
        except (OSError, msgspec.DecodeError):
            return ""
        return failed.message if failed.image == image() else ""


def _lay(note: Path, ending: _Ending) -> None:
    try:
        write_atomic(note, msgspec.json.encode(ending), lasting=False)
    except (FileNotFoundError, StorageFullError):
        # Without room, that it is there says what counts most. The folder is gone of what is deleted or never ran.
        with contextlib.suppress(FileNotFoundError):
            note.touch(mode=0o600)


class _Reporter:
    """Writes progress where other processes look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = os.urandom(8).hex()

    def end(self) -> None:
        """Take the last step back, unless somebody else has written one since."""
        with contextlib.suppress(OSError, msgspec.DecodeError):
            if msgspec.json.decode(self._path.read_bytes(), type=_Working).token == self._token:
                self._path.unlink(missing_ok=True)

    def __call__(self, progress: Progress) -> None:
        pid = os.getpid()
        working = _Working(pid=pid, start_ticks=start_ticks(pid), progress=progress, token=self._token)
        # The loop may be deleted meanwhile; then nobody looks.
        with contextlib.suppress(FileNotFoundError):
            write_atomic(self._path, msgspec.json.encode(working), lasting=False)


def start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot (proc_pid_stat(5), field 22); 0 when it is gone."""
    try:
        return int(stat_fields(pid)[19])
    except (ValueError, IndexError):
        return 0
