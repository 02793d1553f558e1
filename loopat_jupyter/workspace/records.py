"""Loop records: one `meta.json` per loop, written whole or not at all, unreadable ones set aside and named."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import re
import shutil
import unicodedata
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from loopat_jupyter.errors import (
    BadInputError,
    ConfigurationError,
    LoopatError,
    NotFoundError,
    StorageFullError,
    UnreadableRecordError,
)
from loopat_jupyter.models import RECORD_SCHEMA, LoopConfig, LoopRecord
from loopat_jupyter.workspace.acceptable import check_image, check_metadata, check_title, is_image
from loopat_jupyter.workspace.changes import tell
from loopat_jupyter.workspace.files import failed_write_told, full_disk_told, read_untrusted, write_atomic
from loopat_jupyter.workspace.paths import Workspace, is_loop_id
from loopat_jupyter.workspace.plugins import SKILL_FOLDER
from loopat_jupyter.workspace.unmade import note_unmade
from loopat_jupyter.workspace.walking import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MIRROR = re.compile(r"[a-z0-9][a-z0-9-]*\.git\Z")
_RECORD_MAX_BYTES = 256 * 1024
_SLUG_MAX = 40
_SAME_MOMENT = datetime.timedelta(seconds=1)


class Stamp(NamedTuple):
    """A loop found on disk, before its record is read."""

    last_activity_ns: int
    loop_id: str


class LoopStore:
    """Reads and writes the records of one workspace.

    Args:
        workspace: Where they are.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def create(self, record: LoopRecord) -> None:
        """Make an empty loop.

        Args:
            record: A record with an id of its own.

        Raises:
            StorageFullError: No space; nothing of the loop stays behind.
        """
        with self.making(record.id):
            self.write(record)

    @contextlib.contextmanager
    def making(self, loop_id: str) -> Iterator[None]:
        """Make the folders of a new loop; the block fills them and writes the record last.

        A half-made loop is never listed, for it has no record. If the block fails, nothing of the loop stays behind.

        Args:
            loop_id: An id of its own.

        Raises:
            BadInputError: The folder of all loops cannot be written.
            StorageFullError: No space.
        """
        try:
            self.begin(loop_id)
            with full_disk_told(self.workspace.loop(loop_id)):
                yield
        except BaseException:
            self.abandon(loop_id)
            raise

    def begin(self, loop_id: str) -> None:
        """Make the folders of a new loop; whoever fails to fill them and to write its record calls `abandon`.

        Args:
            loop_id: An id of its own.

        Raises:
            BadInputError: The folder of all loops cannot be written.
            StorageFullError: No space.
        """
        folder = self.workspace.loop(loop_id)
        try:
            with full_disk_told(folder):
                # Work, logins and keys lie below: other users of the machine do not enter.
                folder.mkdir(mode=0o700, parents=True)
                self.workspace.workdir(loop_id).mkdir()
                # Otherwise podman would make this folder, for somebody who is nobody on the host.
                (self.workspace.agent_config(loop_id) / SKILL_FOLDER).mkdir(parents=True)
                self._seed_home(loop_id)
                note_unmade(self.workspace, loop_id)
        except PermissionError as error:
            if os.access(self.workspace.loops, os.W_OK | os.X_OK):
                raise
            raise BadInputError(
                "LOOPAT_HOME",
                f"no loop can be made in {self.workspace.loops}: {error.strerror}. Make it writable for you.",
            ) from error

    def abandon(self, loop_id: str) -> None:
        """Remove what there is of a loop that no sandbox has seen."""
        remove_tree(self.workspace.loop(loop_id))

    def _seed_home(self, loop_id: str) -> None:
        home = self.workspace.loop_home(loop_id)
        if self.workspace.skeleton.is_dir():
            try:
                shutil.copytree(self.workspace.skeleton, home, symlinks=True)
            except shutil.Error as error:
                raise _seed_failure(self.workspace.skeleton, error) from error
        else:
            home.mkdir()

    def write(self, record: LoopRecord) -> None:
        """Replace the record on disk.

        Raises:
            BadInputError: It is so long that nobody would read it again; the old record stands.
            StorageFullError: No space; the old record stands.
        """
        data = msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
        if len(data) > _RECORD_MAX_BYTES:
            raise BadInputError(
                "config",
                f"the loop's settings and all that is noted of it would have {len(data)} bytes, and may have "
                f"{_RECORD_MAX_BYTES}. Give it fewer or shorter variables",
            )
        write_atomic(self.workspace.record(record.id), data)
        tell(self.workspace, record.id)

    def read(self, loop_id: str) -> LoopRecord:
        """The record of one loop.

        Args:
            loop_id: As it came from outside; anything but the id of a loop is "not found".

        Raises:
            NotFoundError: There is no such loop.
            UnreadableRecordError: The record is damaged or written by a newer version.
        """
        if not is_loop_id(loop_id):
            raise NotFoundError(f"There is no loop {loop_id[:80]!r}. `jupyter loopat list` shows the loops.")
        path = self.workspace.record(loop_id)
        try:
            data = read_untrusted(path, limit_bytes=_RECORD_MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise _unknown(loop_id) from None
        except OSError as error:
            raise _set_aside(path, loop_id, f"cannot be read: {error.strerror}.") from error
        return _decode(data, path, loop_id)

    def matching(self, reference: str) -> list[LoopRecord]:
        """Loops that a person may mean, the last used first: by id, by the start of an id, by slug or by title.

        None of these goes before another: a title that looks like an id must not stand for the loop with that id.

        Args:
            reference: What the person wrote.

        Raises:
            NotFoundError: Nothing matches.
            UnreadableRecordError: The record of the loop with this id is damaged.
        """
        if is_loop_id(reference):
            return [self.read(reference)]
        matches = [
            record
            for record in self.readable()
            if reference in (record.slug, record.title) or (len(reference) >= 4 and record.id.startswith(reference))
        ]
        if not matches:
            raise NotFoundError(f"There is no loop {reference[:80]!r}. `jupyter loopat list` shows the loops.")
        return matches

    def any(self) -> bool:
        """Whether there is any loop, or what was one."""
        try:
            with os.scandir(self.workspace.loops) as entries:
                return next(entries, None) is not None
        except FileNotFoundError:
            return False

    def stamp(self, loop_id: str) -> Stamp | None:
        """When a loop was last used; None where it has no record."""
        try:
            # Ten thousand paths are looked at in a row.
            return Stamp(os.stat(f"{self.workspace.loops}/{loop_id}/meta.json").st_mtime_ns, loop_id)  # noqa: PTH116
        except OSError:
            return None

    def stamps(self) -> list[Stamp]:
        """Every loop on disk, newest activity first. Reads no record: one `stat` per loop."""
        return sorted(filter(None, map(self.stamp, self.workspace.loop_ids())), reverse=True)

    def readable(self) -> Iterator[LoopRecord]:
        """Every record that can be read, newest activity first."""
        for stamp in self.stamps():
            try:
                yield self.read(stamp.loop_id)
            except (UnreadableRecordError, NotFoundError):
                continue

    def problems(self) -> dict[str, str]:
        """What is wrong with the records that cannot be read, by loop id."""
        found = {}
        for stamp in self.stamps():
            try:
                self.read(stamp.loop_id)
            except UnreadableRecordError as error:
                found[stamp.loop_id] = error.message
            except NotFoundError:
                continue
        return found

    def last_activity(self, loop_id: str) -> datetime.datetime:
        """When the loop was last used: the record's modification time.

        Raises:
            NotFoundError: It was deleted meanwhile.
        """
        try:
            seconds = self.workspace.record(loop_id).stat().st_mtime
        except FileNotFoundError:
            raise _unknown(loop_id) from None
        return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)

    def put_away(self, loop_id: str) -> Path:
        """Make a loop deleted, whoever is killed from then on. Nothing happens when there is none.

        Args:
            loop_id: The loop; nothing runs in it.

        Returns:
            What is left to remove.

        Raises:
            StorageRefusedError: The file system is read-only.
        """
        folder, left = self.workspace.loop(loop_id), self.workspace.deleted(loop_id)
        with failed_write_told(folder), contextlib.suppress(FileNotFoundError):
            folder.rename(left)
            # On a full disk, that files go counts most.
            with contextlib.suppress(OSError), self._deleted_ids.open("a", encoding="ascii") as file:
                file.write(f"{loop_id}\n")
        return left

    @property
    def _deleted_ids(self) -> Path:
        return self.workspace.home / "deleted-loops"

    def was_deleted(self, folder: str) -> bool:
        """Whether a loop is gone that was called by a folder's name: `SLUG-` and the beginning of its id, or that.

        Args:
            folder: A name.
        """
        ids = ""
        with contextlib.suppress(FileNotFoundError):
            ids = self._deleted_ids.read_text(encoding="ascii", errors="replace")
        wanted = folder if is_loop_id(folder) else folder.rpartition("-")[2]
        return bool(wanted) and f"\n{wanted}" in f"\n{ids}"

    def touch(self, loop_id: str, at: datetime.datetime | None = None) -> None:
        """Note that the loop was used.

        Args:
            loop_id: The loop.
            at: When; by default just now. What is noted already, give or take a second, stays.

        Raises:
            NotFoundError: It was deleted meanwhile.
            StorageRefusedError: The file system is read-only.
        """
        if at is not None and at - self.last_activity(loop_id) < _SAME_MOMENT:
            return
        try:
            with failed_write_told(self.workspace.record(loop_id)):
                os.utime(self.workspace.record(loop_id), None if at is None else (at.timestamp(), at.timestamp()))
        except FileNotFoundError:
            raise _unknown(loop_id) from None
        tell(self.workspace, loop_id)


