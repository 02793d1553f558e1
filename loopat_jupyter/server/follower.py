"""Notices what other processes did to the loops: a command line, another server.

A look costs one `stat` of the folder of loops, one for each folder in it that has no record yet, and a few small reads
per sandbox that was started since the machine was; the folder is listed again only when something in it was made or
removed.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.models import LoopEvent
from loopat_jupyter.sandbox.state import StateFiles
from loopat_jupyter.workspace.paths import is_runtime_key, runtime_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from loopat_jupyter.models import Progress
    from loopat_jupyter.workspace.paths import Workspace


class Seen(NamedTuple):
    """What the runtime notes say of one sandbox.

    Attributes:
        running: Its init process is alive.
        progress: What somebody is doing for it.
    """

    running: bool = False
    progress: Progress | None = None


NOTHING = Seen()


class View(NamedTuple):
    """What one look found on disk.

    Attributes:
        changed_ns: When something was last made or removed in the folder of loops; 0 without that folder.
        folders: Ids of all folders of loops; None when they are the same as at the look before.
        half_made: Those of them that are new and have no record yet.
        sandboxes: What the notes say, by the name of the loop's runtime folder.
    """

    changed_ns: int
    folders: frozenset[str] | None
    half_made: frozenset[str]
    sandboxes: Mapping[str, Seen]


GRACE_LOOKS = 10
"""How many looks this process's own work on a loop is left alone after its last step: it tells its end itself, unless
it was cancelled."""


def differences(before: Mapping[str, Seen], now: Mapping[str, Seen]) -> Iterator[LoopEvent]:
    """What happened between two looks.

    Args:
        before: What was seen, by loop id.
        now: What is seen now; a loop that is missing has no notes.
    """
    for loop_id in sorted(before.keys() | now.keys()):
        old, new = before.get(loop_id, NOTHING), now.get(loop_id, NOTHING)
        if new.progress is not None and new.progress != old.progress:
            yield LoopEvent(action="progress", loop_id=loop_id, state="preparing", progress=new.progress)
        elif new.running != old.running:
            yield LoopEvent(action="state", loop_id=loop_id, state="running" if new.running else "stopped")
        elif old.progress is not None and new.progress is None:
            # Work that came to nothing: whoever wants to know what is left has to ask.
            yield LoopEvent(action="state", loop_id=loop_id)


class Follower:
    """Tells of changes that this process did not make.

    Args:
        on_event: Told about each.
    """

    def __init__(self, on_event: Callable[[LoopEvent], None]) -> None:
        self._on_event = on_event
        self._loops: dict[str, str] | None = None
        """Ids by the name of their runtime folder; None before the first look."""
        self._half_made: frozenset[str] = frozenset()
        """Loops in the making, ones that are going, and what a crash left of either."""
        self._listed_ns = 0
        self._notes = 0
        """How many notes were taken."""
        self._seen: dict[str, Seen] = {}
        self._ours: dict[str, int] = {}
        """Loops that this process works on, with the looks that are left."""

    def note(self, event: LoopEvent) -> None:
        """Take note of what this process did itself, so that it is not told twice."""
        loop_id, old = event.loop_id, self._seen.get(event.loop_id, NOTHING)
        self._notes += 1
        if event.action == "progress":
            self._ours[loop_id] = GRACE_LOOKS
        elif event.action in ("state", "failed", "deleted"):
            self._ours.pop(loop_id, None)
        if event.action == "created" and self._loops is not None:
            # A new dictionary, because a look in another thread may be reading the present one.
            self._loops = {**self._loops, runtime_key(loop_id): loop_id}
            self._half_made -= {loop_id}
        elif event.action == "deleted":
            if self._loops is not None:
                self._loops = {key: other for key, other in self._loops.items() if other != loop_id}
            self._half_made -= {loop_id}
            self._seen.pop(loop_id, None)
        elif event.action == "progress":
            self._seen[loop_id] = Seen(old.running, event.progress)
        elif event.action == "state":
            self._seen[loop_id] = Seen(running=event.state == "running")
        elif event.action == "failed":
            self._seen[loop_id] = Seen(old.running)

    async def look(self, workspace: Workspace) -> None:
        """Look once. The first look tells nothing: it is what the others are compared with.

        The files are read in a thread, because they may be on a slow network; the rest happens on the event loop.

        Args:
            workspace: Whose loops.
        """
        notes = self._notes
        view = await asyncio.to_thread(_view, workspace, self._loops, self._half_made, self._listed_ns)
        if self._notes != notes:
            # This process did something meanwhile, so what was seen may be older than what is known.
            return
        first = self._loops is None
        for event in [*self._compare_folders(view), *self._compare_sandboxes(view)]:
            if not first:
                self._on_event(event)

    def _compare_folders(self, view: View) -> Iterator[LoopEvent]:
        self._listed_ns = view.changed_ns
        if view.folders is None and view.half_made == self._half_made:
            return
        known = set((self._loops or {}).values())
        found = (known | self._half_made if view.folders is None else view.folders) - view.half_made
        self._loops, self._half_made = {runtime_key(loop_id): loop_id for loop_id in found}, view.half_made
        for loop_id in sorted(found - known):
            yield LoopEvent(action="created", loop_id=loop_id)
        for loop_id in sorted(known - found):
            self._seen.pop(loop_id, None)
            yield LoopEvent(action="deleted", loop_id=loop_id)

    def _compare_sandboxes(self, view: View) -> Iterator[LoopEvent]:
        loops = self._loops or {}
        found = {loops[name]: seen for name, seen in view.sandboxes.items() if name in loops}
        for loop_id, looks in list(self._ours.items()):
            working = found.get(loop_id, NOTHING).progress is not None
            found[loop_id] = self._seen.get(loop_id, NOTHING)
            if not working and looks == 0:
                del self._ours[loop_id]
            elif not working:
                self._ours[loop_id] = looks - 1
        before, self._seen = self._seen, found
        return differences(before, found)


def _view(workspace: Workspace, loops: Mapping[str, str] | None, half_made: frozenset[str], listed_ns: int) -> View:
    """What stands on disk; compared with what was known, so that only what may have changed is read."""
    try:
        changed_ns = workspace.loops.stat().st_mtime_ns
    except FileNotFoundError:
        changed_ns = 0
    folders = workspace.loop_ids() if loops is None or changed_ns != listed_ns else None
    # The record is written last, so a new folder without one is no loop yet. The first look takes all as they are.
    if loops is None:
        half_made = frozenset()
    elif folders is not None:
        half_made = folders.difference(loops.values())
    without_record = frozenset(loop_id for loop_id in half_made if not workspace.record(loop_id).exists())
    sandboxes = {name: _notes(workspace.runtime / name / "host") for name in _started(workspace)}
    return View(changed_ns, folders, without_record, sandboxes)


def _started(workspace: Workspace) -> set[str]:
    try:
        with os.scandir(workspace.runtime) as entries:
            return {entry.name for entry in entries if is_runtime_key(entry.name)}
    except FileNotFoundError:
        return set()


def _notes(host_folder: Path) -> Seen:
    files = StateFiles(host_folder)
    return Seen(files.running() is not None, files.progress())
