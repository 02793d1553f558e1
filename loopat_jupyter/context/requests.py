"""`loopat-promote` inside a loop asks; a process of the host takes the request and answers.

Requests lie in the loop's runtime folder, which the sandbox can write. A request is taken by moving it out of there, so
that one process takes it, and read without following anything.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.context.origins import check_kind
from loopat_jupyter.errors import BadInputError
from loopat_jupyter.workspace.files import read_untrusted, write_new

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.models import ContextKind

LARGEST_REQUEST_BYTES = 64 * 1024
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


def claim(run: Path, host: Path) -> list[Request]:
    """Take the requests that nobody has taken yet. What is none is thrown away.

    Args:
        run: The loop's runtime folder that its sandbox sees.
        host: The one that it does not see, on the same file system.
    """
    found = []
    try:
        names = [entry.name for entry in os.scandir(run) if _NAME.match(entry.name)]
    except (FileNotFoundError, PermissionError):
        return []
    for name in names:
        taken = host / name
        try:
            (run / name).rename(taken)
            data = read_untrusted(taken, limit_bytes=LARGEST_REQUEST_BYTES)
        except OSError:
            # Somebody else was faster, or it is a folder.
            continue
        finally:
            with contextlib.suppress(OSError):
                taken.unlink(missing_ok=True)
        with contextlib.suppress(BadInputError):
            found.append(_decode(name.removeprefix("ask-"), data))
    return found


def _decode(name: str, data: bytes) -> Request:
    kind, _, message = data.decode("utf-8", "replace").partition("\0")
    return Request(name, check_kind(kind), message.partition("\0")[0].strip())


def answer(run: Path, request: Request, *, code: int, text: str) -> None:
    """Tell who asked.

    Args:
        run: The loop's runtime folder that its sandbox sees.
        request: What was asked.
        code: The exit code.
        text: What to tell the person.
    """
    # Whoever asked may be gone, and the folder with it; what lies there in our place is theirs.
    with contextlib.suppress(FileExistsError, FileNotFoundError, PermissionError):
        write_new(run / f"said-{request.name}", f"{code}\n{text}\n".encode())
