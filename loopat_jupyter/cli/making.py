"""create, distill: verbs that make a loop."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from loopat_jupyter.cli.choices import chosen, own_choices
from loopat_jupyter.cli.options import as_json, examples, from_here
from loopat_jupyter.cli.progress import shown_progress
from loopat_jupyter.cli.references import find_loop, loop_argument
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.text import named, short_id
from loopat_jupyter.errors import BadInputError, LoopatError, plain
from loopat_jupyter.models import MAX_TITLE_CHARACTERS, LoopConfig, NewLoop, Status
from loopat_jupyter.wording import listing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopat_jupyter.models import Loop

NOT_STARTED = Status(state="absent")


def _one_title(context: click.Context, argument: click.Parameter, words: tuple[str, ...]) -> str:
    if len(words) > 1:
        raise click.UsageError(f"Put the title in quotes: {shlex.quote(' '.join(words))}", context)
    del argument
    return words[0]


@click.command(
    "create",
    epilog=examples(
        'jupyter loopat create "Sales in May"',
        'jupyter loopat create "Fix the footer" --repo git@example.org:team/website.git',
        'jupyter loopat create "Untrusted code" --isolation strict --network none --start',
    ),
)
@click.argument("title", nargs=-1, required=True, callback=_one_title, metavar="TITLE")
@click.option(
    "--repo",
    metavar="REPO",
    callback=from_here,
    help="Check out this repo: a registered name, a URL, or a path that begins with / or a dot.",
)
@click.option("--ref", metavar="REF", help="Begin from this branch, tag or commit.")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="NAME",
    help="With the tools and agents' settings of this profile; may be given again, a later one wins.",
)
@click.option("--vault", metavar="NAME", help="The vault with its credentials; by default the one called `default`.")
@own_choices
@click.option(
    "--all-loops",
    is_flag=True,
    default=None,
    help="Let it read the folders of all loops, at /loopat/loops; config.toml must allow it. Never changed later.",
)
@click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="A note of your own; may be given again.")
@click.option("--start", is_flag=True, help="Start its sandbox right away.")
@as_json
@pass_session
def create_verb(
    session: Session,
    /,
    *,
    title: str,
    repo: str | None,
    ref: str | None,
    profiles: tuple[str, ...],
    vault: str | None,
    image: str | None,
    metadata: tuple[str, ...],
    start: bool,
    json: bool,
    **own: object,
) -> None:
    """Make a loop: a folder for its files, and at its first use a container for all that runs in it."""
    manager = session.manager
    new = NewLoop(
        title=title,
        repo=repo,
        ref=ref,
        profiles=profiles,
        vault=vault,
        image=image,
        config=chosen(LoopConfig(), own),
        metadata=parse_metadata(metadata),
    )
    with shown_progress(session, f"Loop {title}") as tell:
        record = session.run(manager.make(new, tell))
    alike = [short_id(other.id) for other in manager.store.readable() if other.title == title and other.id != record.id]
    if alike:
        name = plain(record.title)
        session.tell(f"{listing(alike)} is called {name}, too: name this one by its id, {short_id(record.id)}.")
    if start:
        try:
            with shown_progress(session, f"Sandbox of {record.title}") as tell:
                session.run(manager.start(record, tell))
        except LoopatError:
            # Who makes it again because of the error would have two.
            _show(session, manager.describe(record, NOT_STARTED), json=json)
            session.tell(f"{named(record)} is made, and is not started.")
            raise
    # Without a start nothing has asked podman for anything, so a loop can be made before podman is there.
    loop = session.run(manager.get(record.id, started=True)) if start else manager.describe(record, NOT_STARTED)
    _show(session, loop, json=json)
    for warning in loop.warnings:
        session.warn(warning)


@click.command("distill", epilog=examples('jupyter loopat distill "Sales in May"'))
@loop_argument()
@click.option(
    "--title", metavar="TITLE", help="What the new loop is called; by default as the other one, with a word before it."
)
@as_json
@pass_session
def distill_verb(session: Session, *, loop: str, title: str | None, json: bool) -> None:
    """Make a loop that begins with what another one left behind.

    It holds a copy of the other loop's notebooks, of what was typed there, and instructions for making something
    lasting of it. The other loop stays as it is.
    """
    manager = session.manager
    other = find_loop(manager, loop)
    new = NewLoop(title=title or f"Distill: {other.title}"[:MAX_TITLE_CHARACTERS], distill=other.id)
    with shown_progress(session, new.title) as tell:
        record = session.run(manager.make(new, tell))
    _show(session, manager.describe(record, NOT_STARTED), json=json)


def _show(session: Session, made: Loop, *, json: bool) -> None:
    if json:
        session.show_json(made)
    else:
        from loopat_jupyter.cli.views import created_sheet  # noqa: PLC0415 - nothing else waits for tables

        session.show(created_sheet(made))


def parse_metadata(options: Iterable[str]) -> dict[str, str]:
    """Notes as a person wrote them.

    Args:
        options: `NAME=VALUE`.

    Raises:
        BadInputError: Not of that form.
    """
    found = {}
    for option in options:
        name, given, value = option.partition("=")
        if not given or not name:
            raise BadInputError("metadata", f"{option[:80]!r} is not of the form NAME=VALUE")
        found[name] = value
    return found
