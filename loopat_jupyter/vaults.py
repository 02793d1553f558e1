"""`Vaults`: the verbs about credentials. A loop has the vault of the member who made it.

Values leave a vault in one way only: to a process that starts in a loop, through a file that is removed when it was
read. No verb here returns one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec
import pyrage

from loopat_jupyter.errors import (
    BadInputError,
    ConfigurationError,
    ConflictError,
    LockedVaultError,
    UnsafePathError,
)
from loopat_jupyter.models import DEFAULT_VAULT, Value
from loopat_jupyter.workspace.member import prepare_for
from loopat_jupyter.workspace.names import check_vault_name
from loopat_jupyter.workspace.ssh_keys import forget_keys
from loopat_jupyter.workspace.vault_edits import VaultEdits
from loopat_jupyter.workspace.vault_keys import forget_in_keyring, store_in_keyring
from loopat_jupyter.workspace.vaults import NOTHING, check_choice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from loopat_jupyter.models import ExecSpec, LoopRecord, NewLoop, Progress
    from loopat_jupyter.sandbox.lifecycle import Sandboxes
    from loopat_jupyter.workspace.records import LoopStore
    from loopat_jupyter.workspace.vault_keys import KeyPlace
    from loopat_jupyter.workspace.vaults import Contents

_log = logging.getLogger(__name__)

_PLACES: Mapping[KeyPlace, str] = {
    "file": "in a file",
    "keyring": "in the desktop's keyring",
    "passphrase": "behind a passphrase",
}


class Vault(Value, frozen=True, kw_only=True):
    """A named set of credentials, as it is shown: names only, never a value."""

    name: str
    variables: tuple[str, ...]
    """Names of the variables that every process of a loop with this vault gets."""
    home: tuple[str, ...]
    """What is mounted into the home of such a loop."""
    encrypted: bool
    locked: bool
    """Encrypted, and this server does not have the key: loops start without its variables."""
    warnings: tuple[str, ...]
    """What of it is not used, and why."""


class Vaults:
    """Vaults of one workspace.

    Args:
        sandboxes: What the vaults are for.
        loops: The records of the loops that use them.
        member: Who asks.
    """

    def __init__(self, sandboxes: Sandboxes, loops: LoopStore, member: str) -> None:
        self.store = sandboxes.extras.vaults
        self._edits = VaultEdits(self.store)
        self._folders = sandboxes.folders
        self._loops = loops
        self._member = member
        self._told: set[str] = set()

    def listed(self) -> tuple[Vault, ...]:
        """All vaults of who asks, by name; names only, never a value."""
        return tuple(self._describe(name) for name in self.store.names(self._member))

    def show(self, name: str) -> Vault:
        """One vault of who asks.

        Raises:
            BadInputError: The name cannot be one.
            NotFoundError: There is none.
        """
        self.store.require(self._member, name)
        return self._describe(name)

    def _describe(self, name: str) -> Vault:
        try:
            contents = self.store.look(self._member, name) or NOTHING
        except (ConfigurationError, UnsafePathError) as error:
            contents = NOTHING._replace(problems=(error.message,))
        seal = contents.seal
        return Vault(
            name=name,
            variables=contents.variables,
            home=tuple(entry.name for entry in contents.home),
            encrypted=seal is not None,
            locked=seal is not None and not self.store.keys.at_hand(seal),
            warnings=contents.problems,
        )

    def folder(self, name: str) -> Path:
        """Where a vault of who asks is."""
        return self.store.folder(self._member, name)

    def create(self, name: str) -> Vault:
        """Make an empty vault.

        Raises:
            BadInputError: The name cannot be one.
            ConflictError: There is one of that name.
            StorageFullError: No space.
        """
        prepare_for(self.store.workspace, self._member)
        self._edits.create(self._member, name)
        return self._describe(name)

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Remove a vault with all that lies in it.

        Args:
            name: The vault.
            force: Also while loops use it: their processes keep what they have, new ones get nothing.

        Raises:
            BadInputError: The name cannot be one.
            ConflictError: Loops use it, and `force` was not given.
            EngineError: It cannot be removed.
            NotFoundError: There is none.
        """
        check_vault_name(name)
        if name not in self.store.names(self._member):
            self.store.require(self._member, name)
        users = await asyncio.to_thread(self.users, name)
        if users and not force:
            titles = ", ".join(f"{record.title!r} ({record.id[:8]})" for record in users[:3])
            titles += ", …" if len(users) > 3 else ""
            raise ConflictError(
                f"Vault {name!r} is used by {titles}. Give these loops another one first, or force it (`--force`)."
            )
        await self._folders.remove(self.store.folder(self._member, name))
        await asyncio.to_thread(forget_keys, self.store.workspace, self._member, name)

    def users(self, name: str) -> tuple[LoopRecord, ...]:
        """The loops of who asks that have a vault. One that nobody named is the default of all others.

        Args:
            name: The vault.
        """
        return tuple(
            record for record in self._loops.readable() if (record.created_by, record.vault) == (self._member, name)
        )

    def set(self, name: str, variable: str, value: bytes) -> None:
        """Set a variable: processes that start from now on have it. The default vault is made when it is missing.

        Args:
            name: The vault.
            variable: Name of the variable.
            value: Any bytes that an environment can hold; trailing newlines do not count.

        Raises:
            BadInputError: A name or the value is not acceptable.
            NotFoundError: There is no such vault.
            StorageFullError: No space; the old value stands.
        """
        prepare_for(self.store.workspace, self._member)
        self._edits.set(self._member, name, variable, value)

    def unset(self, name: str, variable: str) -> None:
        """Remove a variable.

        Raises:
            BadInputError: A name is not acceptable.
            NotFoundError: There is no such vault, or no such variable in it.
        """
        self._edits.unset(self._member, name, variable)

    def encrypt(self, name: str, key: KeyPlace | None = None, passphrase: str = "") -> Vault:
        """Encrypt the variables of a vault, and all that are set from now on; what is mounted stays as it is.

        Args:
            name: The vault.
            key: Where its key is kept: in the identity file of the configuration, in the keyring of the desktop, or
                in the vault itself, where a passphrase opens it. None leaves it where it is; at first that is the file.
            passphrase: That passphrase.

        Raises:
            BadInputError: The configuration names no identity file, or the passphrase is empty.
            ConflictError: It is encrypted already, with its key in another place.
            ConfigurationError: The identity file may not be used.
            NotFoundError: There is no such vault, or no keyring.
            StorageFullError: No space; every variable is there in one of the two ways.
        """
        place = self.key_place(name)
        if place is not None and key not in (None, place):
            raise ConflictError(
                f"Vault {name} is encrypted already, with its key {_PLACES[place]}. To change that, decrypt it first: "
                f"`jupyter loopat vault decrypt {name}`."
            )
        key = key or "file"
        if not self._edits.encrypt_rest(self._member, name):
            if key == "passphrase" and not passphrase:
                raise BadInputError("passphrase", "must not be empty")
            identity = self.store.keys.from_file() if key == "file" else pyrage.x25519.Identity.generate()
            if key == "keyring":
                store_in_keyring(identity)
            self._edits.encrypt(self._member, name, identity, key, passphrase)
        return self._describe(name)

    def decrypt(self, name: str) -> Vault:
        """Undo the encryption of a vault.

        Raises:
            LockedVaultError: Its key is not at hand.
            NotFoundError: There is no such vault.
            StorageFullError: No space; every variable is there in one of the two ways.
        """
        self._edits.decrypt(self._member, name)
        return self._describe(name)

    def key_place(self, name: str) -> KeyPlace | None:
        """Where the key of a vault is; None for one that is not encrypted, or not there.

        Args:
            name: The vault.
        """
        contents = self._contents(self._member, name)
        return contents.seal.key if contents and contents.seal else None

    def asks_passphrase(self, name: str, member: str | None = None) -> bool:
        """Whether a vault is locked, and a passphrase would open it.

        Args:
            name: The vault.
            member: Whose; by default of who asks.
        """
        contents = self._contents(member or self._member, name)
        seal = contents.seal if contents else None
        return seal is not None and seal.key == "passphrase" and not self.store.keys.at_hand(seal)

    def open(self, name: str, passphrase: str, member: str | None = None) -> pyrage.x25519.Identity:
        """Open a vault for this process alone; nothing is written anywhere.

        Args:
            name: The vault.
            passphrase: What opens it.
            member: Whose; by default of who asks.

        Raises:
            LockedVaultError: It is another passphrase.
            NotFoundError: No passphrase opens this vault.
        """
        identity = self.store.unwrap(member or self._member, name, passphrase)
        self.store.keys.hold(identity)
        return identity

    def unlock(self, name: str, passphrase: str) -> None:
        """Open a vault for all processes of this login: its key goes into the keyring of the desktop until `lock`.

        Args:
            name: The vault.
            passphrase: What opens it.

        Raises:
            LockedVaultError: It is another passphrase.
            NotFoundError: There is no such vault, no passphrase opens it, or there is no keyring.
        """
        self.store.require(self._member, name)
        store_in_keyring(self.open(name, passphrase))

    def lock(self, name: str) -> bool:
        """Undo `unlock`.

        Returns:
            Whether the keyring had the key.

        Raises:
            ConflictError: No passphrase would open the vault again.
            NotFoundError: There is no such vault, or no keyring.
        """
        seal = self.store.require(self._member, name).seal
        if seal is None or seal.key != "passphrase":
            raise ConflictError(f"No passphrase would open vault {name!r} again, so it is not locked.")
        return forget_in_keyring(seal.recipient)

    def check(self, new: NewLoop) -> None:
        """Refuse a vault that a new loop cannot have.

        Raises:
            BadInputError: There is no such vault.
        """
        self.check_choice(new.vault or DEFAULT_VAULT)

    def check_choice(self, name: str) -> str:
        """Refuse a vault that a loop cannot have; the default one need not be there.

        Raises:
            BadInputError: There is no such vault.
        """
        return check_choice(self.store, self._member, name)

    async def apply(self, new: NewLoop, record: LoopRecord, tell: Callable[[Progress], None]) -> LoopRecord:
        """Note the vault of a new loop; its variables are read when something starts."""
        del tell
        return msgspec.structs.replace(record, vault=new.vault or DEFAULT_VAULT)

    async def equipped(self, record: LoopRecord, spec: ExecSpec) -> ExecSpec:
        """A process with the variables of its loop's vault; its own win. Nobody else waits while a keyring is asked.

        Args:
            record: The loop.
            spec: The process, about to be started.
        """
        variables = await self.variables_of(record)
        return msgspec.structs.replace(spec, env={**variables, **spec.env}) if variables else spec

    async def variables_of(self, record: LoopRecord) -> dict[str, str]:
        """`variables`, without keeping others waiting while a keyring is asked or somebody changes a vault."""
        return await asyncio.to_thread(self.variables, record)

    def variables(self, record: LoopRecord) -> dict[str, str]:
        """The variables of a loop's vault as they are now.

        A vault that is locked or damaged has none: that is logged once, and shown on the loop.

        Args:
            record: The loop.
        """
        try:
            values, problems = self.store.read(record.created_by, record.vault)
        except (LockedVaultError, ConfigurationError, UnsafePathError) as error:
            values, problems = {}, (error.message,)
        for problem in problems:
            if problem not in self._told:
                self._told.add(problem)
                _log.warning("%s", problem)
        return values

    def _contents(self, member: str, name: str) -> Contents | None:
        try:
            return self.store.look(member, name)
        except (ConfigurationError, UnsafePathError):
            return None
