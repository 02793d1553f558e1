"""`Kept`: records of what outlives the server that started it, each of them owned by one living process at most.

A record lies in the loop's host-only runtime folder, which a reboot wipes together with what the records name. Its
owner holds a lock on it that the kernel of the host frees when the owner dies; only then may another server take the
record over.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.workspace.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

_log = logging.getLogger(__name__)

_RECORD, _LOCK, _ASIDE = ".json", ".lock", ".unreadable"


class Found(NamedTuple):
    """A record that this process now owns.

    Attributes:
        loop_id: The loop.
        name: Whose record it is.
        data: What it says.
    """

    loop_id: str
    name: str
    data: bytes


class Kept:
    """The records of one kind that this process owns.

    Args:
        kind: What they are of, one letter: k(ernels), t(erminals).
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._locks: dict[str, int] = {}
        self._files: dict[str, Path] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def keep(self, workspace: Workspace, loop_id: str, name: str, data: bytes) -> bool:
        """Write a record, and own it from now on.

        Args:
            workspace: The loop's workspace.
            loop_id: The loop.
            name: Whose record it is: letters, digits, `_` and `-`.
            data: What it says.

        Returns:
            False if another process owns a record of this name; nothing was written then.

        Raises:
            StorageFullError: No space.
        """
        file = folder(workspace, loop_id) / f"{self._kind}-{name}{_RECORD}"
        if self._files.get(name, file) != file:
            self.forget(name)
        if name not in self._locks:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = _lock(file)
            if descriptor is None:
                return False
            self._locks[name], self._files[name] = descriptor, file
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(file, data, lasting=False)
        return True

    def claim(self, workspace: Workspace) -> Iterator[Found]:
        """Take over every record of a workspace that no living process owns.

        Args:
            workspace: Whose records.
        """
        for loop_id in workspace.started_loops():
            for file in sorted(folder(workspace, loop_id).glob(f"{self._kind}-*{_RECORD}")):
                name = file.name.removeprefix(f"{self._kind}-").removesuffix(_RECORD)
                descriptor = None if name in self._locks else _lock(file)
                if descriptor is None:
                    continue
                self._locks[name], self._files[name] = descriptor, file
                try:
                    # Only now: its owner may have removed it just before it let go.
                    data = file.read_bytes()
                except FileNotFoundError:
                    self.forget(name)
                except OSError as error:
                    self.set_aside(name, error)
                else:
                    yield Found(loop_id, name, data)

    def forget(self, name: str) -> None:
        """Remove a record of this process; nothing happens if there is none."""
        file = self._files.get(name)
        if file is not None:
            file.unlink(missing_ok=True)
            file.with_suffix(_LOCK).unlink(missing_ok=True)
        self.let_go(name)

    def set_aside(self, name: str, problem: Exception) -> None:
        """Put a record of this process that nobody can make sense of out of the way, and name it in the log."""
        file = self._files[name]
        aside = file.with_suffix(_ASIDE)
        with contextlib.suppress(OSError):
            file.replace(aside)
        _log.warning(
            "%s cannot be read (%s) and was set aside. What it names may still run in its loop: to end it, stop the "
            "loop with `jupyter loopat stop`.",
            aside,
            problem,
        )
        self.forget(name)

    def let_go(self, name: str) -> None:
        """Leave a record to the next process that looks for it."""
        self._files.pop(name, None)
        descriptor = self._locks.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)


def folder(workspace: Workspace, loop_id: str) -> Path:
    """Where the records of a loop are.

    Args:
        workspace: The loop's workspace.
        loop_id: The loop.
    """
    return workspace.host(loop_id) / "kept"


def _lock(file: Path) -> int | None:
    """A descriptor that holds the lock of a record; None while another process does, or if there is no such folder."""
    lock = file.with_suffix(_LOCK)
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The owner may have removed the file while this process waited to open it: then its lock guards nothing.
            if os.path.samestat(os.fstat(descriptor), os.stat(lock)):  # noqa: PTH116
                return descriptor
        except OSError:
            pass
        os.close(descriptor)
    return None
