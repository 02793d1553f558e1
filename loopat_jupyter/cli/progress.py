"""Progress of long work: a bar on a terminal, one plain line per step elsewhere. Always on standard error."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from loopat_jupyter.cli.text import duration
from loopat_jupyter.errors import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from loopat_jupyter.models import Progress


PERCENT = 100
"""Work that is counted in so many steps is told as a percentage."""


def step_text(progress: Progress) -> str:
    """One step in words: "step 2 of 7 · system packages".

    Args:
        progress: The step.
    """
    label = plain(progress.label)
    return f"step {progress.step} of {progress.steps} · {label}" if progress.steps else label


@contextlib.contextmanager
def shown_progress(
    console: Console, what: str, *, quiet_when_piped: bool = False
) -> Iterator[Callable[[Progress], None]]:
    """Show the progress of what happens in the block; nothing when it makes no progress.

    Args:
        console: Where to.
        what: Name of the work in the summary: "Image", "Sandbox of welcome".
        quiet_when_piped: Print nothing where there is no terminal, for verbs that pass on the output of others.

    Yields:
        Takes each step.
    """
    if console.is_terminal:
        with _bar(console, what) as tell:
            yield tell
    elif quiet_when_piped:
        yield lambda _: None
    else:
        last = ""

        def tell_line(progress: Progress) -> None:
            nonlocal last
            # Of a percentage only what it is about: a hundred lines tell nobody more.
            text = plain(progress.label) if progress.steps == PERCENT else step_text(progress)
            if text != last:
                last = text
                console.print(text)

        yield tell_line


@contextlib.contextmanager
def _bar(console: Console, what: str) -> Iterator[Callable[[Progress], None]]:
    began_s = time.monotonic()
    bars = Bars(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    task = bars.add_task("", total=None, visible=False)
    worked = False

    def tell(progress: Progress) -> None:
        nonlocal worked
        bars.update(
            task,
            description=step_text(progress),
            total=progress.steps or None,
            completed=max(0, progress.step - 1),
            visible=True,
        )
        if not worked:
            worked = True
            bars.start()

    try:
        yield tell
    finally:
        if worked:
            bars.stop()
    if worked:
        console.print(f"✓ {plain(what)} ready in {duration(time.monotonic() - began_s)}", style="green")
