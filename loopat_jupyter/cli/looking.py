"""list, show: verbs that look at loops."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click
import msgspec

from loopat_jupyter.cli.options import WholeNumber, as_json, examples
from loopat_jupyter.cli.references import find_loop, loop_argument
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.text import shared_warnings
from loopat_jupyter.errors import LoopatError
from loopat_jupyter.kernelspecs import Registry, registered_name
from loopat_jupyter.listing import LARGEST_PAGE

if TYPE_CHECKING:
    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import Loop


@click.command("list", epilog=examples("jupyter loopat list", "jupyter loopat list --json | jq -r '.loops[].id'"))
@click.option("--limit", type=WholeNumber(min=1), metavar="N", help="Only that many, the last used ones.")
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
        return
    from loopat_jupyter.cli.views import loops_table, no_loops  # noqa: PLC0415 - nothing else waits for tables

    if loops:
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
        from loopat_jupyter.cli.views import loop_sheet  # noqa: PLC0415 - nothing else waits for tables

        session.show(loop_sheet(shown, kernels, _now()))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
