"""`loopat-promote` inside a loop asks; a process of the host takes the request and answers.

Requests lie in the loop's runtime folder, which the sandbox can write. A request is read without following anything,
and taken by removing it, which one process alone can. A file says then which process: if that ends without an answer,
another one gives it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.context.origins import check_kind
from loopat_jupyter.errors import BadInputError, StorageFullError
from loopat_jupyter.sandbox.state import start_ticks
from loopat_jupyter.workspace.files import read_untrusted, write_new

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.models import ContextKind

LARGEST_REQUEST_BYTES = 64 * 1024
MOST_WAITING = 8
"""Requests of one loop that wait for their turn; whoever asks beyond that is told to ask again later."""

CUT_SHORT = "This was cancelled on the host, or Jupyter ended there. Try again: nothing is done twice."

_TRY_AGAIN = 75
"""EX_TEMPFAIL of sysexits(3)."""

_MOST_SEEN = 1000
_NAME = re.compile(r"ask-([0-9a-f]{24})\Z")
_TAKEN = re.compile(r"taken-([0-9a-f]{24})\.([0-9]{1,9})\.([0-9]{1,19})\Z")


class Request(NamedTuple):
    """What somebody inside asks for.

    Attributes:
        name: Names the answer.
        kind: The context.
        message: Of the commit.
    """

    name: str
    kind: ContextKind
    message: str


class Waiting(NamedTuple):
    """The requests in a loop: the first ones, however many there are.

    Attributes:
        asked: Names of those that nobody has taken.
        abandoned: File names of those that somebody took who is gone.
    """

    asked: tuple[str, ...] = ()
    abandoned: tuple[str, ...] = ()


def waiting(run: Path) -> Waiting:
    """What somebody in a loop waits for.

    Args:
        run: The loop's runtime folder that its sandbox sees.
    """
    names = []
    with contextlib.suppress(FileNotFoundError, PermissionError), os.scandir(run) as entries:
        names = [entry.name for entry in itertools.islice(entries, _MOST_SEEN) if entry.is_file(follow_symlinks=False)]
    taken = filter(None, map(_TAKEN.match, names))
    return Waiting(
        asked=tuple(match[1] for match in map(_NAME.match, names) if match),
        abandoned=tuple(match[0] for match in taken if start_ticks(int(match[2])) != int(match[3])),
    )


def give_up(run: Path, taken: str) -> None:
    """Answer for somebody who took a request and is gone; of all who try, one does.

    Args:
        run: The loop's runtime folder that its sandbox sees.
        taken: A file name, as `waiting` answered.
    """
    name, *_ = taken.removeprefix("taken-").split(".")
    with contextlib.suppress(OSError):
        (run / taken).unlink()
        answer(run, name, code=_TRY_AGAIN, text=CUT_SHORT)


def take(run: Path, name: str) -> Request | None:
    """Take a request, so that nobody else does.

    Args:
        run: The loop's runtime folder that its sandbox sees. Nothing of it is moved anywhere.
        name: As `waiting` answered.

    Returns:
        The request; None where somebody else has it, or it is none.

    Raises:
        BadInputError: It was taken and makes no sense; whoever asked should be told so.
    """
    path = run / f"ask-{name}"
    try:
        try:
            data = read_untrusted(path, limit_bytes=LARGEST_REQUEST_BYTES + 1)
        except PermissionError:
            data = b""
        # Of all who have read it, one can remove it. A folder in its place cannot be.
        path.unlink()
    except OSError:
        return None
    with contextlib.suppress(OSError, StorageFullError):
        write_new(run / _taken(name), b"")
    if len(data) > LARGEST_REQUEST_BYTES:
        raise BadInputError("message", f"must be at most {LARGEST_REQUEST_BYTES} bytes")
    kind, _, message = data.decode("utf-8", "replace").partition("\0")
    return Request(name, check_kind(kind), message.partition("\0")[0].strip())


def answer(run: Path, name: str, *, code: int, text: str) -> None:
    """Tell who asked.

    Args:
        run: The loop's runtime folder that its sandbox sees.
        name: Of the request.
        code: The exit code.
        text: What to tell the person.
    """
    # Whoever asked may be gone, and the folder with it; what lies there in our place is theirs.
    with contextlib.suppress(OSError, StorageFullError):
        write_new(run / f"said-{name}", f"{code}\n{text}\n".encode())
    with contextlib.suppress(OSError):
        (run / _taken(name)).unlink()


def _taken(name: str) -> str:
    pid = os.getpid()
    return f"taken-{name}.{pid}.{start_ticks(pid)}"
