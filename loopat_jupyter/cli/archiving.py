"""archive, unarchive: loops that are put away, and taken out again."""

from __future__ import annotations

import click

from loopat_jupyter.cli.options import examples
from loopat_jupyter.cli.references import find_loop, loop_argument
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.text import named


@click.command("archive", epilog=examples('jupyter loopat archive "Sales in May"'))
@loop_argument(many=True)
@pass_session
def archive_verb(session: Session, *, loops: tuple[str, ...]) -> None:
    """Archive loops: they are listed apart, their sandboxes stop, and JupyterLab changes none of their files."""
    for record in [find_loop(session.manager, reference) for reference in loops]:
        session.run(session.manager.update(record.id, {"archived": True}))
        click.echo(f"{named(record)} is archived. `jupyter loopat list --all` shows it.")


@click.command("unarchive", epilog=examples('jupyter loopat unarchive "Sales in May"'))
@loop_argument(many=True)
@pass_session
def unarchive_verb(session: Session, *, loops: tuple[str, ...]) -> None:
    """Bring archived loops back."""
    for record in [find_loop(session.manager, reference) for reference in loops]:
        session.run(session.manager.update(record.id, {"archived": False}))
        click.echo(f"{named(record)} can be used again.")
