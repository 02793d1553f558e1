from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING

import keyring
import keyring.backends.fail
import pyrage
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

from loopat_jupyter.errors import BadInputError, ConfigurationError, LockedVaultError, NotFoundError
from loopat_jupyter.workspace import vault_keys
from loopat_jupyter.workspace.vault_keys import (
    Keys,
    Seal,
    forget_in_keyring,
    open_value,
    parse_identity,
    seal_value,
    store_in_keyring,
    unwrap_identity,
)

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = str(IDENTITY.to_public())


def seal(key: str) -> Seal:
    return Seal(recipient=RECIPIENT, key=key)


class Memory(KeyringBackend):
    """A keyring as a desktop has one."""

    priority = 5

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.asked = 0

    def get_password(self, service: str, username: str) -> str | None:
        self.asked += 1
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    backend = Memory()
    monkeypatch.setattr(keyring, "get_keyring", lambda: backend)
    return backend


def test_without_any_key_nothing_opens():
    keys = Keys(None)
    assert keys.find(seal("file")) is None
    assert not keys.at_hand(seal("file"))
    with pytest.raises(BadInputError, match=r"vault\.identity"):
        keys.from_file()


def test_what_was_typed_is_known_to_this_process_alone():
    keys = Keys(None)
    keys.hold(IDENTITY)
    assert keys.find(seal("passphrase")) is IDENTITY
    assert Keys(None).find(seal("file")) is None


class TestFile:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "identity.txt"
        file.write_text(f"# a comment\n{pyrage.x25519.Identity.generate()}\n\n{IDENTITY}\nAGE-SECRET-KEY-1BROKEN\n")
        file.chmod(0o600)
        return file

    def test_the_identity_that_fits_is_found(self, file: Path):
        assert str(Keys(file).find(seal("file"))) == str(IDENTITY)
        assert Keys(file).at_hand(seal("file"))
        other = str(pyrage.x25519.Identity.generate().to_public())
        assert Keys(file).find(Seal(recipient=other, key="file")) is None

    def test_a_first_one_is_made_for_its_owner_alone(self, tmp_path: Path):
        file = tmp_path / "new" / "identity.txt"
        made = Keys(file).from_file()
        assert str(Keys(file).from_file()) == str(made)
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700

    def test_all_who_need_a_first_one_get_the_same(self, tmp_path: Path):
        file = tmp_path / "config" / "identity.txt"
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: str(Keys(file).from_file()), range(16)))
        assert len(set(made)) == 1
        assert made[0] in file.read_text()

    def test_one_that_others_can_read_is_refused(self, file: Path):
        file.chmod(0o640)
        with pytest.raises(ConfigurationError, match="chmod 600"):
            Keys(file).find(seal("file"))
        assert not Keys(file).at_hand(seal("file"))

    def test_a_link_is_refused_and_its_content_not_repeated(self, file: Path):
        link = file.with_name("link")
        link.symlink_to(file)
        with pytest.raises(ConfigurationError, match="is a symbolic link") as refused:
            Keys(link).find(seal("file"))
        assert "AGE-SECRET" not in refused.value.message

    @pytest.mark.parametrize("place", ["identity.txt/below", "locked/below/identity.txt", "n" * 300])
    def test_a_place_that_cannot_be_is_told(self, file: Path, place: str):
        (file.parent / "locked").mkdir(mode=0o500)
        keys = Keys(file.parent / place)
        with pytest.raises(ConfigurationError, match="Name a plain file of yours"):
            keys.from_file()
        assert not keys.at_hand(seal("file"))

    def test_one_without_any_identity_is_told(self, file: Path):
        file.write_text("# nothing\n")
        with pytest.raises(ConfigurationError, match="age-keygen"):
            Keys(file).from_file()


