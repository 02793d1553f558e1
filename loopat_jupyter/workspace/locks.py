"""A lock between processes that dies with its holder."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from loopat_jupyter.errors import EngineTimeoutError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.1
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@contextlib.asynccontextmanager
async def file_lock(
    path: Path, *, timeout_s: float, what: str, on_wait: Callable[[], object] = lambda: None
) -> AsyncIterator[None]:
    """Hold an exclusive lock on `path` while the block runs.

    The kernel frees a `flock` when its last descriptor closes, so a killed holder leaves nothing behind. Descriptors
    are not inherited by child processes (PEP 446). Waiting does not block the event loop and can be cancelled.

    Args:
        path: The lock file; it is made, and removed only by who holds it.
        timeout_s: How long to wait for another holder.
        what: What the lock guards, for the message.
        on_wait: Called where somebody else holds it, before it is waited for.

    Raises:
        EngineTimeoutError: Another process held the lock the whole time.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    while True:
        descriptor = os.open(path, _FLAGS, 0o600)
        try:
            await _acquire(descriptor, deadline, timeout_s, what, on_wait)
            # Its last holder may have removed the file while we waited: then others lock another one by now.
            if is_at(descriptor, path):
                yield
                return
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def thread_lock(path: Path, *, timeout_s: float, what: str) -> Iterator[None]:
    """`file_lock` for what does not run on an event loop: waiting blocks this thread.

    Args:
        path: The lock file; it is made, and never removed.
        timeout_s: How long to wait for another holder.
        what: What the lock guards, for the message.

    Raises:
        EngineTimeoutError: Somebody else held the lock the whole time.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        while not _acquired(descriptor, deadline, timeout_s, what):
            time.sleep(_FIRST_PAUSE_S)
        yield
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def loop_lock(workspace: Workspace, loop_id: str, *, timeout_s: float) -> AsyncIterator[None]:
    """The lock under which everything about one loop changes. Its file goes with the loop, whoever is last to see it.

    Args:
        workspace: The loop's workspace.
        loop_id: The loop.
        timeout_s: How long to wait for another holder.

    Raises:
        EngineTimeoutError: Another process held the lock the whole time.
    """
    path = workspace.locks / f"{loop_id}.lock"
    async with file_lock(path, timeout_s=timeout_s, what=f"loop {loop_id}"):
        try:
            yield
        finally:
            if not os.path.lexists(workspace.loop(loop_id)):  # noqa: ASYNC240 - one look
                # Who waits for it goes on with a new one.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)  # noqa: PTH108 - one system call


def mirror_lock(
    workspace: Workspace, name: str, *, timeout_s: float, on_wait: Callable[[], object] = lambda: None
) -> contextlib.AbstractAsyncContextManager[None]:
    """The lock under which the copy of a repo changes.

    Args:
        workspace: Where it is.
        name: Its folder name.
        timeout_s: How long to wait for another holder.
        on_wait: Called where somebody else holds it, before it is waited for.
    """
    path, what = workspace.locks / f"mirror-{name}.lock", f"the copy {name} of a repo"
    return file_lock(path, timeout_s=timeout_s, what=what, on_wait=on_wait)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at a path: somebody may have removed it, and others have made another one.

    Args:
        descriptor: Of the file.
        path: Where it was.
    """
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


async def _acquire(
    descriptor: int, deadline: float, timeout_s: float, what: str, on_wait: Callable[[], object]
) -> None:
    pause_s = _FIRST_PAUSE_S
    while not _acquired(descriptor, deadline, timeout_s, what):
        if pause_s == _FIRST_PAUSE_S:
            on_wait()
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _acquired(descriptor: int, deadline: float, timeout_s: float, what: str) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if time.monotonic() >= deadline:
            raise EngineTimeoutError(
                f"Another process has been busy with {what} for {timeout_s:.0f} s. Wait for it, or end it."
            ) from None
        return False
    return True
