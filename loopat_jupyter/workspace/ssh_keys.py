"""ssh keys of vaults, for the git of the host.

A loop can write what its vault mounts into `~/.ssh`, so ssh on the host never opens those files: a symlink that was
planted there would have it use another key of the person. What is a key is read without following anything and copied
to where no sandbox can write.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from loopat_jupyter.errors import UnsafePathError
from loopat_jupyter.workspace.files import write_atomic
from loopat_jupyter.workspace.nofollow import names_in, opened_folder, read_plain
from loopat_jupyter.workspace.vaults import HOME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace
    from loopat_jupyter.workspace.vaults import VaultStore

LARGEST_KEY_BYTES = 64 * 1024
_BEGINS = b"-----BEGIN "


def known_hosts(workspace: Workspace) -> Path:
    """Host keys of the machines that were reached with keys of vaults.

    Args:
        workspace: Whose vaults.
    """
    return workspace.home / "known_hosts"


def ssh_keys(store: VaultStore, member: str, vault: str) -> tuple[Path, ...]:
    """Copies of the private keys in a vault's `.ssh`, by name; copies of keys that are gone from it go too.

    The copies lie in the runtime directory, which only this user can enter and which a reboot wipes.

    Args:
        store: The vaults.
        member: Whose vault.
        vault: Its name.
    """
    owner = hashlib.sha256(f"{member}\0{vault}".encode()).hexdigest()[:12]
    folder = store.workspace.runtime / "keys" / owner
    found = {f"{number}-{name}": data for number, (name, data) in enumerate(_read(store, member, vault))}
    if not found and not folder.is_dir():
        return ()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in found:
            path.unlink(missing_ok=True)
    for name, data in found.items():
        write_atomic(folder / name, data)
    return tuple(folder / name for name in found)


def _read(store: VaultStore, member: str, vault: str) -> Iterator[tuple[str, bytes]]:
    try:
        with opened_folder(store.workspace.home, *store.parts(member, vault), *HOME, ".ssh") as folder:
            for name in names_in(folder):
                if name.startswith("id_") and not name.endswith(".pub"):
                    with contextlib.suppress(FileNotFoundError, UnsafePathError):
                        data = read_plain(folder, name, limit_bytes=LARGEST_KEY_BYTES)
                        if data.startswith(_BEGINS):
                            yield name, data
    except (FileNotFoundError, UnsafePathError):
        return
