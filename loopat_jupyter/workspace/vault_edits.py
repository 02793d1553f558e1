"""`VaultEdits`: makes vaults, and changes what is in them. Every change is whole or not at all."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.errors import ConflictError, NotFoundError
from loopat_jupyter.models import DEFAULT_VAULT
from loopat_jupyter.workspace.names import check_vault_name
from loopat_jupyter.workspace.nofollow import (
    make_folders,
    names_in,
    opened_folder,
    read_plain,
    remove_abandoned,
    write_whole,
)
from loopat_jupyter.workspace.variables import check_variable_name, check_variable_value
from loopat_jupyter.workspace.vault_keys import Seal, open_value, seal_value, wrap_identity
from loopat_jupyter.workspace.vaults import (
    ENVS,
    HOME,
    IDENTITY,
    SEAL,
    SEALED,
    SEALED_MAX_BYTES,
    VaultStore,
    no_vault,
)

_LOCK_TIMEOUT_S = 30.0

if TYPE_CHECKING:
    import pyrage

    from loopat_jupyter.workspace.vault_keys import KeyPlace


class VaultEdits:
    """Changes the vaults of a store.

    Args:
        store: Reads them.
    """

    def __init__(self, store: VaultStore) -> None:
        self._store = store
        self._home = store.workspace.home

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return self._store.alone(timeout_s=_LOCK_TIMEOUT_S)

    def create(self, member: str, name: str) -> None:
        """Make an empty vault.

        Raises:
            BadInputError: The name cannot be one.
            ConflictError: There is one of that name.
            StorageFullError: No space.
        """
        check_vault_name(name)
        with self._alone():
            make_folders(self._home, *self._store.parts(member))
            with opened_folder(self._home, *self._store.parts(member)) as folder:
                if name in names_in(folder):
                    raise ConflictError(f"There is a vault {name!r} already. Choose another name, or use that one.")
            self._make(member, name)

    def _make(self, member: str, name: str) -> None:
        make_folders(self._home, *self._store.parts(member, name), ENVS)
        make_folders(self._home, *self._store.parts(member, name), *HOME)

    def set(self, member: str, name: str, variable: str, value: bytes) -> None:
        """Set a variable; processes that start from now on have it.

        Args:
            member: Whose.
            name: The vault.
            variable: Name of the variable.
            value: Any bytes that an environment can hold; trailing newlines do not count.

        Raises:
            BadInputError: A name or the value is not acceptable.
            NotFoundError: There is no such vault.
            StorageFullError: No space; the old value stands.
        """
        check_variable_name("variable", variable)
        check_variable_value("value", variable, value)
        check_vault_name(name)
        with self._alone():
            self._set(member, name, variable, value)

    def _set(self, member: str, name: str, variable: str, value: bytes) -> None:
        if name == DEFAULT_VAULT and self._store.look(member, name) is None:
            self._make(member, name)
        contents = self._store.look(member, check_vault_name(name))
        if contents is None:
            raise no_vault(name)
        make_folders(self._home, *self._store.parts(member, name), ENVS)
        with opened_folder(self._home, *self._store.parts(member, name), ENVS) as folder:
            remove_abandoned(folder)
            if contents.seal is None:
                write_whole(folder, variable, value)
            else:
                write_whole(folder, variable + SEALED, seal_value(contents.seal.recipient, value))
                _unlink(folder, variable)

    def unset(self, member: str, name: str, variable: str) -> None:
        """Remove a variable.

        Raises:
            BadInputError: A name is not acceptable.
            NotFoundError: There is no such vault, or no such variable in it.
        """
        check_variable_name("variable", variable)
        found = False
        self._store.require(member, name)
        with (
            self._alone(),
            contextlib.suppress(FileNotFoundError),
            opened_folder(self._home, *self._store.parts(member, name), ENVS) as folder,
        ):
            found = any([_unlink(folder, variable), _unlink(folder, variable + SEALED)])
        if not found:
            raise NotFoundError(
                f"There is no variable {variable} in vault {name!r}. `jupyter loopat vault list` shows them."
            )

    def encrypt(self, member: str, name: str, identity: pyrage.x25519.Identity, key: KeyPlace, passphrase: str) -> None:
        """Encrypt the variables of a vault, and all that are set from now on.

        Args:
            member: Whose.
            name: The vault.
            identity: What opens it.
            key: Where the identity is kept.
            passphrase: What opens the identity, where it is kept in the vault; else not used.

        Raises:
            ConflictError: It is encrypted already.
            NotFoundError: There is no such vault.
            StorageFullError: No space; every variable is there in one of the two ways.
        """
        # Takes a while on purpose, so it is done before anybody has to wait.
        wrapped = wrap_identity(identity, passphrase) if key == "passphrase" else b""
        with self._alone():
            if self._store.require(member, name).seal is not None:
                raise ConflictError(f"Vault {name!r} is encrypted already. For another key, decrypt it first.")
            seal = Seal(recipient=str(identity.to_public()), key=key)
            with opened_folder(self._home, *self._store.parts(member, name)) as folder:
                if wrapped:
                    write_whole(folder, IDENTITY, wrapped)
                write_whole(folder, SEAL, msgspec.json.encode(seal))
            self._encrypt_rest(member, name)

    def encrypt_rest(self, member: str, name: str) -> bool:
        """Encrypt what is stored unencrypted in an encrypted vault: laid there by hand, or left by a broken `encrypt`.

        Returns:
            Whether the vault is encrypted at all.

        Raises:
            NotFoundError: There is no such vault.
            StorageFullError: No space; every variable is there in one of the two ways.
        """
        with self._alone():
            return self._encrypt_rest(member, name)

    def _encrypt_rest(self, member: str, name: str) -> bool:
        contents = self._store.require(member, name)
        if contents.seal is None:
            return False
        with (
            contextlib.suppress(FileNotFoundError),
            opened_folder(self._home, *self._store.parts(member, name), ENVS) as folder,
        ):
            remove_abandoned(folder)
        if contents.plain:
            with opened_folder(self._home, *self._store.parts(member, name), ENVS) as folder:
                for variable in contents.plain:
                    data = read_plain(folder, variable, limit_bytes=SEALED_MAX_BYTES)
                    _replace(folder, variable, variable + SEALED, seal_value(contents.seal.recipient, data))
        return True

    def decrypt(self, member: str, name: str) -> None:
        """Undo the encryption of a vault.

        Raises:
            ConflictError: One of its variables is damaged; nothing was changed.
            LockedVaultError: Its key is not at hand.
            NotFoundError: There is no such vault.
            StorageFullError: No space; every variable is there in one of the two ways.
        """
        with self._alone():
            self._decrypt(member, name)

    def _decrypt(self, member: str, name: str) -> None:
        contents = self._store.require(member, name)
        if contents.seal is None:
            return
        identity = self._store.identity(name, contents.seal)
        if contents.sealed:
            with opened_folder(self._home, *self._store.parts(member, name), ENVS) as folder:
                # All are opened before the first is written: none is changed if one of them cannot be.
                values = {each: self._opened(folder, name, each + SEALED, identity) for each in contents.sealed}
                for variable, value in values.items():
                    _replace(folder, variable + SEALED, variable, value)
        with opened_folder(self._home, *self._store.parts(member, name)) as folder:
            _unlink(folder, SEAL)
            _unlink(folder, IDENTITY)

    def _opened(self, folder: int, name: str, file: str, identity: pyrage.x25519.Identity) -> bytes:
        value = open_value(identity, read_plain(folder, file, limit_bytes=SEALED_MAX_BYTES))
        if value is None:
            raise ConflictError(
                f"{ENVS}/{file} of vault {name!r} is for another key, or damaged. Remove it, and try again."
            )
        return value


def _replace(folder: int, old: str, new: str, value: bytes) -> None:
    write_whole(folder, new, value)
    _unlink(folder, old)


def _unlink(folder: int, name: str) -> bool:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True
