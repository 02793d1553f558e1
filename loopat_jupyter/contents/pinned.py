"""Files of a loop, opened for Jupyter while what runs in the loop may swap folders and files for symbolic links.

A path is looked at once. Then the folder is held, and the file in it is opened by its name without following a link: so
what was looked at is what is read or written.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from loopat_jupyter.errors import UnsafePathError
from loopat_jupyter.workspace.files import real_path
from loopat_jupyter.workspace.nofollow import opened_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""No link is followed, no FIFO waited for."""

LARGEST_READ_BYTES = 256 * 2**20
"""What is read at once. It takes nothing to make a file of any size, and the server would be lost to who opens it."""

_FLAGS = {"r": os.O_RDONLY, "a": os.O_WRONLY | os.O_APPEND | os.O_CREAT}
_MODE = 0o666
"""Less what the umask takes away."""


class _Bounded(io.BufferedReader):
    """A file that is read whole only up to a bound, however it grows meanwhile; piece by piece without one."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read; raises `OSError` where there is too much."""
        if size is not None and size >= 0:
            return super().read(size)
        data = super().read(LARGEST_READ_BYTES + 1)
        if len(data) > LARGEST_READ_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return data


class Place(NamedTuple):
    """A file or folder, and the folder that a way to it must not leave, symlinks resolved."""

    top: Path
    path: str


@contextlib.contextmanager
def held(top: Path, path: str, *, follow: bool = True) -> Iterator[tuple[int, str]]:
    """The folder of a file as a descriptor, and the file's name in it; links that stay in `top` are followed.

    Args:
        top: The folder that must not be left, symlinks resolved.
        path: The file, which need not be there.
        follow: Whether a link that has the last name is followed too; else it is meant itself.

    Raises:
        FileNotFoundError: There is no such folder.
        UnsafePathError: It leads out, or was swapped just now.
    """
    written = Path(path)
    real = real_path(path) if follow else real_path(written.parent) / written.name
    if real == top or not real.is_relative_to(top):
        raise UnsafePathError(f"{path} leads out of its loop.")
    with opened_folder(top, *real.relative_to(top).parent.parts) as folder:
        yield folder, real.name


@contextlib.contextmanager
def held_folder(top: Path, path: str) -> Iterator[int]:
    """A folder as a descriptor; links that stay in `top` are followed.

    Args:
        top: The folder that must not be left, symlinks resolved.
        path: The folder; `top` itself, too.

    Raises:
        FileNotFoundError: There is no such folder.
        UnsafePathError: It leads out, is no folder, or was swapped just now.
    """
    real = real_path(path)
    if not real.is_relative_to(top):
        raise UnsafePathError(f"{path} leads out of its loop.")
    with opened_folder(top, *real.relative_to(top).parts) as folder:
        yield folder


@contextlib.contextmanager
def opened(top: Path, path: str, mode: str, **options: Any) -> Iterator[IO[Any]]:  # noqa: ANN401 - as `open` has them
    """Open a plain file to read it or to add to it.

    Args:
        top: The folder that must not be left, symlinks resolved.
        path: The file.
        mode: As `open` takes it: `r` or `a`, text or binary.
        options: As `open` takes them.

    Raises:
        FileNotFoundError: There is none.
        UnsafePathError: It leads out, is no plain file, or was swapped just now.
    """
    with held(top, path) as (folder, name):
        descriptor = _open_plain(folder, name, path, _FLAGS[mode[0]])
        bounded = _Bounded(io.FileIO(descriptor)) if mode == "rb" else None
        with bounded or open(descriptor, mode, **options) as file:
            yield file


@contextlib.contextmanager
def replaced(top: Path, path: str, *, text: bool = True, **options: Any) -> Iterator[IO[Any]]:  # noqa: ANN401
    """Open a file to write it anew: it is there whole, with the rights and names of the one before, or stays as it was.

    Where a new file in its place would not be the same to everybody, or may not be put there, it is written in place
    once everything is known that goes into it. That alone can be cut short, by a full disk.

    Args:
        top: The folder that must not be left, symlinks resolved.
        path: The file, which need not be there.
        text: Whether it is written as text.
        options: As `open` takes them.

    Raises:
        FileNotFoundError: There is no such folder.
        PermissionError: The file is write-protected.
        UnsafePathError: It leads out, is no plain file, or was swapped just now.
    """
    mode = "w" if text else "wb"
    with held(top, path) as (folder, name), _before(folder, name, path) as before:
        status = None if before is None else os.fstat(before)
        if before is not None and status is not None and not _may_be_replaced(folder, status):
            with tempfile.TemporaryFile(mode, **options) as file:
                yield file
                file.flush()
                os.ftruncate(before, 0)
                copy_content(file.fileno(), before)
                os.fsync(before)
            return
        temporary = f".~{os.urandom(8).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN
        descriptor = os.open(temporary, flags, _MODE, dir_fd=folder)
        try:
            with open(descriptor, mode, **options) as file:
                yield file
                file.flush()
                if status is not None:
                    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
                os.fsync(descriptor)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise


def _open_plain(folder: int, name: str, path: str, flags: int) -> int:
    """Descriptor of a plain file, for the caller to close.

    Raises:
        OSError: It cannot be opened.
        UnsafePathError: It is no plain file.
    """
    try:
        descriptor = os.open(name, flags | PLAIN, _MODE, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise UnsafePathError(f"{path} is no plain file.") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafePathError(f"{path} is no plain file.")
    return descriptor


@contextlib.contextmanager
def _before(folder: int, name: str, path: str) -> Iterator[int | None]:
    """The file that is to be written anew, as a descriptor; None where there is none.

    Only opening it tells whether it may be written: renaming a new file over it asks for rights to the folder alone.
    """
    descriptor = None
    with contextlib.suppress(FileNotFoundError):
        descriptor = _open_plain(folder, name, path, os.O_WRONLY)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _may_be_replaced(folder: int, status: os.stat_result) -> bool:
    """Whether a file has one name, is this user's, and is in a folder that takes a new one."""
    own = (status.st_uid, status.st_nlink) == (os.geteuid(), 1)
    return own and os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True)


def copy_content(source: int, target: int) -> None:
    """Copy what a file holds now, and its times: nothing that is added meanwhile, and holes stay holes.

    It takes nothing to make a file of any size, and its copy must not fill the disk.

    Args:
        source: Descriptor of the file.
        target: Descriptor of an empty one.

    Raises:
        OSError: It cannot be copied.
    """
    status, end = os.fstat(source), 0
    while end < status.st_size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
            end = min(os.lseek(source, start, os.SEEK_HOLE), status.st_size)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        os.lseek(target, start, os.SEEK_SET)
        while start < end and (sent := os.sendfile(target, source, start, end - start)):
            start += sent
    os.ftruncate(target, min(status.st_size, os.fstat(source).st_size))
    # Only whoever owns a file gives it times.
    with contextlib.suppress(PermissionError):
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
