"""Folders and files reached without following a symbolic link anywhere below a folder that is trusted.

Everything goes by open folders, not by paths: what was looked at is what is read, also while somebody swaps names.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from loopat_jupyter.errors import UnsafePathError
from loopat_jupyter.workspace.files import full_disk_told

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC
# No FIFO keeps the open waiting, no terminal becomes this process's own.
_READ = os.O_RDONLY | _NO_LINK | os.O_NONBLOCK | os.O_NOCTTY
_LOOK = os.O_PATH | _NO_LINK
_RANDOM_BYTES = 8
_ABANDONED = re.compile(rf"\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}\Z")


@contextlib.contextmanager
def opened_folder(root: Path, *parts: str) -> Iterator[int]:
    """A folder by its descriptor, for what takes a `dir_fd`.

    Args:
        root: A trusted folder; links on the way to it are followed.
        parts: Names below it, one by one; none of them may be a link.

    Raises:
        FileNotFoundError: There is no such folder.
        UnsafePathError: One of them is a link, or no folder.
    """
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for number, part in enumerate(parts):
            inner = os.open(part, _LOOK, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISDIR(mode):
                what = "a symbolic link" if stat.S_ISLNK(mode) else "no folder"
                path = root.joinpath(*parts[: number + 1])
                raise UnsafePathError(f"{path} is {what} where a folder must be. Put a real folder there, or nothing.")
        yield descriptor
    finally:
        os.close(descriptor)


def names_in(folder: int) -> list[str]:
    """Names of a folder's entries, sorted.

    Args:
        folder: Its descriptor.
    """
    readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return sorted(os.listdir(readable))  # noqa: PTH208 - by descriptor
    finally:
        os.close(readable)


def make_folders(root: Path, *parts: str) -> None:
    """Make a folder and those above it, for this user alone.

    Args:
        root: A trusted folder that is there.
        parts: Names below it.

    Raises:
        StorageFullError: No space.
        UnsafePathError: One of them is there and no folder.
    """
    for number, part in enumerate(parts):
        with (
            opened_folder(root, *parts[:number]) as folder,
            contextlib.suppress(FileExistsError),
            full_disk_told(root / part),
        ):
            os.mkdir(part, 0o700, dir_fd=folder)
    with opened_folder(root, *parts):
        return


def problem_of(status: os.stat_result, *, many_names: bool = False) -> str | None:
    """Why something may not be read or mounted; None where it may.

    Args:
        status: Of the thing itself, no link followed.
        many_names: A file may have other names, which are hard links.
    """
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        return None
    if stat.S_ISREG(mode):
        # None is left of one that was replaced since it was opened.
        single = status.st_nlink <= 1 or many_names
        return None if single else "is a hard link: the file has another name somewhere else"
    kinds = {stat.S_IFLNK: "is a symbolic link", stat.S_IFIFO: "is a FIFO", stat.S_IFSOCK: "is a socket"}
    return kinds.get(stat.S_IFMT(mode), "is a device")


def look_at(folder: int, name: str) -> os.stat_result:
    """What an entry is; a link is not followed.

    Args:
        folder: Descriptor of the folder.
        name: The entry.

    Raises:
        FileNotFoundError: There is none.
    """
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def read_plain(folder: int, name: str, *, limit_bytes: int) -> bytes:
    """The content of a plain file that has no other name.

    Args:
        folder: Descriptor of the folder.
        name: The file.
        limit_bytes: A longer one is refused.

    Raises:
        FileNotFoundError: There is none.
        UnsafePathError: It is something else, or too long; the message is the end of a sentence about it.
    """
    try:
        descriptor = os.open(name, _READ, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        known = {errno.ELOOP: "is a symbolic link", errno.ENXIO: "is a FIFO or a socket"}
        raise UnsafePathError(known.get(error.errno or 0, f"cannot be read: {error.strerror}")) from None
    try:
        status = os.fstat(descriptor)
        problem = "is a folder" if stat.S_ISDIR(status.st_mode) else problem_of(status)
        if problem:
            raise UnsafePathError(problem)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(limit_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit_bytes:
        raise UnsafePathError(f"is longer than {limit_bytes} bytes")
    return data


def remove_abandoned(folder: int) -> None:
    """Remove what `write_whole` left where it was killed. For whoever alone writes there.

    Args:
        folder: Descriptor of the folder.
    """
    for name in names_in(folder):
        if _ABANDONED.match(name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)


def write_whole(folder: int, name: str, data: bytes) -> None:
    """Replace a file whole or not at all, for this user alone; a link of that name is replaced, not followed.

    Args:
        folder: Descriptor of the folder.
        name: The file.
        data: Its new content.

    Raises:
        StorageFullError: No space; what was there stands.
    """
    temporary = f".{os.urandom(_RANDOM_BYTES).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK
    with full_disk_told(Path(name)):
        try:
            with open(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise


def walk(path: Path, *, root: Path = Path("/")) -> os.stat_result:
    """What a path leads to, no link followed below a trusted folder.

    Args:
        path: An absolute path.
        root: The trusted folder; `path` lies in it.

    Raises:
        FileNotFoundError: There is no such thing.
        UnsafePathError: A folder on the way is a link.
    """
    *folders, name = path.relative_to(root).parts or (".",)
    with opened_folder(root, *folders) as folder:
        return look_at(folder, name)
