from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pyrage
import pytest

from loopat_jupyter.errors import (
    BadInputError,
    ConflictError,
    EngineTimeoutError,
    LockedVaultError,
    NotFoundError,
    StorageFullError,
)
from loopat_jupyter.workspace import nofollow, vault_edits
from loopat_jupyter.workspace.locks import thread_lock
from loopat_jupyter.workspace.vault_edits import VaultEdits
from loopat_jupyter.workspace.vault_keys import Keys
from loopat_jupyter.workspace.vaults import VaultStore
from tests.light_age import wrap

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace


@pytest.fixture
def store(workspace: Workspace) -> VaultStore:
    return VaultStore(workspace, Keys(None))


@pytest.fixture
def edits(store: VaultStore) -> VaultEdits:
    made = VaultEdits(store)
    made.create("ada", "work")
    return made


def envs(store: VaultStore) -> list[str]:
    return sorted(path.name for path in (store.folder("ada", "work") / "envs").iterdir())


def test_a_new_vault_is_empty_and_private(edits: VaultEdits, store: VaultStore, workspace: Workspace):
    assert store.look("ada", "work").variables == ()
    for folder in workspace.members.rglob("*"):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in store.folder("ada", "work").iterdir()) == ["envs", "mounts"]
    with pytest.raises(ConflictError, match="'work' already"):
        edits.create("ada", "work")
    with pytest.raises(BadInputError, match=r"^name: "):
        edits.create("ada", "../work")


def test_a_variable_is_set_changed_and_removed(edits: VaultEdits, store: VaultStore):
    edits.set("ada", "work", "TOKEN", b"one")
    edits.set("ada", "work", "TOKEN", b"t\xffo\n")
    assert store.read("ada", "work") == ({"TOKEN": "t\udcffo"}, ())
    assert (store.folder("ada", "work") / "envs" / "TOKEN").stat().st_mode & 0o777 == 0o600
    edits.unset("ada", "work", "TOKEN")
    assert envs(store) == []
    with pytest.raises(NotFoundError, match="no variable TOKEN"):
        edits.unset("ada", "work", "TOKEN")


def test_only_the_default_vault_is_made_by_itself(edits: VaultEdits, store: VaultStore):
    edits.set("ada", "default", "TOKEN", b"x")
    assert store.names("ada") == ["default", "work"]
    for change in (lambda: edits.set("ada", "other", "A", b""), lambda: edits.unset("ada", "other", "A")):
        with pytest.raises(NotFoundError, match="no vault 'other'"):
            change()


@pytest.mark.parametrize("variable", ["", "a-b", "../X", "UID", "A.age", "A\0"])
def test_a_name_that_is_none_is_refused(edits: VaultEdits, variable: str):
    for change in (lambda: edits.set("ada", "work", variable, b""), lambda: edits.unset("ada", "work", variable)):
        with pytest.raises(BadInputError, match=r"^variable: "):
            change()


def test_a_link_in_the_place_of_a_variable_is_replaced_and_not_followed(
    edits: VaultEdits, store: VaultStore, tmp_path: Path
):
    (tmp_path / "outside").write_bytes(b"kept")
    (store.folder("ada", "work") / "envs" / "TOKEN").symlink_to(tmp_path / "outside")
    edits.set("ada", "work", "TOKEN", b"new")
    assert (tmp_path / "outside").read_bytes() == b"kept"
    assert store.read("ada", "work") == ({"TOKEN": "new"}, ())


def test_encrypted_and_back(edits: VaultEdits, store: VaultStore):
    identity = pyrage.x25519.Identity.generate()
    edits.set("ada", "work", "TOKEN", b"canary\xff\n2")
    assert not edits.encrypt_rest("ada", "work")
    edits.encrypt("ada", "work", identity, "file", "")
    # Nobody needs the key to add one.
    edits.set("ada", "work", "OTHER", b"second canary")
    assert envs(store) == ["OTHER.age", "TOKEN.age"]
    folder = store.folder("ada", "work")
    assert not [path for path in folder.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]
    assert store.look("ada", "work").variables == ("OTHER", "TOKEN")
    with pytest.raises(LockedVaultError, match=r"'work' is locked.*config\.toml"):
        store.read("ada", "work")
    with pytest.raises(LockedVaultError):
        edits.decrypt("ada", "work")
    with pytest.raises(ConflictError, match="encrypted already"):
        edits.encrypt("ada", "work", pyrage.x25519.Identity.generate(), "file", "")
    store.keys.hold(identity)
    values = {"OTHER": "second canary", "TOKEN": "canary\udcff\n2"}
    assert store.read("ada", "work") == (values, ())
    edits.unset("ada", "work", "OTHER")
    edits.decrypt("ada", "work")
    assert envs(store) == ["TOKEN"]
    assert sorted(path.name for path in folder.iterdir()) == ["envs", "mounts"]
    edits.decrypt("ada", "work")
    assert store.read("ada", "work")[0] == {"TOKEN": "canary\udcff\n2"}


