"""Commands, kernels and who runs them: one whose caller was killed is found and ended by whoever looks next.

A caller that ends as it should ends what it began itself. One that is killed cannot; so it is noted beforehand, in the
loop's host-only runtime folder, and believed to live only as long as its very process does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.errors import StorageRefusedError
from loopat_jupyter.models import Value
from loopat_jupyter.sandbox.process import Stem, find_process, stat_fields
from loopat_jupyter.sandbox.session import end_members
from loopat_jupyter.sandbox.state import start_ticks
from loopat_jupyter.sandbox.trees import end_tree
from loopat_jupyter.workspace.files import read_untrusted, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST_CONNECTION_BYTES = 64 * 1024


class _Owner(Value, frozen=True):
    pid: int
    start_ticks: int
    sockets: str | None = None
    """Other files that go with it, as a stem."""
    connection_file: str | None = None
    """What the program wrote for itself about a kernel, wherever that lies."""


@contextlib.contextmanager
def owned(stem: Stem) -> Iterator[None]:
    """While the block runs, a command belongs to this process.

    Args:
        stem: The command's files.
    """
    own(stem)
    try:
        yield
    finally:
        release(stem)


def own(stem: Stem, *, sockets: str | None = None, connection_file: str | None = None) -> None:
    """From now on, what was started with a stem is to end with this process, or with who owns it next.

    Args:
        stem: Its files.
        sockets: What names of its sockets begin with, where that is something else.
        connection_file: Where this program notes how a kernel is reached.
    """
    file = _folder(stem.folder) / stem.name
    owner = _Owner(os.getpid(), start_ticks(os.getpid()), sockets, connection_file)
    # Where it cannot be written, the files of what is to start cannot either, and that is told.
    with contextlib.suppress(OSError, StorageRefusedError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(file, msgspec.json.encode(owner), lasting=False)


def release(stem: Stem) -> None:
    """What was started with a stem belongs to nobody, or has ended.

    Args:
        stem: Its files.
    """
    (_folder(stem.folder) / stem.name).unlink(missing_ok=True)


async def end_orphans(run_folder: Path, init_pid: int) -> list[str]:
    """End the commands and kernels of a loop whose callers were killed.

    Args:
        run_folder: The loop's runtime directory on the host.
        init_pid: The sandbox's init process on the host.

    Returns:
        Names of those that were ended.
    """
    ended = []
    for file, owner in _orphans(run_folder):
        stem = Stem(run_folder, file.name)
        stem.call_off()
        pid_inside = stem.pid_inside()
        process = None if pid_inside is None else await asyncio.to_thread(find_process, init_pid, pid_inside)
        if process is not None:
            await end_tree(process)
            ended.append(stem.name)
        await end_members(stem, init_pid)
        for left in filter(None, (stem.name, owner.sockets)):
            Stem(run_folder, left).remove()
        _remove_connection_file(owner)
        file.unlink(missing_ok=True)
    return ended


def _remove_connection_file(owner: _Owner) -> None:
    """Remove what a killed program wrote for itself, if it still tells of this kernel."""
    if owner.connection_file and owner.sockets:
        with contextlib.suppress(OSError):
            text = read_untrusted(Path(owner.connection_file), limit_bytes=_LARGEST_CONNECTION_BYTES)
            if owner.sockets.encode() in text:
                Path(owner.connection_file).unlink()


def orphans(run_folder: Path) -> list[str]:
    """Names of what was started in a loop by somebody who was killed.

    Args:
        run_folder: The loop's runtime directory on the host.
    """
    return [file.name for file, _ in _orphans(run_folder)]


def _orphans(run_folder: Path) -> list[tuple[Path, _Owner]]:
    found = []
    with contextlib.suppress(FileNotFoundError):
        for file in _folder(run_folder).iterdir():
            with contextlib.suppress(OSError, msgspec.DecodeError):
                owner = msgspec.json.decode(file.read_bytes(), type=_Owner)
                # One that has ended holds nothing, though its parent has yet to hear of it.
                if start_ticks(owner.pid) != owner.start_ticks or stat_fields(owner.pid)[:1] == [b"Z"]:
                    found.append((file, owner))
    return found


def _folder(run_folder: Path) -> Path:
    """Beside the runtime directory, where no sandbox can write."""
    return run_folder.parent / "host" / "owners"
