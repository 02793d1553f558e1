"""Keys of encrypted vaults: age identities from a file, from the keyring of the desktop, or given at a prompt.

An encrypted vault names the public half, so that anybody can add a variable; the other half is asked for each time
that a process starts, and is kept nowhere else. What a prompt unlocked is known to this process alone.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import pyrage

from loopat_jupyter.errors import BadInputError, ConfigurationError, LockedVaultError, NotFoundError, UnsafePathError
from loopat_jupyter.models import Value
from loopat_jupyter.workspace.files import write_atomic
from loopat_jupyter.workspace.locks import thread_lock
from loopat_jupyter.workspace.nofollow import opened_folder, read_plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from keyring.backend import KeyringBackend

KeyPlace: TypeAlias = Literal["file", "keyring", "passphrase"]

SERVICE = "loopat"
"""Under which name the keyring keeps identities; the user name there is the public half."""

_KEYRING_TIMEOUT_S = 5.0
"""A keyring that is locked may ask its owner, on a screen that nobody looks at."""

_IN_THE_CLEAR = ("keyrings.alt", "keyring.backends.null")
"""Backends that keep secrets in plain files, or nowhere."""

_LOCK_TIMEOUT_S = 10.0
_REMEMBER_S = 5.0
_FIRST_LOOK_S = 1.0
_BUSY_ATTEMPTS = 5
"""age refuses a passphrase whose check would take far longer than usual, and measures what that is each time: under
load it may be wrong once."""

_IDENTITY_MAX_BYTES = 64 * 1024
_IDENTITY_PREFIX = "AGE-SECRET-KEY-1"
_T = TypeVar("_T")


class Seal(Value, frozen=True, kw_only=True):
    """`vault.json` of an encrypted vault: what its values are encrypted for, and where the key is."""

    recipient: str
    key: KeyPlace


class Keys:
    """Finds identities.

    Args:
        identity_file: An age identity file, as the configuration names it; None for none.
    """

    def __init__(self, identity_file: Path | None) -> None:
        self.identity_file = identity_file
        self._held: dict[str, pyrage.x25519.Identity] = {}
        self._seen: dict[str, tuple[float, bool]] = {}
        self._asking: dict[str, threading.Thread] = {}

    def find(self, seal: Seal) -> pyrage.x25519.Identity | None:
        """The identity of a vault; None when it is not at hand.

        Args:
            seal: What the vault says of it.

        Raises:
            ConfigurationError: There is an identity file, and it may not be used; says why.
        """
        if seal.recipient in self._held:
            return self._held[seal.recipient]
        if seal.key == "file":
            return self._in_file(seal.recipient)
        text = _from_keyring(seal.recipient)
        identity = None if text is None else parse_identity(text)
        return identity if identity is not None and str(identity.to_public()) == seal.recipient else None

    def at_hand(self, seal: Seal) -> bool:
        """Whether `find` would find it. For lists: what the keyring said counts for a few seconds.

        A keyring is waited for once, and briefly; after that it is asked in the background.

        Args:
            seal: What the vault says of it.
        """
        recipient = seal.recipient
        if seal.key == "file" or recipient in self._held:
            return self._finds(seal)
        known = self._seen.get(recipient)
        if known is None or time.monotonic() - known[0] > _REMEMBER_S:
            asking = self._asking.get(recipient)
            if asking is None or not asking.is_alive():
                asking = self._asking[recipient] = threading.Thread(target=self._ask, args=(seal,), daemon=True)
                asking.start()
            if known is None:
                asking.join(_FIRST_LOOK_S)
        return self._seen.setdefault(recipient, (time.monotonic(), False))[1]

    def _ask(self, seal: Seal) -> None:
        found = self._finds(seal)
        self._seen[seal.recipient] = (time.monotonic(), found)

    def _finds(self, seal: Seal) -> bool:
        try:
            return self.find(seal) is not None
        except ConfigurationError:
            return False

    def hold(self, identity: pyrage.x25519.Identity) -> None:
        """Know an identity for as long as this process lives.

        Args:
            identity: As a person gave it at a prompt.
        """
        self._held[str(identity.to_public())] = identity

    def share_held(self, other: Keys) -> None:
        """Know what another one holds, and let it know what this one will.

        Args:
            other: Keys of the same process.
        """
        self._held = other._held

    def _in_file(self, recipient: str) -> pyrage.x25519.Identity | None:
        if self.identity_file is None:
            return None
        try:
            found = read_identities(self.identity_file)
        except FileNotFoundError:
            return None
        return next((identity for identity in found if str(identity.to_public()) == recipient), None)

    def from_file(self) -> pyrage.x25519.Identity:
        """The first identity of the identity file, which is made if there is none.

        Raises:
            BadInputError: The configuration names no file.
            ConfigurationError: It may not be used; says why.
            StorageFullError: No space.
        """
        if self.identity_file is None:
            raise BadInputError("vault.identity", "names no file in config.toml. Name one, or choose another --key")
        file = self.identity_file
        try:
            found = read_identities(file)
        except FileNotFoundError:
            # Whoever made another one at the same moment would encrypt with a key that is in no file.
            try:
                lock = file.with_name(f".{file.name}.lock")
                with thread_lock(lock, timeout_s=_LOCK_TIMEOUT_S, what="the identity file"):
                    _make_identity_file(file)
            except OSError as error:
                raise _unusable(file, error) from error
            found = read_identities(file)
        if not found:
            raise ConfigurationError(f"{file} holds no age identity. Make one with `age-keygen`.")
        return found[0]


def _make_identity_file(file: Path) -> None:
    """Make an identity file, unless there is one by now."""
    if not file.exists():
        identity = pyrage.x25519.Identity.generate()
        write_atomic(file, f"# public key: {identity.to_public()}\n{identity}\n".encode("ascii"))


def _unusable(file: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"The identity file {file} cannot be used: {error.strerror}. Name a plain file of yours.")


def parse_identity(text: str) -> pyrage.x25519.Identity | None:
    """An identity as age writes it; None for anything else.

    Args:
        text: One line.
    """
    try:
        return pyrage.x25519.Identity.from_str(text.strip())
    except pyrage.IdentityError:
        return None


def read_identities(file: Path) -> list[pyrage.x25519.Identity]:
    """The identities of an identity file (`age-keygen` writes such files).

    Args:
        file: The file.

    Raises:
        ConfigurationError: Others may read it, it is no plain file, or what it holds is damaged.
        FileNotFoundError: There is none.
    """
    try:
        with opened_folder(file.parent) as folder:
            data = read_plain(folder, file.name, limit_bytes=_IDENTITY_MAX_BYTES)
            status = os.stat(file.name, dir_fd=folder, follow_symlinks=False)
    except UnsafePathError as error:
        raise ConfigurationError(f"The identity file {file} {error.message}. Name a plain file of yours.") from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unusable(file, error) from error
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ConfigurationError(f"The identity file {file} must be yours alone: `chmod 600 {file}`.")
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    found = [parse_identity(line) for line in lines if line.startswith(_IDENTITY_PREFIX)]
    return [identity for identity in found if identity is not None]


def store_in_keyring(identity: pyrage.x25519.Identity) -> None:
    """Hand an identity to the keyring of the desktop, which keeps it encrypted.

    Args:
        identity: The identity.

    Raises:
        NotFoundError: There is no keyring that keeps secrets; says what to do instead.
    """
    backend = _backend()
    _in_time(lambda: backend.set_password(SERVICE, str(identity.to_public()), str(identity)))


def forget_in_keyring(recipient: str) -> bool:
    """Take an identity out of the keyring.

    Args:
        recipient: Its public half.

    Returns:
        Whether it was there.

    Raises:
        NotFoundError: There is no keyring that keeps secrets.
    """
    backend = _backend()
    if _in_time(lambda: backend.get_password(SERVICE, recipient)) is None:
        return False
    _in_time(lambda: backend.delete_password(SERVICE, recipient))
    return True


_WITHOUT_KEYRING = (
    "Without one, `jupyter loopat vault encrypt NAME --key file` keeps the key in a file, and of a vault with a "
    "passphrase `jupyter loopat shell` and `exec` ask for it each time."
)


def _from_keyring(recipient: str) -> str | None:
    try:
        backend = _backend()
        return _in_time(lambda: backend.get_password(SERVICE, recipient))
    except NotFoundError:
        return None


def _backend() -> KeyringBackend:
    """The keyring of this session, if it is one that keeps secrets."""
    try:
        import keyring  # noqa: PLC0415 - asked for by few, and slow to load
    except ImportError:
        raise NotFoundError(
            f"The package keyring is not installed. Run `pip install 'loopat-jupyter[keyring]'`. {_WITHOUT_KEYRING}"
        ) from None
    backend = keyring.get_keyring()
    chain = getattr(backend, "backends", (backend,))
    if backend.priority <= 0 or any(type(link).__module__.startswith(_IN_THE_CLEAR) for link in chain):
        raise NotFoundError(
            "There is no keyring here that keeps secrets: it takes a desktop session, or a keyring daemon such as "
            f"gnome-keyring. {_WITHOUT_KEYRING}"
        )
    return backend


def _in_time(ask: Callable[[], _T]) -> _T:
    """Ask the keyring, which may in turn ask a person who is not there.

    Raises:
        NotFoundError: It refused, or did not answer.
    """
    import keyring.errors  # noqa: PLC0415

    answers: list[_T] = []
    problems: list[str] = []

    def work() -> None:
        try:
            answers.append(ask())
        except (keyring.errors.KeyringError, OSError, RuntimeError) as error:
            problems.append(str(error))

    # A daemon: an answer that never comes must not keep this process from ending.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_KEYRING_TIMEOUT_S)
    if answers:
        return answers[0]
    why = problems[0] if problems else f"no answer within {_KEYRING_TIMEOUT_S:g} s"
    raise NotFoundError(f"The keyring refused: {why}. Unlock it, and try again.")


def seal_value(recipient: str, value: bytes) -> bytes:
    """Encrypt a value.

    Args:
        recipient: Public half of the vault's identity.
        value: The value.

    Raises:
        ConfigurationError: The vault names no recipient that age knows.
    """
    try:
        return bytes(pyrage.encrypt(value, [pyrage.x25519.Recipient.from_str(recipient)]))
    except (pyrage.RecipientError, pyrage.EncryptError) as error:
        raise ConfigurationError(f"The vault's vault.json is damaged: {error}. Restore it from a backup.") from None


def open_value(identity: pyrage.x25519.Identity, data: bytes) -> bytes | None:
    """Decrypt a value; None when it is damaged or for another key.

    Args:
        identity: The vault's identity.
        data: What `seal_value` made.
    """
    try:
        return bytes(pyrage.decrypt(data, [identity]))
    except pyrage.DecryptError:
        return None


def wrap_identity(identity: pyrage.x25519.Identity, passphrase: str) -> bytes:
    """An identity as a file that a passphrase opens; age's own command opens it too.

    Args:
        identity: The identity.
        passphrase: What a person will be asked for.
    """
    return bytes(pyrage.passphrase.encrypt(f"{identity}\n".encode("ascii"), passphrase))


def unwrap_identity(data: bytes, passphrase: str) -> pyrage.x25519.Identity:
    """The identity that a passphrase opens.

    Args:
        data: What `wrap_identity` made.
        passphrase: As a person typed it.

    Raises:
        LockedVaultError: The passphrase is another one, or the file is damaged.
    """
    for _ in range(_BUSY_ATTEMPTS):
        try:
            identity = parse_identity(pyrage.passphrase.decrypt(data, passphrase).decode("ascii", "replace"))
        except pyrage.DecryptError as error:
            if "xcessive work" in str(error):
                continue
            identity = None
        if identity is None:
            raise LockedVaultError("That is not the passphrase of the vault. Try again.")
        return identity
    raise LockedVaultError("This machine is too busy to open the vault. Try again when it is less so.")
