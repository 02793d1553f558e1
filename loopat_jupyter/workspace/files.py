"""Files written whole or not at all, and files in folders that a sandbox can write."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from loopat_jupyter.errors import StorageFullError, StorageRefusedError, UnsafePathError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_ATTEMPTS = 10


def real_path(path: str | Path) -> Path:
    """Where a path leads, symbolic links resolved as far as there is something.

    Args:
        path: The path. What runs in a loop may swap a link on it for a folder just when the link is read.

    Raises:
        UnsafePathError: It does so all the time.
    """
    for _ in range(_ATTEMPTS):
        try:
            return Path(os.path.realpath(path))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise
    raise UnsafePathError(f"{path} is swapped for something else all the time. Try again when that has ended.")


@contextlib.contextmanager
def full_disk_told(path: Path) -> Iterator[None]:
    """Turn "no space left" inside the block into a typed error.

    Args:
        path: What was being written, for the message.

    Raises:
        StorageFullError: The file system or the quota is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError(f"No space left to write {path}. Free some space and try again.") from error
        raise


@contextlib.contextmanager
def failed_write_told(path: Path) -> Iterator[None]:
    """Turn "no space left" and "may not be written" inside the block into typed errors; nothing else is read there.

    Args:
        path: What was being written, for the message.

    Raises:
        StorageFullError: The file system or the quota is full.
        StorageRefusedError: It may not be written.
    """
    try:
        with full_disk_told(path):
            yield
    except OSError as error:
        if error.errno in _REFUSED:
            problem = f"{path} cannot be written: {error.strerror}. Make it writable for you and try again."
            raise StorageRefusedError(problem) from error
        raise


def make_shared_folder(folder: Path) -> None:
    """Make a folder, for the host only, with those above it; nothing happens when it is there.

    Args:
        folder: Somebody else may be removing it, with the one that it is in.

    Raises:
        FileNotFoundError: Somebody removes it all the time.
        FileExistsError: It is no folder.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (FileNotFoundError, FileExistsError):
            # The latter also where it was there and then was not: `mkdir` looks twice.
            if attempt == _ATTEMPTS:
                raise
        else:
            return


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600, lasting: bool = True) -> None:
    """Replace `path` with `data`: readers see the old content or the new, also after a crash.

    Args:
        path: The file; its folder exists and is writable by the host only.
        data: The whole content.
        mode: Permissions of the new file.
        lasting: Also after a crash of the machine. What names processes means nothing then, and a disk takes its time.

    Raises:
        StorageFullError: No space; the old content stands.
        StorageRefusedError: It may not be written; the old content stands.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with failed_write_told(path):
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Make a new file in a folder that a sandbox can write.

    The name must be one that the sandbox cannot guess; if something is already there, even a dangling symlink,
    nothing is written.

    Args:
        path: The new file, directly in the folder.
        data: The whole content.
        mode: Permissions.

    Raises:
        FileExistsError: Something has that name already.
        StorageFullError: No space; nothing stays behind.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode)
    try:
        with full_disk_told(path), open(descriptor, "wb") as file:
            file.write(data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def read_untrusted(path: Path, *, limit_bytes: int, from_end: bool = False) -> bytes:
    """Read a plain file from a folder that a sandbox can write, without following a symlink or blocking on a FIFO.

    Args:
        path: The file.
        limit_bytes: How much to read at most.
        from_end: Read the last bytes, not the first.

    Returns:
        The bytes; nothing for what is not a plain file.

    Raises:
        FileNotFoundError: There is none.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return b""
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return b""
        offset = max(0, status.st_size - limit_bytes) if from_end else 0
        return os.pread(descriptor, limit_bytes, offset)
    finally:
        os.close(descriptor)