def _seed_failure(skeleton: Path, error: shutil.Error) -> LoopatError:
    """What `copytree` collects of many files, as the one thing that a person can do about it."""
    (_, _, first), *_ = error.args[0]
    if os.strerror(errno.ENOSPC) in str(first) or os.strerror(errno.EDQUOT) in str(first):
        return StorageFullError(f"No space left to copy {skeleton}. Free some space and try again.")
    return ConfigurationError(f"{skeleton} cannot be copied into a new loop: {first}. Fix the file and try again.")


def _unknown(loop_id: str) -> NotFoundError:
    return NotFoundError(f"There is no loop {loop_id}. `jupyter loopat list` shows the loops.")


def _set_aside(path: Path, loop_id: str, problem: str) -> UnreadableRecordError:
    return UnreadableRecordError(
        f"The record {path} of loop {loop_id} {problem} The loop's files are untouched. "
        f"Restore the record from a backup, or delete the loop: jupyter loopat rm {loop_id}"
    )


def _decode(data: bytes, path: Path, loop_id: str) -> LoopRecord:
    class Versioned(msgspec.Struct):
        schema: int

    if len(data) > _RECORD_MAX_BYTES:
        raise _set_aside(path, loop_id, f"is larger than {_RECORD_MAX_BYTES} bytes.")
    try:
        version = msgspec.json.decode(data, type=Versioned).schema
        if version > RECORD_SCHEMA:
            raise _set_aside(
                path, loop_id, f"was written by a newer version (schema {version}, this one knows {RECORD_SCHEMA})."
            )
        record = msgspec.json.decode(data, type=LoopRecord)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _set_aside(path, loop_id, f"is damaged: {error}.") from error
    if record.image is not None and not is_image(record.image):
        raise _set_aside(path, loop_id, f"names an image that is none: {record.image[:80]!r}.")
    if record.mirror is not None and not _MIRROR.match(record.mirror):
        raise _set_aside(path, loop_id, f"names a copy of a repo that is none: {record.mirror[:80]!r}.")
    if record.id != loop_id:
        raise _set_aside(path, loop_id, f"names another loop: {record.id[:80]}.")
    return record


