"""`RuntimeFolders`: the folders that a sandbox needs on the host while it runs, whatever was done to them inside."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

from loopat_jupyter.errors import ConflictError
from loopat_jupyter.sandbox.entrance import make_entrance
from loopat_jupyter.sandbox.helpers import install
from loopat_jupyter.sandbox.plan import LAUNCHER, SANDBOX_RUN
from loopat_jupyter.sandbox.process import same_folder
from loopat_jupyter.sandbox.usage import in_use, in_words
from loopat_jupyter.workspace.files import full_disk_told

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.models import ContainerFacts
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.paths import Workspace

_REMOVE_TIMEOUT_S = 600.0


class RuntimeFolders:
    """Makes, checks and clears them.

    Args:
        workspace: Where they are.
        engine: Runs podman, whose user namespace reaches what root inside a sandbox left behind.
    """

    def __init__(self, workspace: Workspace, engine: Engine) -> None:
        self._workspace = workspace
        self._engine = engine

    def make(self, loop_id: str) -> None:
        """Parents of all bind targets and sources; a reboot wipes them, and what runs inside can lock them.

        Args:
            loop_id: The loop.

        Raises:
            StorageFullError: No space.
        """
        run = self._workspace.run(loop_id)
        install(self._workspace.helpers)
        with full_disk_told(self._workspace.runtime):
            for folder in (run, self._workspace.host(loop_id)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if run.stat().st_uid == os.getuid():
            run.chmod(0o700)

    async def clear_run(self, loop_id: str) -> None:
        """Begin with the entrance and nothing else: no stale sockets, no pid files. Only while nothing runs inside.

        Args:
            loop_id: The loop.

        Raises:
            EngineError: What is there cannot be removed.
            StorageFullError: No space.
        """
        run = self._workspace.run(loop_id)
        await self.remove(run)
        with full_disk_told(run):
            run.mkdir(mode=0o700)
            make_entrance(run)

    def connected(self, loop_id: str, init_pid: int) -> bool:
        """Whether a sandbox still sees the folders that the host sees and writes: without them nothing starts inside.

        Args:
            loop_id: The loop.
            init_pid: The sandbox's init process on the host.

        Raises:
            StorageFullError: No space for the helpers.
        """
        run = self._workspace.run(loop_id)
        writable = os.access(run, os.R_OK | os.W_OK | os.X_OK)
        install(self._workspace.helpers)
        return writable and has_launcher(init_pid) and same_folder(init_pid, SANDBOX_RUN, run)

    async def remove(self, folder: Path) -> None:
        """Remove a folder that sandboxes can write, whatever they left there. Nothing happens when there is none.

        Args:
            folder: The folder.

        Raises:
            EngineError: It cannot be removed; the message says why.
        """
        try:
            await asyncio.to_thread(shutil.rmtree, folder)
        except (OSError, RecursionError):
            if not os.path.lexists(folder):  # noqa: ASYNC240 - one look
                return
            # Root inside is a subordinate id outside: only the user namespace may remove its files. And what is
            # nested a thousand folders deep is too much for `rmtree` (Python before 3.13), though not for rm.
            await self._engine.run(
                "unshare", "rm", "-rf", "--", str(folder), timeout_s=_REMOVE_TIMEOUT_S, doing=f"remove {folder}"
            )


def cut_off(loop_id: str) -> ConflictError:
    """What to tell of a sandbox in use that has lost its runtime folder.

    Args:
        loop_id: The loop.
    """
    return ConflictError(
        f"The runtime folder of loop {loop_id} was removed while its sandbox ran, so nothing new can start in it. Save "
        f"what runs there, then recreate the sandbox: `jupyter loopat recreate {loop_id[:8]}`. Its files stay."
    )


def paused(title: str, name: str) -> ConflictError:
    """What to tell of a sandbox that somebody froze.

    Args:
        title: Of the loop.
        name: Of the container.
    """
    return ConflictError(
        f"The sandbox of {title!r} was paused by somebody. To go on with what runs in it, run `podman unpause {name}`."
    )


def refuse_busy(title: str, facts: ContainerFacts | None, run_folder: Path) -> None:
    """Refuse to end somebody's work without being told to.

    Args:
        title: What the loop is called.
        facts: Its container.
        run_folder: The runtime folder that it sees.

    Raises:
        ConflictError: Something runs in it; says what.
    """
    used = in_use({facts.pid: run_folder}) if facts is not None and facts.alive else {}
    if used:
        (counts,) = used.values()
        raise ConflictError(f"{in_words(counts)} of loop {title!r} would end. End that first, or force it (`--force`).")


def has_launcher(init_pid: int) -> bool:
    """Whether a sandbox still has our helpers: a privileged one has a view of its own of them, in no folder of ours.

    Args:
        init_pid: Its init process on the host.
    """
    return os.path.lexists(f"/proc/{init_pid}/root{LAUNCHER}")