_CHANGE = """
import sys
from pathlib import Path
import pyrage
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.vault_edits import VaultEdits
from loopat_jupyter.workspace.vault_keys import Keys
from loopat_jupyter.workspace.vaults import VaultStore

home, runtime, what, key = sys.argv[1:]
store = VaultStore(Workspace(Path(home), Path(runtime)), Keys(None))
identity = pyrage.x25519.Identity.from_str(key)
store.keys.hold(identity)
edits = VaultEdits(store)
for number in range(40):
    if what == "set":
        edits.set("ada", "work", f"V{number}", b"x")
    else:
        edits.encrypt("ada", "work", identity, "file", "")
        edits.decrypt("ada", "work")
"""


def test_two_processes_that_change_a_vault_lose_nothing(edits: VaultEdits, store: VaultStore):
    edits.set("ada", "work", "TOKEN", b"canary")
    identity = pyrage.x25519.Identity.generate()
    store.keys.hold(identity)
    paths = (str(store.workspace.home), str(store.workspace.runtime_root))
    changing = [
        subprocess.Popen([sys.executable, "-c", _CHANGE, *paths, what, str(identity)]) for what in ("set", "toggle")
    ]
    seen = set()
    while any(process.poll() is None for process in changing):
        # What starts meanwhile has it, too.
        seen.add(store.read("ada", "work")[0].get("TOKEN"))
    assert ([process.wait() for process in changing], seen) == ([0, 0], {"canary"})
    assert store.read("ada", "work") == ({"TOKEN": "canary", **{f"V{number}": "x" for number in range(40)}}, ())
    assert envs(store) == sorted(("TOKEN", *(f"V{number}" for number in range(40))))


def test_nobody_changes_a_vault_while_another_one_does(
    edits: VaultEdits, store: VaultStore, monkeypatch: pytest.MonkeyPatch
):
    identity = pyrage.x25519.Identity.generate()
    edits.set("ada", "work", "TOKEN", b"canary")
    monkeypatch.setattr(vault_edits, "_LOCK_TIMEOUT_S", 0)
    changes: list[Callable[[], object]] = [
        lambda: edits.create("ada", "home"),
        lambda: edits.set("ada", "work", "OTHER", b"x"),
        lambda: edits.unset("ada", "work", "TOKEN"),
        lambda: edits.encrypt("ada", "work", identity, "file", ""),
        lambda: edits.encrypt_rest("ada", "work"),
        lambda: edits.decrypt("ada", "work"),
    ]
    with thread_lock(store.workspace.locks / "vaults.lock", timeout_s=1, what="a test"):
        for change in changes:
            with pytest.raises(EngineTimeoutError, match="busy with the vaults"):
                change()
    assert store.read("ada", "work") == ({"TOKEN": "canary"}, ())


def test_a_name_that_is_too_long_for_a_file_is_refused(edits: VaultEdits):
    with pytest.raises(BadInputError, match="^variable: must be at most 250 characters, has 251"):
        edits.set("ada", "work", "A" * 251, b"x")
    edits.set("ada", "work", "A" * 250, b"x")
    edits.encrypt("ada", "work", pyrage.x25519.Identity.generate(), "file", "")


def test_what_was_laid_in_the_clear_beside_counts_and_is_encrypted_later(edits: VaultEdits, store: VaultStore):
    identity = pyrage.x25519.Identity.generate()
    edits.encrypt("ada", "work", identity, "file", "")
    (store.folder("ada", "work") / "envs" / "LATE").write_bytes(b"x")
    assert store.read("ada", "work")[0] == {"LATE": "x"}
    assert edits.encrypt_rest("ada", "work")
    assert envs(store) == ["LATE.age"]
    edits.set("ada", "work", "LATE", b"y")
    store.keys.hold(identity)
    assert store.read("ada", "work")[0] == {"LATE": "y"}


