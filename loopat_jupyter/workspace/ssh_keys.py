"""ssh keys of vaults, for the git of the host.

A loop can write what its vault mounts into `~/.ssh`, so ssh on the host never opens those files: a symlink that was
planted there would have it use another key of the person. What is a key is read without following anything and copied
to where no sandbox can write.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import shutil
import time
from typing import TYPE_CHECKING

from loopat_jupyter.errors import UnsafePathError
from loopat_jupyter.workspace.files import write_new
from loopat_jupyter.workspace.nofollow import names_in, opened_folder, read_plain
from loopat_jupyter.workspace.vaults import HOME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace
    from loopat_jupyter.workspace.vaults import VaultStore

LARGEST_KEY_BYTES = 64 * 1024
MOST_KEYS = 8
"""Servers hang up after a few tries; OpenSSH's after six (sshd_config(5), MaxAuthTries)."""

_NAME = re.compile(r"id_[A-Za-z0-9._-]{1,100}\Z")
"""Nothing in it means anything to ssh, such as the `%` of its options."""

_BEGINS = b"-----BEGIN "
_ABANDONED_S = 60.0


def known_hosts(workspace: Workspace) -> Path:
    """Host keys of the machines that were reached with keys of vaults.

    Args:
        workspace: Whose vaults.
    """
    return workspace.home / "known_hosts"


def ssh_keys(store: VaultStore, member: str, vault: str) -> tuple[Path, ...]:
    """Copies of the private keys in a vault's `.ssh`, by name; copies of keys that are gone from it go too.

    The copies lie in the runtime directory, which only this user can enter and which a reboot wipes. Each is named by
    what it holds, so it never changes: whoever else copies the same keys at the same time finds them there.

    Args:
        store: The vaults.
        member: Whose vault.
        vault: Its name.
    """
    folder = _copies(store.workspace, member, vault)
    found = {
        f"{hashlib.sha256(data).hexdigest()[:12]}-{name}": data
        for name, data in itertools.islice(_read(store, member, vault), MOST_KEYS)
    }
    if found:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    elif not folder.is_dir():
        return ()
    for name, data in found.items():
        if not (folder / name).exists():
            _copy(folder, name, data)
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.name not in found and not _is_being_written(path):
                path.unlink()
    return tuple(folder / name for name in found)


def forget_keys(workspace: Workspace, member: str, vault: str) -> None:
    """Remove the copies of a vault that is gone.

    Args:
        workspace: Whose vaults.
        member: Whose vault.
        vault: Its name.
    """
    shutil.rmtree(_copies(workspace, member, vault), ignore_errors=True)


def _copies(workspace: Workspace, member: str, vault: str) -> Path:
    owner = hashlib.sha256(f"{member}\0{vault}".encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return workspace.runtime / "keys" / owner


def _copy(folder: Path, name: str, data: bytes) -> None:
    """Write a copy whole. It need not survive a crash of the machine, so nobody waits for the disk."""
    new = folder / f".{os.urandom(8).hex()}"
    write_new(new, data)
    new.rename(folder / name)


def _is_being_written(path: Path) -> bool:
    return path.name.startswith(".") and time.time() - path.stat().st_mtime < _ABANDONED_S


def _read(store: VaultStore, member: str, vault: str) -> Iterator[tuple[str, bytes]]:
    try:
        with opened_folder(store.workspace.home, *store.parts(member, vault), *HOME, ".ssh") as folder:
            for name in filter(_NAME.match, names_in(folder)):
                if not name.endswith(".pub"):
                    with contextlib.suppress(FileNotFoundError, UnsafePathError):
                        data = read_plain(folder, name, limit_bytes=LARGEST_KEY_BYTES)
                        if data.startswith(_BEGINS):
                            yield name, data
    except (FileNotFoundError, PermissionError, UnsafePathError):
        # A loop may have taken the folder's rights away: it is its own.
        return
