from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import BadInputError, ConfigurationError, NotFoundError, UnsafePathError
from loopat_jupyter.workspace.vault_keys import Keys
from loopat_jupyter.workspace.vaults import MAX_VARIABLES_BYTES, Entry, VaultStore, check_choice

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace


@pytest.fixture
def store(workspace: Workspace) -> VaultStore:
    return VaultStore(workspace, Keys(None))


@pytest.fixture
def vault(store: VaultStore) -> Path:
    folder = store.folder("ada", "work")
    (folder / "envs").mkdir(parents=True)
    (folder / "mounts" / "home").mkdir(parents=True)
    return folder


def test_where_there_is_nothing(store: VaultStore):
    assert store.names("ada") == []
    assert store.look("ada", "default") is None
    assert store.read("ada", "default") == ({}, ())
    with pytest.raises(NotFoundError, match="vault list"):
        store.require("ada", "work")


def test_what_a_person_laid_there(store: VaultStore, vault: Path):
    (vault / "envs" / "TOKEN").write_bytes(b"a\nb\n\n")
    (vault / "envs" / "RAW").write_bytes(b"\xff\n\xfe")
    (vault / "envs" / "EMPTY").touch()
    (vault / "envs" / "no-name").write_bytes(b"x")
    (vault / "envs" / "UID").write_bytes(b"x")
    (vault / "envs" / "FOLDER").mkdir()
    (vault / "mounts" / "home" / ".ssh").mkdir()
    (vault / "mounts" / "home" / ".netrc").touch()
    values, problems = store.read("ada", "work")
    assert {name: os.fsencode(value) for name, value in values.items()} == {
        "TOKEN": b"a\nb",
        "RAW": b"\xff\n\xfe",
        "EMPTY": b"",
    }
    assert problems == ()
    contents = store.look("ada", "work")
    assert contents.variables == ("EMPTY", "RAW", "TOKEN")
    assert contents.home == (Entry(".netrc", is_folder=False), Entry(".ssh", is_folder=True))
    assert store.names("ada") == ["work"]


def test_a_member_has_no_vault_of_another(store: VaultStore, vault: Path):
    (vault / "envs" / "TOKEN").write_bytes(b"a")
    for other in ("Ada", "bob", "../members/ada", "ada/vaults/../../ada"):
        assert store.read(other, "work") == ({}, ())
        assert store.names(other) == []


@pytest.mark.abuse("A4")
def test_links_and_devices_are_left_out_and_named(store: VaultStore, vault: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    (vault / "envs" / "LINK").symlink_to(outside)
    os.link(outside, vault / "envs" / "HARD")
    os.mkfifo(vault / "envs" / "FIFO")
    (vault / "envs" / "GOOD").write_bytes(b"good")
    # A naive reader follows both links.
    assert {(vault / "envs" / name).read_bytes() for name in ("LINK", "HARD")} == {b"secret"}
    home = vault / "mounts" / "home"
    (home / ".ssh").symlink_to(tmp_path)
    os.link(outside, home / ".netrc")
    os.mkfifo(home / ".fifo")
    (home / "a\nb").touch()
    (home / os.fsdecode(b"\xff")).mkdir()
    values, problems = store.read("ada", "work")
    assert values == {"GOOD": "good"}
    told = "\n".join(problems)
    for entry, why in (
        ("envs/LINK", "is a symbolic link"),
        ("envs/HARD", "is a hard link"),
        ("envs/FIFO", "is a FIFO"),
        ("mounts/home/.ssh", "is a symbolic link"),
        ("mounts/home/.netrc", "is a hard link"),
        ("mounts/home/.fifo", "is a FIFO"),
    ):
        assert f"'{entry}' of vault 'work' {why}" in told
    assert told.count("control characters or broken text") == 2
    assert store.look("ada", "work").home == ()


@pytest.mark.abuse("A4")
@pytest.mark.parametrize("part", ["", "envs", "mounts", "mounts/home"])
def test_no_folder_of_a_vault_is_a_link(store: VaultStore, vault: Path, tmp_path: Path, part: str):
    (vault / "envs" / "TOKEN").write_bytes(b"secret")
    (vault / "mounts" / "home" / ".ssh").mkdir()
    swapped = vault / part
    swapped.rename(tmp_path / "moved")
    swapped.symlink_to(tmp_path / "moved")
    # A naive reader goes where the link leads.
    assert (vault / "envs" / "TOKEN").read_bytes() == b"secret"
    assert (vault / "mounts" / "home" / ".ssh").is_dir()
    if not part:
        with pytest.raises(UnsafePathError, match="is a symbolic link"):
            store.read("ada", "work")
        assert store.names("ada") == []
        return
    values, problems = store.read("ada", "work")
    assert "is a symbolic link" in problems[0]
    assert values == ({} if part == "envs" else {"TOKEN": "secret"})
    assert store.look("ada", "work").home == ((Entry(".ssh", is_folder=True),) if part == "envs" else ())


def test_what_no_environment_holds_is_left_out(store: VaultStore, vault: Path):
    (vault / "envs" / "NUL").write_bytes(b"a\0LD_PRELOAD=evil")
    (vault / "envs" / "LONG").write_bytes(b"x" * 131_072)
    for number in range(6):
        (vault / "envs" / f"MANY{number}").write_bytes(b"x" * 100_000)
    values, problems = store.read("ada", "work")
    assert sorted(values) == [f"MANY{number}" for number in range(MAX_VARIABLES_BYTES // 100_000)]
    assert [problem.split()[2] for problem in problems] == ["LONG", "MANY5", "NUL"]


def test_a_damaged_seal_is_told_and_opens_nothing(store: VaultStore, vault: Path):
    (vault / "envs" / "TOKEN").write_bytes(b"x")
    (vault / "vault.json").write_bytes(b"{")
    with pytest.raises(ConfigurationError, match=r"vault\.json of vault 'work' is damaged"):
        store.read("ada", "work")


def test_a_loop_may_have_a_vault_that_is_there_or_the_default(store: VaultStore, vault: Path):
    assert check_choice(store, "ada", "work") == "work"
    assert check_choice(store, "ada", "default") == "default"
    for name in ("other", "../work", "Work"):
        with pytest.raises(BadInputError, match=r"^vault: "):
            check_choice(store, "ada", name)
