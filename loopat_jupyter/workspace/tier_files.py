"""Reads tiers from disk, and lays what they were composed to into a new loop.

A tier may lie where a sandbox or somebody else writes: no symlink in it is followed, nothing but plain files is read,
and there is a limit to each file and to all of them. What cannot be read becomes a sentence for the person, and the
rest of the tier counts.
"""

from __future__ import annotations

import functools
import os
import stat
import tomllib
from typing import TYPE_CHECKING, Any

import msgspec
import tomli_w

from loopat_jupyter.workspace.files import full_disk_told, write_new
from loopat_jupyter.workspace.plugins import SKILL_FOLDER
from loopat_jupyter.workspace.tiers import FOLDERS, Section, Tier, TierFile, toolchain, written
from loopat_jupyter.workspace.walking import MOST_LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LARGEST_FILE_BYTES = 1024 * 1024
LARGEST_TIER_BYTES = 32 * 1024 * 1024
MOST_FILES = 2000
"""A skill is instructions and a few scripts; far more than that is a checkout that was put into the wrong folder."""

MOST_PATH_CHARACTERS = 1000
"""In a loop it is longer, and Linux takes 4096 bytes."""

_SHOWN = 200
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class TierReader:
    """Reads one tier.

    Args:
        folder: Where it is; there need not be one.
        heading: What its part of `CLAUDE.md` is called.
        name: What people call the tier, for problems.
    """

    def __init__(self, folder: Path, heading: str, name: str) -> None:
        self._folder = folder
        self._heading = heading
        self._name = name
        self._left_bytes = LARGEST_TIER_BYTES
        self.problems: list[str] = []
        """What was left out, and why."""

    def read(self) -> Tier:
        """The tier, as far as it can be read; see `problems` for the rest."""
        try:
            root = os.open(self._folder, _FOLDER)
        except FileNotFoundError:
            return Tier()
        except OSError:
            self._left_out("", "is not a folder, or a symbolic link, or may not be read")
            return Tier()
        try:
            instructions = self._text(root, "CLAUDE.md")
            return Tier(
                mise=self._table(root, "mise.toml", _toml),
                settings=self._table(root, "settings.json", _json),
                instructions=(Section(self._heading, instructions),) if instructions.strip() else (),
                files=dict(self._files(root)),
            )
        finally:
            os.close(root)

    def _left_out(self, path: str, problem: str) -> None:
        where = f"{self._name}: {path[:_SHOWN]}" if path else self._name
        self.problems.append(f"{where} {problem}; it was left out. Fix it and make a new loop to have it.")

    def _table(self, root: int, name: str, parse: Callable[[str], Any]) -> dict[str, Any]:
        text = self._text(root, name)
        if not text.strip():
            return {}
        try:
            value = parse(text)
        except (ValueError, RecursionError) as error:
            self._left_out(name, f"is broken ({error})")
            return {}
        if not isinstance(value, dict):
            self._left_out(name, "is not an object with keys")
            return {}
        return value

    def _text(self, root: int, name: str) -> str:
        found = self._file(root, name, name)
        try:
            return found.data.decode("utf-8") if found else ""
        except UnicodeDecodeError:
            self._left_out(name, "is not UTF-8 text")
            return ""

    def _files(self, root: int) -> Iterator[tuple[str, TierFile]]:
        count = 0
        for top in filter(functools.partial(self._is_folder, root), FOLDERS):
            # `fwalk` opens each folder by descriptor and enters none that is, or becomes, a symbolic link.
            for parent, folders, names, descriptor in os.fwalk(top, dir_fd=root, follow_symlinks=False):
                # A symbolic link to a folder stands among the folders, and would not be entered anyway.
                folders[:] = [name for name in sorted(folders) if self._may_enter(descriptor, name, parent)]
                if folders and parent.count("/") >= MOST_LEVELS:
                    self._left_out(parent, "holds folders that are nested too deeply")
                    folders.clear()
                for name in sorted(names):
                    count += 1
                    if count > MOST_FILES:
                        self._left_out(parent, f"has more than {MOST_FILES} files")
                        return
                    path = f"{parent}/{name}"
                    found = self._file(descriptor, name, path)
                    if len(path) > MOST_PATH_CHARACTERS:
                        self._left_out(path, "has too long a path")
                    elif f"{path}/".startswith(f"{SKILL_FOLDER}/"):
                        self._left_out(path, "has the name of a skill that every loop has")
                    elif found is not None and _is_text(path):
                        yield path, found

    def _may_enter(self, folder: int, name: str, parent: str) -> bool:
        try:
            link = stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False
        if link:
            self._left_out(f"{parent}/{name}", "is a symbolic link")
        return not link

    def _is_folder(self, root: int, name: str) -> bool:
        try:
            mode = os.stat(name, dir_fd=root, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(mode):
            self._left_out(name, "is not a folder")
        return stat.S_ISDIR(mode)

    def _file(self, folder: int, name: str, path: str) -> TierFile | None:
        try:
            descriptor = os.open(name, _FILE, dir_fd=folder)
        except FileNotFoundError:
            return None
        except OSError:
            self._left_out(path, "is a symbolic link, or may not be read")
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                self._left_out(path, "is not a plain file")
                return None
            data = os.pread(descriptor, LARGEST_FILE_BYTES + 1, 0)
        finally:
            os.close(descriptor)
        self._left_bytes -= len(data)
        if len(data) > LARGEST_FILE_BYTES or self._left_bytes < 0:
            self._left_out(path, "is too large")
            return None
        return TierFile(data, bool(status.st_mode & 0o100))


def _toml(text: str) -> dict[str, Any]:
    """The tables of a file that can be written again, too: Python reads numbers that it does not print.

    Raises:
        RecursionError: It is nested too deeply.
        ValueError: It is broken.
    """
    tables = tomllib.loads(text)
    tomli_w.dumps(tables)
    return tables


def _json(text: str) -> Any:  # noqa: ANN401 - any JSON
    """A value that can be written again, too.

    Raises:
        RecursionError: It is nested too deeply.
        ValueError: It is broken.
    """
    value = msgspec.json.decode(text)
    msgspec.json.format(msgspec.json.encode(value), indent=2)
    return value


def _is_text(path: str) -> bool:
    """Whether a path can be written in UTF-8; what cannot has no name that an agent could say."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def lay(tier: Tier, agent_config: Path, mise_toml: Path) -> None:
    """Write what was composed into a loop that no sandbox sees yet.

    Args:
        tier: The composed tier.
        agent_config: The loop's configuration folder of agents.
        mise_toml: The loop's own `mise.toml`; not written when there is nothing to say.

    Raises:
        StorageFullError: No space.
    """
    for path, file in written(tier).items():
        target = agent_config / path
        with full_disk_told(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        write_new(target, file.data, mode=0o755 if file.executable else 0o644)
    if data := toolchain(tier):
        write_new(mise_toml, data, mode=0o644)
