"""Progress of long work: a bar on a terminal, one plain line per step elsewhere. Always on standard error."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from loopat_jupyter.errors import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loopat_jupyter.cli.session import Session
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
    session: Session, what: str, *, quiet_when_piped: bool = False
) -> Iterator[Callable[[Progress], None]]:
    """Show the progress of what happens in the block; nothing when it makes no progress.

    Args:
        session: Where to.
        what: Name of the work in the summary: "Image", "Sandbox of welcome".
        quiet_when_piped: Print nothing where there is no terminal, for verbs that pass on the output of others.

    Yields:
        Takes each step.
    """
    if session.told_on_terminal:
        from loopat_jupyter.cli.bars import shown_bar  # noqa: PLC0415 - nothing else waits for bars

        with shown_bar(session.err, what) as tell:
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
                session.tell(text)

        yield tell_line
