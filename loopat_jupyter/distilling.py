"""`Distillation`: the step of a new loop that begins with what another loop left behind.

Its workdir holds a snapshot of the other loop's notebooks and of what was typed there, and instructions for whoever
makes something lasting of it, a person or an agent. The other loop is only read, and nothing in it is followed or run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from loopat_jupyter.deadlines import in_thread
from loopat_jupyter.errors import BadInputError, UnsafePathError
from loopat_jupyter.models import Progress
from loopat_jupyter.workspace.files import full_disk_told
from loopat_jupyter.workspace.nofollow import opened_folder
from loopat_jupyter.workspace.walking import MOST_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loopat_jupyter.models import LoopRecord, NewLoop
    from loopat_jupyter.workspace.paths import Workspace
    from loopat_jupyter.workspace.records import LoopStore

MOST_FILES = 2000
MOST_BYTES = 200 * 2**20
"""A snapshot is for reading; what is larger is data, and stays where it is."""

_LEFT_OUT = frozenset((".ipynb_checkpoints", ".git", "node_modules", ".venv", "__pycache__"))
_PIECE_BYTES = 1024 * 1024
_TYPED = (".bash_history", ".local/share/fish/fish_history", ".ipython/profile_default/history.sqlite")
"""What people typed, relative to the home of the loop."""

_INSTRUCTIONS = """\
# What this loop is for

`notebooks/` and `history/` are a snapshot of the loop "{title}" ({loop_id}), taken on {date}. They are copies: change
and delete them as you like.

Make of them what others can use:

1. Read the notebooks in the order of their dates, and `history/` for what was tried and given up.
2. Say in `SUMMARY.md` what was asked, what was found, and how sure it is. Name the cell that shows each finding.
3. Turn what is worth running again into one clean notebook or module with a test, without what did not work.
4. Write what everybody should know into `/loopat/context/notes`, and promote it: `loopat-promote notes`.
"""


class Piece(NamedTuple):
    """A file to copy.

    Attributes:
        folder: Descriptor of the folder that it is in; open while it is the current one.
        name: Its name there.
        target: Where it goes, relative to the new loop's workdir.
    """

    folder: int
    name: str
    target: Path


class Distillation:
    """Begins a loop with what another one left behind.

    Args:
        workspace: Where the loops are.
        store: Their records.
    """

    def __init__(self, workspace: Workspace, store: LoopStore) -> None:
        self._workspace = workspace
        self._store = store

    def check(self, new: NewLoop) -> None:
        """Refuse a loop that is not there.

        Raises:
            BadInputError: A repo is asked for as well: its files could be links to anywhere, and in the way.
            NotFoundError: There is no such loop.
        """
        if new.distill is not None and new.repo is not None:
            raise BadInputError("distill", "cannot be combined with a repo: make two loops")
        if new.distill is not None:
            self._store.read(new.distill)

    async def apply(self, new: NewLoop, record: LoopRecord, tell: Callable[[Progress], None]) -> LoopRecord:
        """Copy the snapshot and write the instructions.

        Raises:
            NotFoundError: The other loop was deleted meanwhile.
            StorageFullError: No space.
        """
        if new.distill is None:
            return record
        other = self._store.read(new.distill)
        tell(Progress(label=f"copying notebooks of {other.title}"))
        workdir = self._workspace.workdir(record.id)
        complete = await in_thread(self._copy, other.id, workdir)
        text = _INSTRUCTIONS.format(title=other.title, loop_id=other.id, date=f"{record.created_at:%Y-%m-%d}")
        with full_disk_told(workdir):
            (workdir / "CLAUDE.md").write_text(text, encoding="utf-8")
            (workdir / "INSTRUCTIONS.md").symlink_to("CLAUDE.md")
        warning = (
            f"The snapshot holds a part of {other.title!r} only: at most {MOST_FILES} files and {MOST_BYTES // 2**20} "
            f"MiB, none below {MOST_LEVELS} folders or with a very long path, and none that was locked inside."
        )
        return record if complete else msgspec.structs.replace(record, warnings=(*record.warnings, warning))

    def _copy(self, loop_id: str, workdir: Path) -> bool:
        """Copy what there is to copy; False when there is more than fits."""
        size_bytes = 0
        left_out: list[str] = []
        for count, piece in enumerate(self._pieces(loop_id, left_out), start=1):
            try:
                size_bytes += _copy_plain(piece, workdir, MOST_BYTES - size_bytes)
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                left_out.append(piece.name)
            if count >= MOST_FILES or size_bytes >= MOST_BYTES:
                return False
        return not left_out

    def _pieces(self, loop_id: str, left_out: list[str]) -> Iterator[Piece]:
        yield from _files(self._workspace.workdir(loop_id), Path("notebooks"), ".ipynb", left_out)
        home = self._workspace.loop_home(loop_id)
        for path in map(Path, _TYPED):
            with (
                contextlib.suppress(OSError, UnsafePathError),
                opened_folder(home.parent, home.name, *path.parent.parts) as folder,
            ):
                yield Piece(folder, path.name, Path("history", path.name.lstrip(".")))
        yield from _files(
            self._workspace.agent_config(loop_id) / "projects", Path("history", "agents"), ".jsonl", left_out
        )


def _files(top: Path, target: Path, suffix: str, left_out: list[str]) -> Iterator[Piece]:
    """The files of one kind below a folder, in a fixed order; no symlink is followed. There may be no such folder.

    Folders that are nested too deeply, or locked, are not entered, and noted.
    """
    if top.is_symlink() or not top.is_dir():
        return
    if not os.access(top, os.R_OK | os.X_OK):
        # It was locked from inside.
        left_out.append(top.name)
        return
    for parent, folders, names, descriptor in os.fwalk(top, follow_symlinks=False):
        folders[:] = sorted(set(folders) - _LEFT_OUT)
        if folders and len(Path(parent).relative_to(top).parts) >= MOST_LEVELS:
            left_out += folders
            folders.clear()
        for name in sorted(names):
            if name.endswith(suffix):
                yield Piece(descriptor, name, target / Path(parent).relative_to(top) / name)


def _copy_plain(piece: Piece, workdir: Path, limit_bytes: int) -> int:
    """Copy one plain file; its size. What is none, or too large, or gone, is left out."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        source = os.open(piece.name, flags, dir_fd=piece.folder)
    except OSError:
        return 0
    with open(source, "rb") as file:
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit_bytes:
            return 0
        target = workdir / piece.target
        with full_disk_told(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as copy:
                # No more than was there: it may grow meanwhile, without end.
                left_bytes = status.st_size
                while left_bytes and (data := file.read(min(left_bytes, _PIECE_BYTES))):
                    copy.write(data)
                    left_bytes -= len(data)
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    return status.st_size