class TestKeyring:
    def test_it_keeps_an_identity_until_it_is_taken_out(self, memory: Memory):
        keys = Keys(None)
        assert keys.find(seal("keyring")) is None
        store_in_keyring(IDENTITY)
        assert memory.kept == {("loopat", RECIPIENT): str(IDENTITY)}
        for key in ("keyring", "passphrase"):
            assert str(keys.find(seal(key))) == str(IDENTITY)
        assert keys.find(seal("file")) is None
        assert forget_in_keyring(RECIPIENT)
        assert not forget_in_keyring(RECIPIENT)
        assert keys.find(seal("keyring")) is None

    def test_a_list_asks_it_once_and_a_process_each_time(self, memory: Memory):
        keys = Keys(None)
        for _ in range(50):
            assert not keys.at_hand(seal("keyring"))
        assert memory.asked == 1
        store_in_keyring(IDENTITY)
        assert keys.find(seal("keyring")) is not None
        assert memory.asked == 2

    def test_a_list_never_waits_for_it_twice(self, memory: Memory, monkeypatch: pytest.MonkeyPatch):
        release, answered = threading.Event(), threading.Event()
        monkeypatch.setattr(vault_keys, "_FIRST_LOOK_S", 0.01)
        monkeypatch.setattr(vault_keys, "_REMEMBER_S", 0.0)

        def slow(*_: str) -> str:
            release.wait()
            answered.set()
            return str(IDENTITY)

        monkeypatch.setattr(memory, "get_password", slow)
        keys = Keys(None)
        # Nobody is held up, and nobody asks a second time meanwhile.
        assert not any(keys.at_hand(seal("keyring")) for _ in range(20))
        assert len(keys._asking) == 1
        release.set()
        answered.wait()
        keys._asking[RECIPIENT].join()
        assert keys.at_hand(seal("keyring"))

    def test_an_entry_for_another_key_is_none(self, memory: Memory):
        for text in (str(pyrage.x25519.Identity.generate()), "nonsense"):
            memory.kept["loopat", RECIPIENT] = text
            assert Keys(None).find(seal("keyring")) is None

    def test_a_locked_one_is_told_and_has_nothing(self, memory: Memory, monkeypatch: pytest.MonkeyPatch):
        def locked(*_: str) -> None:
            raise KeyringLocked("is locked")

        monkeypatch.setattr(memory, "get_password", locked)
        monkeypatch.setattr(memory, "set_password", locked)
        assert Keys(None).find(seal("keyring")) is None
        with pytest.raises(NotFoundError, match="is locked"):
            store_in_keyring(IDENTITY)

    def test_one_that_never_answers_keeps_nobody(self, memory: Memory, monkeypatch: pytest.MonkeyPatch):
        release = threading.Event()
        monkeypatch.setattr(vault_keys, "_KEYRING_TIMEOUT_S", 0.05)
        monkeypatch.setattr(memory, "get_password", lambda *_: release.wait() and None)
        try:
            assert Keys(None).find(seal("keyring")) is None
        finally:
            release.set()

    def test_one_that_keeps_secrets_in_the_clear_is_none(self, monkeypatch: pytest.MonkeyPatch):
        plaintext = type("PlaintextKeyring", (Memory,), {"__module__": "keyrings.alt.file"})
        chain = type("ChainerBackend", (Memory,), {"backends": [plaintext()]})
        for backend in (keyring.backends.fail.Keyring(), plaintext(), chain()):
            monkeypatch.setattr(keyring, "get_keyring", lambda backend=backend: backend)
            with pytest.raises(NotFoundError, match="no keyring here that keeps secrets"):
                store_in_keyring(IDENTITY)
            assert Keys(None).find(seal("keyring")) is None

    def test_without_the_package_the_message_says_how_to_get_it(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(__import__("sys").modules, "keyring", None)
        with pytest.raises(NotFoundError, match=r"pip install 'loopat-jupyter\[keyring\]'"):
            store_in_keyring(IDENTITY)


def test_values():
    sealed = seal_value(RECIPIENT, b"canary\xff")
    assert b"canary" not in sealed
    assert sealed.startswith(b"age-encryption.org/v1\n")
    assert open_value(IDENTITY, sealed) == b"canary\xff"
    assert open_value(IDENTITY, sealed[:-1]) is None
    assert open_value(IDENTITY, b"") is None
    assert open_value(pyrage.x25519.Identity.generate(), sealed) is None
    with pytest.raises(ConfigurationError, match=r"vault\.json"):
        seal_value("age1nonsense", b"x")


@pytest.fixture(autouse=True)
def _nothing_real(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches the keyring of the person who runs it."""
    monkeypatch.setattr(keyring, "get_keyring", keyring.backends.fail.Keyring)


def test_a_busy_machine_is_told_from_a_wrong_passphrase(monkeypatch: pytest.MonkeyPatch):
    """age measures the machine anew each time, and may find the work too much once."""
    answers = ["Excessive work parameter for passphrase.", "", "Decryption failed", *["Excessive work parameter."] * 9]

    def decrypt(data: bytes, passphrase: str) -> bytes:
        if problem := answers.pop(0):
            raise pyrage.DecryptError(problem)
        return f"{IDENTITY}\n".encode()

    monkeypatch.setattr(pyrage.passphrase, "decrypt", decrypt)
    assert str(unwrap_identity(b"", "x")) == str(IDENTITY)
    with pytest.raises(LockedVaultError, match="not the passphrase"):
        unwrap_identity(b"", "x")
    with pytest.raises(LockedVaultError, match="too busy"):
        unwrap_identity(b"", "x")


@pytest.mark.parametrize("text", ["", "x", RECIPIENT, "AGE-SECRET-KEY-1BROKEN"], ids=["empty", "x", "public", "broken"])
def test_what_is_no_identity(text: str):
    assert parse_identity(text) is None
