"""vault: verbs about credentials. A value comes from standard input or a hidden prompt, never from the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from loopat_jupyter.cli.app import Group
from loopat_jupyter.cli.options import as_json, examples, without_asking
from loopat_jupyter.cli.references import find_loop, loop_argument
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.text import changed_text, named
from loopat_jupyter.errors import BadInputError, ConflictError
from loopat_jupyter.models import DEFAULT_VAULT
from loopat_jupyter.wording import count
from loopat_jupyter.workspace.variables import MAX_VARIABLE_BYTES, NAME, as_bytes, check_variable_name

if TYPE_CHECKING:
    from loopat_jupyter.workspace.vault_keys import KeyPlace

_vault_option = click.option("--vault", default=DEFAULT_VAULT, show_default=True, metavar="NAME", help="Which vault.")


@click.group(
    "vault",
    cls=Group,
    epilog=examples(
        "jupyter loopat vault set API_TOKEN",
        "jupyter loopat vault set API_TOKEN --vault work < token.txt",
        'jupyter loopat create "Sales in May" --vault work',
    ),
)
def vault_verb() -> None:
    """Keep credentials for loops: named sets of variables and files, of which a loop has one.

    A variable is in the environment of every kernel, terminal and command that starts in the loop. Files are laid by
    hand into the vault's folder mounts/home/, and are seen in the home of the loop.
    """


@vault_verb.command(
    "list", short_help="List vaults and names of variables.", epilog=examples("jupyter loopat vault list")
)
@as_json
@pass_session
def list_vaults(session: Session, *, json: bool) -> None:
    """List vaults with the names of their variables; values are never shown."""
    vaults = session.manager.vaults.listed()
    if json:
        session.show_json({"vaults": vaults})
        return
    from loopat_jupyter.cli.views import no_vaults, vaults_table  # noqa: PLC0415 - nothing else waits for tables

    if vaults:
        session.show(vaults_table(vaults))
        for warning in (warning for vault in vaults for warning in vault.warnings):
            session.warn(warning)
    else:
        session.show(no_vaults())


@vault_verb.command("create", epilog=examples("jupyter loopat vault create work"))
@click.argument("name")
@pass_session
def create_vault(session: Session, *, name: str) -> None:
    """Make an empty vault."""
    vaults = session.manager.vaults
    vaults.create(name)
    folder = vaults.folder(name)
    click.echo(f"Made vault {name}. Files for the home of its loops go to {folder / 'mounts' / 'home'}")


@vault_verb.command("rm", epilog=examples("jupyter loopat vault rm work"))
@click.argument("name")
@without_asking
@click.option("--force", is_flag=True, help="Also while loops use it.")
@pass_session
def remove_vault(session: Session, *, name: str, yes: bool, force: bool) -> None:
    """Remove a vault with all that lies in it. There is no way back."""
    vault = session.manager.vaults.show(name)
    held = f"{count(len(vault.variables), 'variable')} and {count(len(vault.home), 'thing')} for the home"
    session.confirm(f"Remove vault {name} with {held}?", yes=yes)
    session.run(session.manager.vaults.remove(name, force=force))
    click.echo(f"Removed vault {name}.")


def _name_alone(context: click.Context, argument: click.Parameter, words: tuple[str, ...]) -> str:
    del argument
    # What was typed is not repeated, as click would do: it may be the value, or have it in it.
    form = "letters (A to Z, a to z), digits and _, and no digit first."
    if len(words) > 1 or "=" in words[0]:
        raise click.UsageError(
            f"A value does not belong on a command line, where others see it. Name the variable alone: {form}", context
        )
    if not NAME.match(words[0]):
        raise click.UsageError(
            f"This is no name of a variable. Name the variable alone, its value is asked for: {form}", context
        )
    return words[0]


@vault_verb.command(
    "set", epilog=examples("jupyter loopat vault set API_TOKEN", "pass show api | jupyter loopat vault set API_TOKEN")
)
@click.argument("variable", metavar="VARIABLE", nargs=-1, required=True, callback=_name_alone)
@_vault_option
@click.option("--empty", is_flag=True, help="Set it to nothing.")
@pass_session
def set_variable(session: Session, *, variable: str, vault: str, empty: bool) -> None:
    """Set a variable. Its value is asked for without being shown, or read from standard input."""
    # Nobody types a value for what is refused then.
    check_variable_name("variable", variable)
    if empty:
        value = b""
    elif sys.stdin.isatty():
        value = as_bytes(click.prompt(f"Value of {variable}", hide_input=True, err=True))
    else:
        value = sys.stdin.buffer.read(MAX_VARIABLE_BYTES + 1)
        if not value.rstrip(b"\n"):
            # Most often what should have written it has failed.
            raise BadInputError(
                variable, "nothing came from standard input. It is as it was; --empty sets it to nothing"
            )
    session.manager.vaults.set(vault, variable, value.rstrip(b"\n"))
    click.echo(f"Set {variable} in vault {vault}. What starts from now on has it.")


@vault_verb.command("unset", epilog=examples("jupyter loopat vault unset API_TOKEN"))
@click.argument("variable", metavar="VARIABLE")
@_vault_option
@pass_session
def unset_variable(session: Session, *, variable: str, vault: str) -> None:
    """Remove a variable."""
    session.manager.vaults.unset(vault, variable)
    click.echo(f"Removed {variable} from vault {vault}. What runs keeps it until it ends.")


@vault_verb.command("use", epilog=examples('jupyter loopat vault use "Sales in May" work'))
@loop_argument()
@click.argument("name")
@pass_session
def use_vault(session: Session, *, loop: str, name: str) -> None:
    """Give a loop another vault."""
    manager = session.manager
    record = find_loop(manager, loop)
    session.run(manager.update(record.id, {"vault": name}))
    said = f"{named(record)} has vault {name} now. What starts from now on has its variables."
    click.echo(changed_text(session.run(manager.get(record.id)), said=said))


@vault_verb.command(
    "encrypt",
    short_help="Encrypt the variables of a vault on disk.",
    epilog=examples("jupyter loopat vault encrypt work", "jupyter loopat vault encrypt work --key passphrase"),
)
@click.argument("name")
@click.option(
    "--key",
    type=click.Choice(["file", "keyring", "passphrase"]),
    help="Where the key is: `[vault] identity` of the configuration (at first), the desktop's keyring, or behind a "
    "passphrase.",
)
@pass_session
def encrypt_vault(session: Session, *, name: str, key: KeyPlace | None) -> None:
    """Encrypt the variables of a vault on disk, and all that are set later. Files for the home stay as they are.

    Called again, it encrypts what was laid there in the clear meanwhile.
    """
    vaults = session.manager.vaults
    before, passphrase = vaults.show(name).encrypted, ""
    if key == "passphrase" and not before:
        passphrase = _ask_passphrase("New passphrase", twice=True)
    encrypted = vaults.encrypt(name, key, passphrase)
    variables = count(len(encrypted.variables), "variable")
    click.echo(f"Vault {name} is encrypted, with {variables}." if before else f"Encrypted {variables} of vault {name}.")
    if vaults.key_place(name) == "file" and (file := vaults.store.keys.identity_file):
        click.echo(f"Its key is in {file}: keep a copy elsewhere. Without it the variables are lost.")


def _ask_passphrase(question: str, *, twice: bool = False) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody is here to type a passphrase. Run this in a terminal.")
    answer: str = click.prompt(question, hide_input=True, confirmation_prompt=twice, err=True)
    return answer


@vault_verb.command("decrypt", epilog=examples("jupyter loopat vault decrypt work"))
@click.argument("name")
@pass_session
def decrypt_vault(session: Session, *, name: str) -> None:
    """Keep the variables of a vault in the clear again."""
    vaults = session.manager.vaults
    if vaults.asks_passphrase(name):
        vaults.open(name, _ask_passphrase(f"Passphrase of vault {name!r}"))
    before = vaults.show(name).encrypted
    variables = count(len(vaults.decrypt(name).variables), "variable")
    click.echo(f"Decrypted {variables} of vault {name}." if before else f"Vault {name} is not encrypted.")


@vault_verb.command(
    "unlock", short_help="Open a vault with a passphrase.", epilog=examples("jupyter loopat vault unlock work")
)
@click.argument("name")
@pass_session
def unlock_vault(session: Session, *, name: str) -> None:
    """Open a vault that has a passphrase for this login: its key goes into the desktop's keyring, until `vault lock`.

    Without a keyring, `jupyter loopat shell` and `exec` ask for the passphrase themselves and keep it to themselves.
    """
    session.manager.vaults.show(name)
    if session.manager.vaults.key_place(name) != "passphrase":
        raise ConflictError(f"Vault {name} has no passphrase. `jupyter loopat vault list` shows which ones are locked.")
    passphrase = _ask_passphrase(f"Passphrase of vault {name!r}")
    session.manager.vaults.unlock(name, passphrase)
    click.echo(f"Unlocked vault {name}. What starts from now on has its variables.")


@vault_verb.command("lock", epilog=examples("jupyter loopat vault lock work"))
@click.argument("name")
@pass_session
def lock_vault(session: Session, *, name: str) -> None:
    """Undo `vault unlock`. What runs keeps its variables until it ends."""
    locked = session.manager.vaults.lock(name)
    click.echo(f"Locked vault {name}." if locked else f"Vault {name} was locked already.")
