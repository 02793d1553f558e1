"""set: what can be changed of a loop that is there."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import click

from loopat_jupyter.cli.choices import FIELDS, chosen, is_given, own_choices
from loopat_jupyter.cli.options import as_json, examples
from loopat_jupyter.cli.references import find_loop, loop_argument
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.text import changed_text

if TYPE_CHECKING:
    from loopat_jupyter.workspace.fixed import Amend


@click.command(
    "set",
    epilog=examples(
        'jupyter loopat set "Sales in May" --memory 4GiB --cpus 2',
        'jupyter loopat set "Sales in May" --network none --unset image',
        'jupyter loopat set "Sales in May" --title "Sales in June"',
    ),
)
@loop_argument()
@click.option("--title", metavar="TITLE", help="What it is called from now on; its short name stays.")
@click.option("--vault", metavar="NAME", help="The vault with its credentials.")
@own_choices
@click.option(
    "--unset",
    multiple=True,
    type=click.Choice(list(FIELDS)),
    metavar="OPTION",
    help=f"Go back to what the workspace says; may be given again. One of {', '.join(FIELDS)}.",
)
@as_json
@pass_session
def set_verb(
    session: Session,
    /,
    *,
    loop: str,
    title: str | None,
    vault: str | None,
    image: str | None,
    unset: tuple[str, ...],
    json: bool,
    **own: object,
) -> None:
    """Change the title, the vault, the image or the settings of a loop. What is not named stays as it is.

    A sandbox that runs keeps the settings that it was made with. If it has to be recreated for the new ones, this
    says so, with the command that does it.
    """
    manager = session.manager
    record = find_loop(manager, loop)
    asked = {"title": title, "vault": vault, "image": image}
    changes: dict[str, object] = {field: value for field, value in asked.items() if value is not None}
    given = {"image"} & changes.keys() | {field for field, value in own.items() if is_given(value)}
    if both := [option for option in unset if FIELDS[option] in given]:
        raise click.UsageError(f"--{both[0]} and --unset {both[0]} contradict each other.")
    if "image" in unset:
        changes["image"] = None
    if unset or any(map(is_given, own.values())):
        amend: Amend = functools.partial(chosen, own=own, unset=unset)
        changes["config"] = amend
    if not changes:
        raise click.UsageError("Say what to change, for example --memory 4GiB.")
    session.run(manager.update(record.id, changes))
    changed = session.run(manager.get(record.id))
    if json:
        session.show_json(changed)
    else:
        click.echo(changed_text(changed, at_start=bool(changes.keys() - {"title"})))
    for warning in changed.warnings:
        session.warn(warning)
