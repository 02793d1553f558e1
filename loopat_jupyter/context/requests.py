"""`loopat-promote` inside a loop asks; a process of the host takes the request and answers.

Requests lie in the loop's runtime folder, which the sandbox can write. A request is read without following anything,
and taken by removing it, which one process alone can.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.context.origins import check_kind
from loopat_jupyter.errors import BadInputError, StorageFullError
from loopat_jupyter.workspace.files import read_untrusted, write_new

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.models import ContextKind

LARGEST_REQUEST_BYTES = 64 * 1024
MOST_WAITING = 8
"""Requests of one loop that wait for their turn; whoever asks beyond that is told to ask again later."""

_MOST_SEEN = 1000
_NAME = re.compile(r"ask-([0-9a-f]{24})\Z")


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


def waiting(run: Path) -> list[str]:
    """Names of the requests that wait in a loop: the first ones, however many there are.

    Args:
        run: The loop's runtime folder that its sandbox sees.
    """
    found = []
    with contextlib.suppress(FileNotFoundError, PermissionError), os.scandir(run) as entries:
        for entry in itertools.islice(entries, _MOST_SEEN):
            match = _NAME.match(entry.name)
            if match and entry.is_file(follow_symlinks=False):
                found.append(match[1])
    return found


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