def new_record(
    *,
    title: str,
    created_by: str,
    now: datetime.datetime,
    image: str | None = None,
    config: LoopConfig | None = None,
    metadata: dict[str, Any] | None = None,
) -> LoopRecord:
    """A record for a new loop.

    Args:
        title: What the person calls it: 1 to 200 characters on one line.
        created_by: The member.
        now: Creation time.
        image: An image to use in place of the workspace's.
        config: The loop's own settings.
        metadata: Anything JSON, up to 16 KiB.

    Raises:
        BadInputError: A value is not acceptable; names the field.
    """
    title = check_title(title)
    check_metadata(metadata or {})
    if image is not None:
        check_image(image)
    return LoopRecord(
        id=str(uuid.uuid4()),
        title=title,
        slug=slugify(title),
        created_at=now,
        created_by=created_by,
        image=image,
        config=config or LoopConfig(),
        metadata=metadata or {},
    )


def slugify(title: str) -> str:
    """A short lower-case ASCII word for names; `loop` when nothing of the title can be written so."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_SLUG_MAX].rstrip("-") or "loop"


def folder_name(record: LoopRecord) -> str:
    """What a loop's folder is called in JupyterLab: short enough to be read, and no other loop's.

    Args:
        record: The loop.
    """
    return f"{record.slug}-{record.id[:8]}"