def test_a_value_for_another_key_is_left_out(edits: VaultEdits, store: VaultStore):
    identity, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    edits.encrypt("ada", "work", identity, "file", "")
    edits.set("ada", "work", "GOOD", b"x")
    (store.folder("ada", "work") / "envs" / "BAD.age").write_bytes(pyrage.encrypt(b"x", [other.to_public()]))
    store.keys.hold(identity)
    values, problems = store.read("ada", "work")
    assert values == {"GOOD": "x"}
    assert "BAD.age' of vault 'work' is encrypted for another key" in problems[0]
    with pytest.raises(ConflictError, match=r"BAD\.age"):
        edits.decrypt("ada", "work")
    # What could be decrypted is there, and so is the rest.
    assert set(envs(store)) >= {"BAD.age"}


@pytest.mark.fault("F13")
def test_a_full_disk_in_the_middle_loses_nothing(edits: VaultEdits, store: VaultStore, monkeypatch: pytest.MonkeyPatch):
    for name in ("A", "B", "C"):
        edits.set("ada", "work", name, name.encode())
    identity = pyrage.x25519.Identity.generate()
    whole, written = nofollow.os.fsync, []

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 2:
            raise OSError(28, "No space left on device")
        whole(descriptor)

    monkeypatch.setattr(nofollow.os, "fsync", full)
    with pytest.raises(StorageFullError):
        edits.encrypt("ada", "work", identity, "file", "")
    monkeypatch.setattr(nofollow.os, "fsync", whole)
    store.keys.hold(identity)
    assert envs(store) == ["A.age", "B", "C"]
    assert store.read("ada", "work") == ({"A": "A", "B": "B", "C": "C"}, ())
    assert edits.encrypt_rest("ada", "work")
    assert envs(store) == ["A.age", "B.age", "C.age"]


def test_a_passphrase_opens_what_age_itself_would(edits: VaultEdits, store: VaultStore):
    identity = pyrage.x25519.Identity.generate()
    edits.encrypt("ada", "work", identity, "passphrase", "pass phrase")
    wrapped = store.folder("ada", "work") / "identity.age"
    assert pyrage.passphrase.decrypt(wrapped.read_bytes(), "pass phrase").decode().strip() == str(identity)
    wrapped.write_bytes(wrap(f"{identity}\n".encode(), "pass phrase"))
    with pytest.raises(LockedVaultError, match="not the passphrase"):
        store.unwrap("ada", "work", "other")
    assert str(store.unwrap("ada", "work", "pass phrase")) == str(identity)
    with pytest.raises(NotFoundError, match="No passphrase opens"):
        store.unwrap("ada", "default", "x")


def test_a_damaged_variable_leaves_a_vault_as_it_was_encrypted(edits: VaultEdits, store: VaultStore):
    identity = pyrage.x25519.Identity.generate()
    edits.set("ada", "work", "GOOD", b"x")
    edits.encrypt("ada", "work", identity, "file", "")
    (store.folder("ada", "work") / "envs" / "ODD.age").write_bytes(b"damaged")
    store.keys.hold(identity)
    with pytest.raises(ConflictError, match="ODD"):
        edits.decrypt("ada", "work")
    assert envs(store) == ["GOOD.age", "ODD.age"]


def test_what_a_killed_change_left_in_the_clear_goes_with_the_next(edits: VaultEdits, store: VaultStore):
    edits.set("ada", "work", "TOKEN", b"x")
    left = store.folder("ada", "work") / "envs" / ".0123456789abcdef"
    for change in (
        lambda: edits.encrypt("ada", "work", pyrage.x25519.Identity.generate(), "file", ""),
        lambda: edits.set("ada", "work", "OTHER", b"y"),
    ):
        left.write_bytes(b"canary")
        change()
        assert not left.exists()


def test_a_vault_without_a_folder_of_variables_is_encrypted_and_back(edits: VaultEdits, store: VaultStore):
    (store.folder("ada", "work") / "envs").rmdir()
    identity = pyrage.x25519.Identity.generate()
    edits.encrypt("ada", "work", identity, "file", "")
    store.keys.hold(identity)
    edits.decrypt("ada", "work")
    assert store.look("ada", "work").seal is None
