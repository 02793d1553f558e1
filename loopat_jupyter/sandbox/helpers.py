"""The programs of ours that every sandbox sees, read-only, at /loopat/lib.

They are mounted from a folder of the workspace and not from the installed package, under names that carry their
version: so two installations with one workspace, or a server that was started before an upgrade, each find their own in
a container that neither of them has to replace.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from loopat_jupyter.workspace.files import failed_write_told, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable

INSIDE = Path(__file__).parent / "inside"
"""Where the package has them."""

NAMES = (
    "attach",
    "git-remote-loopat",
    "hold",
    "hold-serve",
    "kernelspecs",
    "launch",
    "loopat-promote",
    "spare",
    "unmask",
)
COMMANDS = ("git-remote-loopat", "loopat-promote")
"""Those that a person or git calls, by their plain names: `launch` puts their folder at the end of the path."""

_IN_FOLDERS = (*(("bin", name, name) for name in COMMANDS), ("waiting", "spare", "ipykernel_launcher/__init__.py"))
"""Those that are found by a name of their own, each in a folder of the version: folder, helper, name."""

MAIN_HELPER = "sandbox"
"""The main process of every sandbox. Under one name in all versions, as containers outlive them; what it does stays."""

SKILL = "SKILL.md"
"""What agents should know of loops: a skill of theirs. Under one name in all versions, as it is only read; the last
that was installed counts."""

VERSION = "8fb72646"
"""The first digits of the hash over the files; a test says what it must be after a change."""

_MODE = 0o755


def skill_folder(folder: Path) -> Path:
    """Where `install` puts the skill.

    Args:
        folder: Of the helpers.
    """
    return folder / "skill"


def file_name(name: str) -> str:
    """What a helper is called inside: `launch-3f2a9c1e`."""
    return f"{name}-{VERSION}"


def digest(contents: Iterable[bytes]) -> str:
    """The version of some contents, 8 hexadecimal digits.

    Args:
        contents: The files in the order of `NAMES`.
    """
    whole = hashlib.sha256()
    for data in contents:
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:8]


def install(folder: Path) -> None:
    """Put this version's helpers into a folder, unless they are there.

    Args:
        folder: On the host; what sandboxes mount.

    Raises:
        StorageFullError: No space.
        StorageRefusedError: It may not be written.
    """
    of_version = [(name, folder / file_name(name)) for name in NAMES]
    of_version += [(source, folder / file_name(inner) / name) for inner, source, name in _IN_FOLDERS]
    for source, target in of_version:
        if not target.exists():
            _put(folder, target, (INSIDE / source).read_bytes(), _MODE)
    for source, target, mode in (
        (MAIN_HELPER, folder / MAIN_HELPER, _MODE),
        (SKILL, skill_folder(folder) / SKILL, 0o644),
    ):
        data = (INSIDE / source).read_bytes()
        if not target.exists() or target.read_bytes() != data:
            _put(folder, target, data, mode)


def _put(folder: Path, target: Path, data: bytes, mode: int) -> None:
    with failed_write_told(folder):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, data, mode=mode)
