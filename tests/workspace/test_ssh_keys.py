"""Copies of the ssh keys of vaults."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.workspace.ssh_keys import LARGEST_KEY_BYTES, MOST_KEYS, forget_keys, ssh_keys
from loopat_jupyter.workspace.vault_edits import VaultEdits
from loopat_jupyter.workspace.vault_keys import Keys
from loopat_jupyter.workspace.vaults import VaultStore

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----\n"


@pytest.fixture
def store(workspace: Workspace) -> VaultStore:
    store = VaultStore(workspace, Keys(None))
    VaultEdits(store).create("ada", "work")
    return store


@pytest.fixture
def folder(store: VaultStore) -> Path:
    made = store.folder("ada", "work") / "mounts" / "home" / ".ssh"
    made.mkdir()
    return made


def keys(store: VaultStore) -> list[str]:
    """Names of the keys that are used, as the vault has them."""
    return [path.name.split("-", 1)[1] for path in ssh_keys(store, "ada", "work")]


def test_private_keys_are_used_by_name(store: VaultStore, folder: Path):
    for name, data in {"id_b": KEY, "id_a": KEY + b"a", "id_a.pub": KEY, "config": KEY, "id_none": b"text"}.items():
        (folder / name).write_bytes(data)
    assert keys(store) == ["id_a", "id_b"]
    [first, second] = ssh_keys(store, "ada", "work")
    assert (first.read_bytes(), second.read_bytes()) == (KEY + b"a", KEY)
    assert {path.stat().st_mode & 0o777 for path in (first, second)} == {0o600}


@pytest.mark.parametrize(
    "name", ["-oProxyCommand=x", "id_%d", "id_a b", "id_a\nb", "id_~", "id_" + "x" * 200, "id_\udcff", "id_"]
)
def test_a_name_that_could_mean_something_is_not_used(store: VaultStore, folder: Path, name: str):
    (folder / name).write_bytes(KEY)
    assert keys(store) == []


def test_neither_are_too_many_or_too_large_ones(store: VaultStore, folder: Path):
    (folder / "id_0").write_bytes(KEY + b"x" * LARGEST_KEY_BYTES)
    for number in range(1, 30):
        (folder / f"id_{number:02}").write_bytes(KEY + bytes([number]))
    assert keys(store) == [f"id_{number:02}" for number in range(1, MOST_KEYS + 1)]


def test_a_folder_that_a_loop_locked_has_none(store: VaultStore, folder: Path):
    (folder / "id_a").write_bytes(KEY)
    folder.chmod(0)
    try:
        assert keys(store) == []
    finally:
        folder.chmod(0o700)


def test_another_key_under_the_same_name_is_another_one(store: VaultStore, folder: Path):
    (folder / "id_a").write_bytes(KEY)
    before = ssh_keys(store, "ada", "work")
    (folder / "id_a").write_bytes(KEY + b"new")
    [after] = ssh_keys(store, "ada", "work")
    assert (after.read_bytes(), before[0].exists()) == (KEY + b"new", False)


def test_two_at_once_do_not_take_each_others_copies(store: VaultStore, folder: Path):
    for number in range(5):
        (folder / f"id_{number}").write_bytes(KEY + bytes([number]))
    problems: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(30):
                assert all(path.read_bytes().startswith(KEY) for path in ssh_keys(store, "ada", "work"))
        except (AssertionError, OSError) as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_the_copies_of_a_vault_go_with_it(store: VaultStore, folder: Path):
    (folder / "id_a").write_bytes(KEY)
    [copy] = ssh_keys(store, "ada", "work")
    forget_keys(store.workspace, "ada", "work")
    assert not copy.parent.exists()
    forget_keys(store.workspace, "ada", "work")


def test_what_a_killed_process_left_half_written_goes(store: VaultStore, folder: Path):
    (folder / "id_a").write_bytes(KEY)
    [copy] = ssh_keys(store, "ada", "work")
    left = copy.with_name(".left")
    left.write_bytes(b"-----")
    ssh_keys(store, "ada", "work")
    assert left.exists(), "somebody may be writing it"
    os.utime(left, (0, 0))
    ssh_keys(store, "ada", "work")
    assert not left.exists()
