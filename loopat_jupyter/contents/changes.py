"""Files of a loop made, moved, copied and removed, while what runs in the loop may swap folders for symbolic links.

As in `pinned`, folders are held by descriptors, and what is in them is named without following a link.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from loopat_jupyter.contents.pinned import PLAIN, Place, copy_content, held
from loopat_jupyter.errors import UnsafePathError
from loopat_jupyter.workspace.files import real_path
from loopat_jupyter.workspace.nofollow import look_at, make_folders, names_in, opened_folder
from loopat_jupyter.workspace.walking import MOST_LEVELS, remove_tree

if TYPE_CHECKING:
    from collections.abc import Container

_TRASH = (".local", "share", "Trash")
_LONGEST_NAME_BYTES = 200


def make_folder(place: Place) -> None:
    """Make a folder.

    Raises:
        OSError: It is there already, or cannot be made.
        UnsafePathError: The way to it leads out.
    """
    with held(*place) as (folder, name):
        os.mkdir(name, dir_fd=folder)


def move(source: Place, target: Place) -> None:
    """Give something another name or place; a link is moved, not followed.

    Raises:
        OSError: It cannot be moved there.
        UnsafePathError: A way leads out.
    """
    with held(*source, follow=False) as (old, name), held(*target, follow=False) as (new, new_name):
        os.rename(name, new_name, src_dir_fd=old, dst_dir_fd=new)


def remove(place: Place, *, full: bool = True, ignored: Container[str] = ()) -> None:
    """Remove something with all that is in it; a link is removed, not followed.

    Args:
        place: What to remove.
        full: Also a folder that is not empty.
        ignored: Names that do not count as anything in a folder.

    Raises:
        OSError: It cannot be removed, or is not empty.
        UnsafePathError: The way to it leads out.
    """
    with held(*place, follow=False) as (folder, name):
        if not stat.S_ISDIR(look_at(folder, name).st_mode):
            os.unlink(name, dir_fd=folder)
            return
        if not full:
            with opened_folder(_by_descriptor(folder), name) as inner:
                if any(entry not in ignored for entry in names_in(inner)):
                    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), name)
        remove_tree(Path(name), within=folder)
        with contextlib.suppress(FileNotFoundError):
            look_at(folder, name)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)


def throw_away(place: Place, home: Path, inside: str) -> None:
    """Move something to the trash of its loop's home, where desktop programs inside look for it.

    Args:
        place: What to move; a link is moved, not followed.
        home: The loop's home.
        inside: What `place.top` is called inside.

    Raises:
        OSError: It cannot be moved.
        UnsafePathError: The way to it or to the trash leads out.
    """
    for part in ("info", "files"):
        make_folders(home, *_TRASH, part)
    with (
        held(*place, follow=False) as (folder, name),
        opened_folder(home, *_TRASH, "info") as notes,
        opened_folder(home, *_TRASH, "files") as trash,
    ):
        look_at(folder, name)
        was = Path(inside, os.path.relpath(real_path(Path(place.path).parent), place.top), name)
        kept = os.urandom(8).hex() if len(os.fsencode(name)) > _LONGEST_NAME_BYTES else name
        if kept in names_in(trash) or f"{kept}.trashinfo" in names_in(notes):
            kept = f"{kept}.{os.urandom(8).hex()}"
        note = f"{kept}.trashinfo"
        now = datetime.datetime.now().astimezone().strftime("%Y-%m-%dT%H:%M:%S")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN
        with open(os.open(note, flags, 0o600, dir_fd=notes), "w", encoding="ascii") as file:
            file.write(f"[Trash Info]\nPath={quote(bytes(was))}\nDeletionDate={now}\n")
        try:
            os.rename(name, kept, src_dir_fd=folder, dst_dir_fd=trash)
        except OSError:
            os.unlink(note, dir_fd=notes)
            raise


def copy_folder(source: Place, target: Place) -> None:
    """Copy a folder with all that is in it. Links are copied, not followed; FIFOs and the like are left out.

    Args:
        source: The folder.
        target: The copy, which must not be there yet.

    Raises:
        OSError: It cannot be copied. Nothing is left of what was copied until then.
        UnsafePathError: A way leads out, or folders are nested too deep.
    """
    if real_path(target.path).is_relative_to(real_path(source.path)):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), target.path)
    with held(*source) as (folder, name), held(*target) as (into, new):
        os.mkdir(new, dir_fd=into)
        try:
            _copy_all(folder, name, into, new)
        except BaseException:
            remove_tree(Path(new), within=into)
            raise


def _copy_all(folder: int, name: str, into: int, new: str) -> None:
    for here, folders, files, descriptor in os.fwalk(name, dir_fd=folder, follow_symlinks=False):
        parts = Path(here).parts[1:]
        if len(parts) > MOST_LEVELS:
            raise UnsafePathError(f"{name} has more than {MOST_LEVELS} folders in one another.")
        with opened_folder(_by_descriptor(into), new, *parts) as copy:
            for entry in (*folders, *files):
                _copy(entry, descriptor, copy)


def _copy(name: str, source: int, target: int) -> None:
    """Copy an entry of a folder; of a folder only itself."""
    mode = look_at(source, name).st_mode
    if stat.S_ISDIR(mode):
        os.mkdir(name, dir_fd=target)
    elif stat.S_ISLNK(mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    elif stat.S_ISREG(mode):
        with open(os.open(name, os.O_RDONLY | PLAIN, dir_fd=source), "rb") as original:
            status = os.fstat(original.fileno())
            if not stat.S_ISREG(status.st_mode):
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN
            with open(os.open(name, flags, status.st_mode & 0o777, dir_fd=target), "wb") as copy:
                copy_content(original.fileno(), copy.fileno())


def _by_descriptor(folder: int) -> Path:
    """A path to an open folder, wherever it is now."""
    return Path(f"/proc/self/fd/{folder}")
