"""Files and folders of a loop looked at, while what runs in the loop may swap folders for symbolic links.

As in `pinned`, folders are held by descriptors, and what is in them is named without following a link.
"""

from __future__ import annotations

import contextlib
import datetime
import mimetypes
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from loopat_jupyter.contents.pinned import Place, held, held_folder
from loopat_jupyter.errors import UnsafePathError
from loopat_jupyter.workspace.files import real_path
from loopat_jupyter.workspace.nofollow import look_at, names_in

_EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)


class Seen(NamedTuple):
    """What there is to say of a file or folder.

    Attributes:
        name: Its name.
        status: Of itself; of a link, that of the link.
        is_folder: Whether it is a folder, or a link to one.
        is_open: Whether it may be read; a folder also entered.
        is_writable: Whether it may be changed.
    """

    name: str
    status: os.stat_result
    is_folder: bool
    is_open: bool
    is_writable: bool


def look(place: Place) -> Seen:
    """Look at a file or folder.

    Args:
        place: Where it is; a link that stays in `place.top` is followed.

    Raises:
        FileNotFoundError: It is not there.
        UnsafePathError: The way to it leads out.
    """
    if not real_path(Path(place.path).parent).is_relative_to(place.top):
        # The top itself, by whatever name it has outside.
        with held_folder(*place) as folder:
            return _seen(place, folder, ".")
    with held(*place, follow=False) as (folder, name):
        return _seen(place, folder, name)


def look_into(place: Place) -> list[Seen]:
    """Look at what is in a folder; what leads out of the loop is left out, as are FIFOs and the like.

    Args:
        place: The folder; a link that stays in `place.top` is followed.

    Raises:
        OSError: It is not there, or may not be read.
        UnsafePathError: The way to it leads out, or it is no folder.
    """
    found = []
    with held_folder(*place) as folder:
        for name in names_in(folder):
            # It may be gone by now.
            with contextlib.suppress(OSError, UnsafePathError):
                seen = _seen(Place(place.top, f"{place.path}/{name}"), folder, name)
                if stat.S_IFMT(seen.status.st_mode) in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK):
                    found.append(seen)
    return found


def _seen(place: Place, folder: int, name: str) -> Seen:
    status = look_at(folder, name)
    if stat.S_ISLNK(status.st_mode):
        if real_path(place.path) == place.top:
            with held_folder(*place) as top:
                return Seen(name, status, *_facts(top, "."))
        # One that leads nowhere can be told and removed all the same.
        with contextlib.suppress(FileNotFoundError), held(*place) as (other, target):
            return Seen(name, status, *_facts(other, target))
    return Seen(name, status, *_facts(folder, name))


def _facts(folder: int, name: str) -> tuple[bool, bool, bool]:
    """Whether it is a folder, is open, is writable. A link put there just now is a file that nobody changes."""
    mode = look_at(folder, name).st_mode
    if stat.S_ISLNK(mode):
        return False, True, False
    enter = os.X_OK if stat.S_ISDIR(mode) else 0

    def may(what: int) -> bool:
        return os.access(name, what, dir_fd=folder, follow_symlinks=False)

    return stat.S_ISDIR(mode), may(os.R_OK | enter), may(os.W_OK)


def model(path: str, seen: Seen) -> dict[str, Any]:
    """What Jupyter says of a file or folder, without its content.

    Args:
        path: Its path as Jupyter knows it.
        seen: What there is to say.
    """
    name = path.rpartition("/")[2]
    kind = "directory" if seen.is_folder else "notebook" if name.endswith(".ipynb") else "file"
    return {
        "name": name,
        "path": path,
        "type": kind,
        "created": _moment(seen.status.st_ctime),
        "last_modified": _moment(seen.status.st_mtime),
        "content": None,
        "format": None,
        "mimetype": mimetypes.guess_type(name)[0] if kind == "file" else None,
        "size": None if seen.is_folder else seen.status.st_size,
        "writable": seen.is_writable,
        "hash": None,
        "hash_algorithm": None,
    }


def _moment(timestamp_s: float) -> datetime.datetime:
    """A time; whoever has a file may give it one that no calendar has."""
    try:
        return datetime.datetime.fromtimestamp(timestamp_s, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return _EPOCH
