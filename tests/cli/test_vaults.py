from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import keyring
import keyring.backends.fail
import msgspec
import pytest

from tests.cli.test_shell import Terminal
from tests.workspace.test_vault_keys import Memory

if TYPE_CHECKING:
    from tests.cli.conftest import FakeCommandLine, RealCommandLine

pytestmark = pytest.mark.lonely


CANARY = "Kanarienvogel4711"


@pytest.fixture(autouse=True)
def own_identity(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No test reads or makes the key of the person who runs it; real podman needs the real home."""
    if not request.node.get_closest_marker("podman"):
        monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setattr(keyring, "get_keyring", keyring.backends.fail.Keyring)


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def typed(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Answer prompts, and keep what was asked; whatever is asked must be hidden."""
    asked: list[str] = []
    left = list(answers)

    def prompt(text: str, *, hide_input: bool = False, **_: object) -> str:
        assert hide_input
        asked.append(text)
        return left.pop(0)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(click, "prompt", prompt)
    monkeypatch.setattr(sys, "stdin", Terminal())
    return asked


def test_what_a_new_person_sees(fake: FakeCommandLine) -> None:
    assert "jupyter loopat vault set API_TOKEN" in fake("vault", "list").out
    assert msgspec.json.decode(fake("vault", "list", "--json").out) == {"vaults": []}
    help_ = fake("vault", "--help").out
    for verb in ("list", "create", "rm", "set", "unset", "use", "encrypt", "decrypt", "unlock", "lock"):
        assert f"\n  {verb} " in help_


def test_a_value_comes_from_standard_input(fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fake("vault", "create", "work").code == 0
    piped(monkeypatch, f"{CANARY}\n\xff\n".encode("latin-1"))
    answer = fake("vault", "set", "TOKEN", "--vault", "work")
    assert answer == (0, "Set TOKEN in vault work. What starts from now on has it.\n", "")
    file = fake.manager.vaults.folder("work") / "envs" / "TOKEN"
    assert file.read_bytes() == f"{CANARY}\n\xff".encode("latin-1")
    # What should have written the value has failed: the old one is worth more.
    piped(monkeypatch, b"\n")
    failed = fake("vault", "set", "TOKEN", "--vault", "work")
    assert (failed.code, "It is as it was" in failed.err, file.exists()) == (2, True, True)
    assert fake("vault", "set", "EMPTY", "--vault", "work", "--empty").code == 0
    assert file.with_name("EMPTY").read_bytes() == b""
    file.with_name("LINK").symlink_to("/etc/passwd")
    listed, warning = fake("vault", "list")[1:]
    assert "TOKEN" in listed
    # The table is as wide as its names, not as its warnings.
    assert max(map(len, listed.splitlines())) < 80
    assert warning.startswith("! 'envs/LINK' of vault 'work' ")
    assert CANARY not in listed + fake("vault", "list", "--json").out
    assert fake("vault", "unset", "TOKEN", "--vault", "work").code == 0
    assert fake("vault", "unset", "TOKEN", "--vault", "work").code == 1


def test_a_value_is_asked_for_without_being_shown(fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = typed(monkeypatch, CANARY)
    answer = fake("vault", "set", "TOKEN")
    assert (answer.code, asked) == (0, ["Value of TOKEN"])
    assert CANARY not in answer.out + answer.err
    assert fake.manager.vaults.store.read("ada", "default")[0] == {"TOKEN": CANARY}


def test_a_value_is_never_taken_from_the_command_line(fake: FakeCommandLine) -> None:
    for words in (("TOKEN", CANARY), (f"TOKEN={CANARY}",), (f"TOKEN {CANARY}",), (f"-{CANARY}",)):
        answer = fake("vault", "set", "--", *words)
        assert answer.code == 2
        assert "Name the variable alone" in answer.err
        assert CANARY not in answer.err


@pytest.mark.parametrize("name", ["-v", "../x", "Work", "x" * 300])
def test_a_bad_name_is_refused(fake: FakeCommandLine, name: str) -> None:
    for verb in (("create",), ("rm", "--yes"), ("encrypt",), ("decrypt",), ("lock",)):
        answer = fake("vault", *verb, "--", name)
        assert answer.code == 2
        assert answer.err.startswith("name: ")


def test_a_vault_is_removed_after_a_question(fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake("vault", "create", "work")
    piped(monkeypatch, b"")
    assert "--yes" in fake("vault", "rm", "work").err
    assert fake("create", "Sales", "--vault", "work").code == 0
    assert "used by 'Sales'" in fake("vault", "rm", "work", "--yes").err
    assert fake("vault", "rm", "work", "--yes", "--force").code == 0
    gone = fake("vault", "rm", "work", "--yes")
    assert (gone.code, gone.err) == (1, "There is no vault 'work'. `jupyter loopat vault list` shows the vaults.\n")


def test_a_loop_is_made_with_a_vault_and_gets_another(fake: FakeCommandLine) -> None:
    fake("vault", "create", "work")
    made = msgspec.json.decode(fake("create", "Sales", "--vault", "work", "--json").out)
    assert made["vault"] == "work"
    assert "vault" in fake("show", "Sales").out
    assert fake("create", "Other", "--vault", "none").code == 2
    answer = fake("vault", "use", "Sales", "default")
    assert answer.out.endswith("has vault default now. What starts from now on has its variables.\n")
    assert fake.manager.store.read(made["id"]).vault == "default"
    assert fake("vault", "use", "Sales", "none").code == 2


def test_encrypted_with_a_file(fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    piped(monkeypatch, CANARY.encode())
    fake("vault", "set", "TOKEN")
    answer = fake("vault", "encrypt", "default")
    assert "Encrypted 1 variable of vault default." in answer.out
    assert "keep a copy elsewhere" in answer.out
    folder = fake.manager.vaults.folder("default")
    assert [path.name for path in (folder / "envs").iterdir()] == ["TOKEN.age"]
    assert "encrypted" in fake("vault", "list").out
    assert fake("vault", "encrypt", "default").out.startswith("Vault default is encrypted, with 1 variable.\n")
    typed(monkeypatch)
    refused = fake("vault", "encrypt", "default", "--key", "passphrase")
    assert (refused.code, "encrypted already, with its key in a file" in refused.err) == (1, True)
    assert "has no passphrase" in fake("vault", "unlock", "default").err
    assert "Decrypted 1 variable" in fake("vault", "decrypt", "default").out
    assert fake("vault", "decrypt", "default").out == "Vault default is not encrypted.\n"
    assert (folder / "envs" / "TOKEN").read_text() == CANARY


def test_encrypted_with_a_passphrase_and_unlocked_in_a_keyring(
    fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch, light_passphrases: None
) -> None:
    piped(monkeypatch, CANARY.encode())
    fake("vault", "set", "TOKEN")
    nobody = fake("vault", "encrypt", "default", "--key", "passphrase")
    assert (nobody.code, "Nobody is here to type a passphrase" in nobody.err) == (2, True)
    typed(monkeypatch, "open sesame")
    assert fake("vault", "encrypt", "default", "--key", "passphrase").code == 0
    assert "locked" in fake("vault", "list").out
    typed(monkeypatch, "wrong")
    refused = fake("vault", "decrypt", "default")
    assert (refused.code, refused.err) == (1, "That is not the passphrase of the vault. Try again.\n")
    typed(monkeypatch, "open sesame")
    assert "no keyring here" in fake("vault", "unlock", "default").err
    backend = Memory()
    monkeypatch.setattr(keyring, "get_keyring", lambda: backend)
    typed(monkeypatch, "open sesame")
    assert fake("vault", "unlock", "default").code == 0
    assert len(backend.kept) == 1
    assert fake("vault", "lock", "default").out == "Locked vault default.\n"
    assert fake("vault", "lock", "default").out == "Vault default was locked already.\n"
    assert backend.kept == {}


@pytest.mark.podman
def test_a_secret_is_piped_in_and_reaches_a_command(shared: RealCommandLine) -> None:
    files = Path(shared.here("vault", "create", "work").out.split()[-1])
    shared.typed("vault", "set", "TOKEN", "--vault", "work", stdin=b"a\nb\n")
    shared.look("create", "Piped", "--vault", "work")
    assert shared("exec", "Piped", "--", "printenv", "TOKEN").stdout == b"a\nb\n"
    assert shared("exec", "Piped", "--env", "TOKEN=mine", "--", "printenv", "TOKEN").stdout == b"mine\n"
    # A vault without files for the home asks for no other sandbox, one with files does.
    assert "recreate" not in shared.here("vault", "use", "Piped", "default").out
    (files / ".netrc").touch()
    assert "The next use changes that if nothing runs in it" in shared.here("vault", "use", "Piped", "work").out


@pytest.mark.podman
def test_a_passphrase_is_asked_for_where_somebody_is_there(shared: RealCommandLine, light_passphrases: None) -> None:
    """`exec` on a terminal asks; in a pipe the command runs without the variables, and the warning is shown."""
    shared("vault", "set", "TOKEN", stdin=CANARY.encode())
    new = Terminal(shared, "vault", "encrypt", "default", "--key", "passphrase")
    for question in (r"New passphrase: ", r"Repeat for confirmation: "):
        new.until(question)
        new.type("open sesame")
    assert new.end() == 0
    shared.look("create", "Asked")
    without = shared("exec", "Asked", "--", "printenv", "TOKEN", code=1)
    assert b"is locked" in without.stderr
    for answer, code in (("open sesame", 0), ("", 1), ("wrong", 125)):
        asked = Terminal(shared, "exec", "Asked", "--", "printenv", "TOKEN")
        asked.until(r"Passphrase of vault 'default'.*: ")
        asked.type(answer)
        assert asked.end() == code
        assert (CANARY in asked.seen) == (code == 0)
        assert not answer or answer not in asked.seen
