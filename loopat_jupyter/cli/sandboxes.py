"""start, stop, recreate, kernelspecs: verbs about the sandbox of a loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from loopat_jupyter.cli.living import inside_now
from loopat_jupyter.cli.options import Number, as_json, examples, without_asking
from loopat_jupyter.cli.progress import shown_progress
from loopat_jupyter.cli.references import find_loop, loop_argument
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.text import changes, named, short_id
from loopat_jupyter.errors import EngineError, NotFoundError, UnreadableRecordError
from loopat_jupyter.kernelspecs import registered_name
from loopat_jupyter.wording import listing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopat_jupyter.models import LoopRecord


@click.command("start", epilog=examples('jupyter loopat start "Sales in May"'))
@loop_argument(many=True)
@pass_session
def start_verb(session: Session, *, loops: tuple[str, ...]) -> None:
    """Start the sandboxes of loops. The first start of all builds the image.

    Opening a notebook or a terminal in a loop starts it too; this does it ahead of time.
    """
    manager = session.manager
    for record in [find_loop(manager, reference) for reference in loops]:
        with shown_progress(session, f"Sandbox of {record.title}") as tell:
            running = session.run(manager.start(record, tell))
        click.echo(f"{named(record)} runs.")
        if told := changes(record, running):
            session.tell(told, style="yellow")
        _warn(session, record)


_CONFIGURED = math.inf
"""Stands for the idle timeout of the configuration."""


@click.command(
    "stop",
    epilog=examples('jupyter loopat stop "Sales in May"', "jupyter loopat stop --all", "jupyter loopat stop --idle"),
)
@loop_argument(many=True, required=False)
@click.option("--all", "everything", is_flag=True, help="Every loop of this workspace.")
@click.option(
    "--idle",
    "idle_s",
    type=Number(min=0, min_open=True),
    is_flag=False,
    flag_value=_CONFIGURED,
    metavar="[SECONDS]",
    help="Every loop in which nothing has run for this time, by default `idle_timeout_s` of the configuration.",
)
@pass_session
def stop_verb(session: Session, *, loops: tuple[str, ...], everything: bool, idle_s: float | None) -> None:
    """Stop the sandboxes of loops: what runs in them ends, files stay.

    A Jupyter server stops idle loops by itself while it runs; `--idle` does it once, for a timer where none may run. A
    loop with a kernel, a terminal or a command is not idle. Where no server saw when the last of them ended, the time
    counts from the first `--idle` after that.
    """
    if [bool(loops), everything, idle_s is not None].count(True) != 1:
        raise click.UsageError("Name loops to stop, or give --all or --idle.")
    manager = session.manager
    if idle_s is not None:
        _stop_idle(session, manager.config.idle_timeout_s if idle_s == _CONFIGURED else idle_s)
    for record in [find_loop(manager, reference) for reference in loops]:
        session.run(manager.stop(record))
        click.echo(f"{named(record)} is stopped.")
    if everything:
        session.run(manager.upkeep.stop_all())
        still = [loop_id for loop_id, facts in session.run(manager.sandboxes.containers()).items() if facts.running]
        if still:
            raise _still_running(still)
        click.echo("Every loop is stopped.")


def _stop_idle(session: Session, idle_timeout_s: float) -> None:
    if idle_timeout_s == 0:
        raise click.UsageError("idle_timeout_s is 0, so say how long: --idle SECONDS.")
    store = session.manager.store
    stopped, failed = session.run(session.manager.upkeep.stop_idle(idle_timeout_s))
    for loop_id in stopped:
        try:
            name = named(store.read(loop_id))
        except (NotFoundError, UnreadableRecordError):
            name = short_id(loop_id)
        click.echo(f"{name} is stopped.")
    if failed:
        raise _still_running(failed)
    if not stopped:
        click.echo("No loop has been idle for that long.")


def _still_running(loop_ids: Iterable[str]) -> EngineError:
    return EngineError(f"Still running: {', '.join(map(short_id, loop_ids))}. Run `jupyter loopat doctor`.")


@click.command("recreate", epilog=examples('jupyter loopat recreate "Sales in May"'))
@loop_argument()
@without_asking
@pass_session
def recreate_verb(session: Session, *, loop: str, yes: bool) -> None:
    """Recreate the sandbox of a loop: a new container, with the image and the settings of now.

    The loop's files and its home stay; what was installed elsewhere inside, with sudo for example, goes.
    """
    manager = session.manager
    record = find_loop(manager, loop)
    living = session.run(inside_now(manager, record.id))
    if living:
        ends = f"This ends {listing(living)}; kernels of notebooks start again."
        session.confirm(f"{named(record)} gets a new sandbox. {ends} Go on?", yes=yes)
    with shown_progress(session, f"New sandbox of {record.title}") as tell:
        session.run(manager.start(record, tell, fresh=True))
    click.echo(f"{named(record)} is recreated, and runs.")
    _warn(session, record)


def _warn(session: Session, record: LoopRecord) -> None:
    """Say what a loop that was just started lacks, such as tools that could not be installed."""
    for warning in session.run(session.manager.get(record.id, started=True)).warnings:
        session.warn(warning)


@click.command(
    "kernelspecs",
    epilog=examples('jupyter loopat kernelspecs "Sales in May"', "papermill --kernel NAME report.ipynb done.ipynb"),
)
@loop_argument()
@as_json
@pass_session
def kernelspecs_verb(session: Session, *, loop: str, json: bool) -> None:
    """List the kernels that a loop offers, with the names that any Jupyter program takes for them.

    Starts the loop if need be, since its own programs are asked.
    """
    manager = session.manager
    record = find_loop(manager, loop)
    with shown_progress(session, f"Sandbox of {record.title}") as tell:
        session.run(manager.start(record, tell))
    specs = session.run(manager.kernelspecs(record))
    named = [(registered_name(record, spec.name), spec) for spec in specs]
    if json:
        kernels = [
            {"kernel": name, "inside": spec.name, "language": spec.language, "display_name": spec.display_name}
            for name, spec in named
        ]
        session.show_json({"kernelspecs": kernels})
    else:
        from loopat_jupyter.cli.views import kernelspecs_table  # noqa: PLC0415 - nothing else waits for tables

        session.show(kernelspecs_table(named))
