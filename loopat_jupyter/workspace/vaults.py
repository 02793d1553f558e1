"""`VaultStore`: credentials of members on disk.

A vault is a folder::

    members/<member>/vaults/<vault>/
        envs/<NAME>              a variable: the file's content without its trailing newlines
        envs/<NAME>.age          the same in an encrypted vault
        mounts/home/<entry>      mounted at $HOME/<entry>
        vault.json               of an encrypted vault: for which key
        identity.age             the key, if a passphrase opens it

A person may lay files there by hand. No sandbox can write here, except into what is mounted: so nothing that is read
here is ever a link, and the entries themselves stay what they are.
"""

from __future__ import annotations

import contextlib
import stat
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from loopat_jupyter.errors import (
    BadInputError,
    ConfigurationError,
    EngineTimeoutError,
    LockedVaultError,
    NotFoundError,
    UnsafePathError,
)
from loopat_jupyter.models import DEFAULT_VAULT
from loopat_jupyter.workspace.locks import thread_lock
from loopat_jupyter.workspace.names import check_vault_name
from loopat_jupyter.workspace.nofollow import (
    look_at,
    names_in,
    opened_folder,
    problem_of,
    read_plain,
)
from loopat_jupyter.workspace.paths import member_key
from loopat_jupyter.workspace.variables import (
    MAX_VARIABLE_BYTES,
    as_text,
    is_variable,
)
from loopat_jupyter.workspace.vault_keys import Keys, Seal, open_value, unwrap_identity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyrage

    from loopat_jupyter.workspace.paths import Workspace

ENVS, HOME, SEAL, IDENTITY = "envs", ("mounts", "home"), "vault.json", "identity.age"
SEALED = ".age"

MAX_VARIABLES_BYTES = 512 * 1024
"""All variables of a vault together: they share with the arguments what the kernel takes, which is 2 MiB where the
stack may have the usual 8 (execve(2), Limits on size)."""

_READ_TIMEOUT_S = 2.0
SEALED_MAX_BYTES = MAX_VARIABLE_BYTES + 4096
"""age adds a header, and 16 bytes for each 64 KiB."""


class Entry(NamedTuple):
    """What is mounted into a home.

    Attributes:
        name: Below the home.
        is_folder: Whether it is one; else a file.
    """

    name: str
    is_folder: bool


