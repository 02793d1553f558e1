"""create, list, show, rm: verbs about loops and their files."""

from __future__ import annotations

import contextlib
import datetime as dt
import shlex
from typing import TYPE_CHECKING

import click
import msgspec

from loopat_jupyter.cli.choices import chosen, own_choices
from loopat_jupyter.cli.living import inside_now
from loopat_jupyter.cli.options import as_json, examples, from_here, without_asking
from loopat_jupyter.cli.progress import shown_progress
from loopat_jupyter.cli.references import find_loop, loop_argument
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.text import named, short_id, size
from loopat_jupyter.cli.views import created_sheet, loop_sheet, loops_table, no_loops, shared_warnings
from loopat_jupyter.errors import BadInputError, LoopatError, UnreadableRecordError, plain
from loopat_jupyter.kernelspecs import Registry, registered_name
from loopat_jupyter.listing import LARGEST_PAGE
from loopat_jupyter.models import MAX_TITLE_CHARACTERS, LoopConfig, NewLoop, Status
from loopat_jupyter.wording import count, listing
from loopat_jupyter.workspace.paths import is_loop_id
from loopat_jupyter.workspace.walking import entries_below

NOT_STARTED = Status(state="absent")

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import Loop


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
    with shown_progress(session.err, f"Loop {title}") as tell:
        record = session.run(manager.make(new, tell))
    alike = [short_id(other.id) for other in manager.store.readable() if other.title == title and other.id != record.id]
    if alike:
        name = plain(record.title)
        session.tell(f"{listing(alike)} is called {name}, too: name this one by its id, {short_id(record.id)}.")
    if start:
        try:
            with shown_progress(session.err, f"Sandbox of {record.title}") as tell:
                session.run(manager.start(record, tell))
        except LoopatError:
            session.tell(f"{named(record)} is made, and is not started.")
            raise
    # Without a start nothing has asked podman for anything, so a loop can be made before podman is there.
    loop = session.run(manager.get(record.id, started=True)) if start else manager.describe(record, NOT_STARTED)
    if json:
        session.show_json(loop)
    else:
        session.show(created_sheet(loop))
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
    with shown_progress(session.err, new.title) as tell:
        record = session.run(manager.make(new, tell))
    made = manager.describe(record, NOT_STARTED)
    if json:
        session.show_json(made)
    else:
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


@click.command("list", epilog=examples("jupyter loopat list", "jupyter loopat list --json | jq -r '.loops[].id'"))
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only that many, the last used ones.")
@click.option("--all", "archived", is_flag=True, help="Show archived loops too.")
@as_json
@pass_session
def list_verb(session: Session, *, limit: int | None, archived: bool, json: bool) -> None:
    """List loops, the last used first."""
    loops = session.run(_loops(session.manager, limit, archived=archived))
    if json:
        problems = session.manager.store.problems()
        unreadable = [{"id": loop_id, "problem": problem} for loop_id, problem in problems.items()]
        session.show_json({"loops": loops, "unreadable": unreadable})
    elif loops:
        session.show(loops_table(loops, _now()))
        for warning in shared_warnings(loops):
            session.warn(warning)
    else:
        session.show(no_loops())


async def _loops(manager: LoopManager, limit: int | None, *, archived: bool) -> list[Loop]:
    found: list[Loop] = []
    for which in (False, True) if archived else (False,):
        after: str | None = None
        while True:
            page = await manager.page(limit=min(limit or LARGEST_PAGE, LARGEST_PAGE), after=after, archived=which)
            found += page.loops
            after = page.next
            if after is None or (limit is not None and len(found) >= limit):
                break
    found.sort(key=lambda loop: loop.last_activity, reverse=True)
    return found[:limit]


@click.command("show", epilog=examples('jupyter loopat show "Sales in May"'))
@loop_argument()
@as_json
@pass_session
def show_verb(session: Session, *, loop: str, json: bool) -> None:
    """Show everything about one loop. Nothing is started.

    The names of its kernels are for `jupyter nbconvert --ExecutePreprocessor.kernel_name=NAME`, `papermill --kernel
    NAME` and any other Jupyter program. They are known once the loop has run.
    """
    manager = session.manager
    record = find_loop(manager, loop)

    async def look() -> tuple[Loop, list[tuple[str, str]]]:
        shown = await manager.get(record.id)
        stamp = manager.sandboxes.state_files(record.id).running()
        if shown.state != "running" or stamp is None or record.archived:
            return shown, [(name, "") for name in Registry.of_user().names(record.id)]
        try:
            # To look at a loop is no use of it.
            specs = await manager.kernels.known(record, stamp)
        except LoopatError as error:
            # What is known is shown all the same.
            session.warn(error.message)
            return shown, [(name, "") for name in Registry.of_user().names(record.id)]
        return shown, [(registered_name(record, spec.name), spec.display_name) for spec in specs]

    shown, kernels = session.run(look())
    if json:
        session.show_json({**msgspec.to_builtins(shown, enc_hook=str), "kernels": [name for name, _ in kernels]})
    else:
        session.show(loop_sheet(shown, kernels, _now()))


@click.command("rm", epilog=examples('jupyter loopat rm "Sales in May"'))
@loop_argument(many=True)
@without_asking
@click.option(
    "--force",
    is_flag=True,
    help="Also with unsaved work, while something runs in it, and where a Jupyter server has its root folder in it.",
)
@pass_session
def rm_verb(session: Session, *, loops: tuple[str, ...], yes: bool, force: bool) -> None:
    """Delete loops with all their files. There is no way back."""
    manager = session.manager
    # All are known before the first one goes: a slip in a later name costs nothing.
    for loop_id, name in dict(_to_delete(manager, reference) for reference in loops).items():
        if not (yes or force):
            # Nobody is asked about what is refused then.
            session.run(manager.refuse_loss(loop_id))
        living = session.run(inside_now(manager, loop_id)) if force else []
        files, size_bytes = measure(manager.workspace.loop(loop_id))
        question = f"Delete {name} with {count(files, 'file')}, {size(size_bytes)}"
        question += f", and end {listing(living)}" if living else ""
        session.confirm(f"{question}?", yes=yes)
        session.run(manager.delete(loop_id, force=force))
        click.echo(f"Deleted {name}.")


def _to_delete(manager: LoopManager, reference: str) -> tuple[str, str]:
    """Id and name of a loop; one whose record is damaged can be deleted by its whole id."""
    try:
        record = find_loop(manager, reference)
    except UnreadableRecordError:
        if not is_loop_id(reference):
            raise
        return reference, f"the loop with the unreadable record ({short_id(reference)})"
    return record.id, f"loop {named(record)}"


def measure(folder: Path) -> tuple[int, int]:
    """How many files a folder holds, and their size in bytes. Symlinks are neither followed nor counted.

    What may not be entered, because root inside a sandbox made it, does not count.

    Args:
        folder: The folder.
    """
    files = size_bytes = 0
    for entry in entries_below(folder):
        if not entry.is_dir(follow_symlinks=False) and not entry.is_symlink():
            with contextlib.suppress(OSError):
                size_bytes += entry.stat(follow_symlinks=False).st_size
                files += 1
    return files, size_bytes


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
