"""Where a path leads with regard to loops, followed once: what runs in a loop may change its links at any moment.

A path is followed as the kernel follows it, one link at a time (path_resolution(7)). So what it goes through is seen,
not only where it ends; and whoever decides by what was seen cannot be told one thing now and another one later. Until
a path enters a loop, nobody inside has a say in where it leads.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.workspace.files import real_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MOST_LINKS = 40
"""After so many the kernel gives up (path_resolution(7))."""

_IN_LOOP = 2
"""Parts of a path below the folder of all loops: the loop, and one of its folders."""


class Whereabouts(NamedTuple):
    """Where a path leads.

    Attributes:
        entered: The first loop into whose workdir it goes, as the workdir or through it.
        crossed: The first loop into any of whose folders it goes; what runs there can write most of them.
        found: The loop in whose workdir it ends, and the path relative to that.
        beside: The loop in whose folder it ends, but not in the workdir: its home, its record, the folder itself.
    """

    entered: str | None = None
    crossed: str | None = None
    found: tuple[str, Path] | None = None
    beside: str | None = None

    @property
    def left(self) -> str | None:
        """The loop that it enters and does not end in; None where it keeps to one, or to none.

        What runs in a loop can plant such a link: it would run on the host what a person means to run inside.
        """
        if self.entered is not None:
            return None if self.found is not None and self.found[0] == self.entered else self.entered
        end = self.found[0] if self.found is not None else self.beside
        return self.crossed if self.crossed != end else None


def whereabouts(loops: Path, path: Path, is_loop_id: Callable[[str], bool]) -> Whereabouts:
    """Follow a path once.

    Args:
        loops: The folder of all loops.
        path: A path; a relative one begins in the folder of this process.
        is_loop_id: Whether a name is that of a loop's folder.

    Raises:
        FileNotFoundError: It is relative, and this process runs in a folder that was deleted.
    """
    real = real_path(loops)
    entered = crossed = None
    parts: tuple[str, ...] = ()
    for folder in followed(path):
        parts = folder.relative_to(real).parts if folder.is_relative_to(real) else ()
        if len(parts) >= _IN_LOOP and is_loop_id(parts[0]):
            crossed = crossed or parts[0]
            if parts[1] == "workdir":
                entered = entered or parts[0]
    if not parts or not is_loop_id(parts[0]):
        return Whereabouts(entered, crossed)
    if parts[1:2] == ("workdir",):
        return Whereabouts(entered, crossed, found=(parts[0], Path(*parts[2:])))
    return Whereabouts(entered, crossed, beside=parts[0])


def followed(path: Path) -> Iterator[Path]:
    """Every folder that a path goes through, without links, and at last where it leads, whether that is there or not.

    Args:
        path: A path; a relative one begins in the folder of this process.

    Raises:
        FileNotFoundError: It is relative, and this process runs in a folder that was deleted.
    """
    names = _names(path if path.is_absolute() else f"{os.getcwd()}/{path}")  # noqa: PTH109 - a text
    real, links = Path("/"), 0
    yield real
    while names:
        name = names.pop()
        if name == "..":
            real = real.parent
            yield real
            continue
        try:
            target = os.readlink(real / name) if links < _MOST_LINKS else ""  # noqa: PTH115 - a text
        except OSError:
            # It is no link, is not there, or cannot be: its name may be too long.
            target = ""
        if target:
            links += 1
            names += _names(target)
            real = Path("/") if target.startswith("/") else real
        else:
            real /= name
        yield real


def _names(path: str | Path) -> list[str]:
    """The names that a path is made of, the last one first."""
    return [name for name in reversed(str(path).split("/")) if name not in ("", ".")]