class Contents(NamedTuple):
    """What is in a vault, without any value.

    Attributes:
        plain: Names of variables in the clear.
        sealed: Names of encrypted variables.
        home: What is mounted.
        seal: How it is encrypted; None when it is not.
        problems: What is not used, and why.
    """

    plain: tuple[str, ...] = ()
    sealed: tuple[str, ...] = ()
    home: tuple[Entry, ...] = ()
    seal: Seal | None = None
    problems: tuple[str, ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of all variables."""
        return tuple(sorted({*self.plain, *self.sealed}))


NOTHING = Contents()


class VaultStore:
    """Reads and writes vaults.

    Args:
        workspace: Where they are.
        keys: Finds the keys of encrypted ones.
    """

    def __init__(self, workspace: Workspace, keys: Keys) -> None:
        self.workspace = workspace
        self.keys = keys

    def folder(self, member: str, name: str) -> Path:
        """Where a vault is."""
        return vaults_folder(self.workspace, member) / name

    def names(self, member: str) -> list[str]:
        """Names of a member's vaults, sorted."""
        try:
            with opened_folder(self.workspace.home, *self.parts(member)) as folder:
                return [name for name in names_in(folder) if _is_vault(folder, name)]
        except FileNotFoundError:
            return []

    def look(self, member: str, name: str) -> Contents | None:
        """What is in a vault; None when there is no such vault. Opens no value.

        Args:
            member: Whose.
            name: A vault's name.

        Raises:
            ConfigurationError: Its `vault.json` is damaged.
            UnsafePathError: The vault, or a folder on the way to it, is a link.
        """
        parts = self.parts(member, name)
        try:
            with opened_folder(self.workspace.home, *parts) as folder:
                seal = self._seal(folder, name)
        except FileNotFoundError:
            return None
        problems: list[str] = []
        plain, sealed = self._variables(name, parts, problems)
        return Contents(plain, sealed, self._home(name, parts, problems), seal, tuple(problems))

    def read(self, member: str, name: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """The variables of a vault. A vault that is not there has none.

        Args:
            member: Whose.
            name: A vault's name.

        Returns:
            The variables, as they stand in `os.environ`, and what was left out, and why.

        Raises:
            ConfigurationError: Its `vault.json`, or the identity file, is damaged.
            LockedVaultError: It is encrypted and its key is not at hand.
            UnsafePathError: The vault, or a folder on the way to it, is a link.
        """
        try:
            with self.alone(timeout_s=_READ_TIMEOUT_S):
                return self._read(member, name)
        except EngineTimeoutError:
            # Somebody holds the lock and does not go on. What is there counts.
            return self._read(member, name)

    def alone(self, *, timeout_s: float) -> contextlib.AbstractContextManager[None]:
        """Nobody else changes a vault, or reads one, while the block runs.

        What one process has just encrypted, another would write in the clear; who reads would find neither file.

        Args:
            timeout_s: How long to wait for another one.
        """
        return thread_lock(self.workspace.locks / "vaults.lock", timeout_s=timeout_s, what="the vaults")

    def _read(self, member: str, name: str) -> tuple[dict[str, str], tuple[str, ...]]:
        contents = self.look(member, name)
        if contents is None:
            return {}, ()
        problems = list(contents.problems)
        values: dict[str, str] = {}
        total_bytes = 0
        for variable, value in self._values(member, name, contents, problems):
            problem = "holds a NUL character" if b"\0" in value else None
            if len(value) + len(variable) >= MAX_VARIABLE_BYTES:
                problem = f"is longer than the {MAX_VARIABLE_BYTES} bytes that a variable may have"
            if total_bytes + len(value) > MAX_VARIABLES_BYTES:
                problem = f"is left out, because a vault may have {MAX_VARIABLES_BYTES} bytes of variables in all"
            if problem:
                problems.append(f"The variable {variable} of vault {name!r} {problem}. Make it smaller.")
            else:
                total_bytes += len(value)
                values[variable] = as_text(value)
        return values, tuple(problems)

    def _values(self, member: str, name: str, contents: Contents, problems: list[str]) -> Iterator[tuple[str, bytes]]:
        identity = self.identity(name, contents.seal) if contents.seal and contents.sealed else None
        for variable in contents.variables:
            sealed = identity is not None and variable in contents.sealed
            file = variable + SEALED if sealed else variable
            try:
                with opened_folder(self.workspace.home, *self.parts(member, name), ENVS) as folder:
                    data = read_plain(folder, file, limit_bytes=SEALED_MAX_BYTES)
            except FileNotFoundError:
                continue
            except UnsafePathError as error:
                problems.append(_skipped(name, f"{ENVS}/{file}", error.message))
                continue
            value = open_value(identity, data) if identity is not None and sealed else data
            if value is None:
                problems.append(_skipped(name, f"{ENVS}/{file}", "is encrypted for another key, or damaged"))
            else:
                yield variable, value.rstrip(b"\n")

    def identity(self, name: str, seal: Seal) -> pyrage.x25519.Identity:
        """The key of an encrypted vault.

        Args:
            name: The vault.
            seal: What it says of its key.

        Raises:
            LockedVaultError: It is not at hand; says how to get it.
        """
        identity = self.keys.find(seal)
        if identity is None:
            raise locked(name, seal)
        return identity

    def require(self, member: str, name: str) -> Contents:
        """What is in a vault that must be there.

        Raises:
            BadInputError: The name cannot be one.
            NotFoundError: There is none.
        """
        contents = self.look(member, check_vault_name(name))
        if contents is None:
            raise NotFoundError(f"There is no vault {name!r}. `jupyter loopat vault list` shows the vaults.")
        return contents

    def unwrap(self, member: str, name: str, passphrase: str) -> pyrage.x25519.Identity:
        """The identity that lies in a vault behind a passphrase.

        Raises:
            LockedVaultError: The passphrase is wrong.
            NotFoundError: No passphrase opens this vault.
        """
        try:
            with opened_folder(self.workspace.home, *self.parts(member, name)) as folder:
                data = read_plain(folder, IDENTITY, limit_bytes=SEALED_MAX_BYTES)
        except FileNotFoundError:
            raise NotFoundError(f"No passphrase opens vault {name!r}: it has no {IDENTITY}.") from None
        return unwrap_identity(data, passphrase)

    def parts(self, member: str, *more: str) -> tuple[str, ...]:
        """Names of the folders from the workspace to a vault, or to something in it."""
        return ("members", member_key(member), "vaults", *more)

    def _seal(self, folder: int, name: str) -> Seal | None:
        try:
            return msgspec.json.decode(read_plain(folder, SEAL, limit_bytes=SEALED_MAX_BYTES), type=Seal)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError, UnsafePathError):
            raise ConfigurationError(f"{SEAL} of vault {name!r} is damaged. Restore it from a backup.") from None

    def _variables(self, vault: str, parts: tuple[str, ...], problems: list[str]) -> tuple[tuple[str, ...], ...]:
        plain: list[str] = []
        sealed: list[str] = []
        for entry in self._checked(vault, parts, (ENVS,), problems):
            name = entry.name.removesuffix(SEALED)
            if not entry.is_folder and is_variable(name):
                (plain if name == entry.name else sealed).append(name)
        return tuple(plain), tuple(sealed)

    def _home(self, vault: str, parts: tuple[str, ...], problems: list[str]) -> tuple[Entry, ...]:
        return tuple(self._checked(vault, parts, HOME, problems))

    def _checked(
        self, vault: str, parts: tuple[str, ...], inner: tuple[str, ...], problems: list[str]
    ) -> Iterator[Entry]:
        """The entries of a folder that are what they seem to be; the others become problems."""
        where = "/".join(inner)
        try:
            with opened_folder(self.workspace.home, *parts, *inner) as folder:
                for name in names_in(folder):
                    with contextlib.suppress(FileNotFoundError):
                        status = look_at(folder, name)
                        problem = problem_of(status)
                        if not name.isprintable() or _is_broken(name):
                            problem = "has a name with control characters or broken text in it"
                        if problem is None:
                            yield Entry(name, stat.S_ISDIR(status.st_mode))
                        else:
                            problems.append(_skipped(vault, f"{where}/{name}", problem))
        except FileNotFoundError:
            return
        except UnsafePathError as error:
            problems.append(error.message)


def vaults_folder(workspace: Workspace, member: str) -> Path:
    """Where the vaults of a member are, beside what a sandbox of theirs may see.

    Args:
        workspace: The workspace.
        member: As the Hub or the host calls them.
    """
    return workspace.members / member_key(member) / "vaults"


def locked(name: str, seal: Seal) -> LockedVaultError:
    """What to tell of a vault whose key is not at hand.

    Args:
        name: The vault.
        seal: What it says of its key.
    """
    ways = {
        "file": "Let `[vault] identity` in config.toml name the file with its key",
        "keyring": "Unlock the keyring of your desktop",
        "passphrase": f"Run `jupyter loopat vault unlock {name}`",
    }
    return LockedVaultError(
        f"Vault {name!r} is locked, so nothing gets its variables. {ways[seal.key]}, then start again what needs them."
    )


def no_vault(name: str) -> NotFoundError:
    """What to tell of a vault that a loop or a variable wants, and that is not there."""
    return NotFoundError(f"There is no vault {name[:80]!r}. `jupyter loopat vault create {name[:80]}` makes it.")


def check_choice(store: VaultStore, member: str, name: str) -> str:
    """A vault that a loop may have: one that is there, or the default one.

    Raises:
        BadInputError: Neither.
    """
    if check_vault_name(name, field="vault") != DEFAULT_VAULT and store.look(member, name) is None:
        raise BadInputError("vault", f"there is no vault {name!r}. Make it with `jupyter loopat vault create {name}`")
    return name


def _is_vault(folder: int, name: str) -> bool:
    try:
        return check_vault_name(name) == name and stat.S_ISDIR(look_at(folder, name).st_mode)
    except (BadInputError, FileNotFoundError):
        return False


def _is_broken(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _skipped(vault: str, entry: str, problem: str) -> str:
    shown = entry.encode("utf-8", "replace").decode()[:120]
    return f"{shown!r} of vault {vault!r} {problem}, so it is not used. Put a plain file or folder there."
