"""The bar that shows long work on a terminal."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from loopat_jupyter.cli.progress import step_text
from loopat_jupyter.cli.text import duration
from loopat_jupyter.errors import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from loopat_jupyter.models import Progress


@contextlib.contextmanager
def shown_bar(console: Console, what: str) -> Iterator[Callable[[Progress], None]]:
    """Show a bar from the first step on, and in the end one line that stays; neither without a step.

    Args:
        console: A terminal.
        what: Name of the work in the last line: "Image", "Sandbox of welcome".

    Yields:
        Takes each step.
    """
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
