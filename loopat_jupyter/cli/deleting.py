"""rm: deletes loops."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from loopat_jupyter.cli.living import inside_now
from loopat_jupyter.cli.options import examples, without_asking
from loopat_jupyter.cli.references import find_loop, loop_argument
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.text import named, short_id, size
from loopat_jupyter.errors import UnreadableRecordError
from loopat_jupyter.wording import count, listing
from loopat_jupyter.workspace.paths import is_loop_id
from loopat_jupyter.workspace.walking import entries_below

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager


@click.command("rm", epilog=examples('jupyter loopat rm "Sales in May"'))
@loop_argument(many=True)
@without_asking
@click.option(
    "--force",
    is_flag=True,
    help="Also with unsaved work, while a kernel, terminal or command runs in it (what they left in the background "
    "does not count), and where a Jupyter server has its root folder in it.",
)
@pass_session
def rm_verb(session: Session, *, loops: tuple[str, ...], yes: bool, force: bool) -> None:
    """Delete loops with all their files. There is no way back."""
    manager = session.manager
    # All are known before the first one goes: a slip in a later name costs nothing.
    for loop_id, name in dict(_to_delete(manager, reference) for reference in loops).items():
        if not (yes or force):
            # Nobody is asked about what is refused then.
            title = session.run(manager.refuse_loss(loop_id))
            session.run(manager.sandboxes.refuse_busy(loop_id, title))
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
