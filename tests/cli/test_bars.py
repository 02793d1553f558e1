from __future__ import annotations

import io

import pytest
from rich.console import Console

from loopat_jupyter.cli.bars import shown_bar
from loopat_jupyter.models import Progress

STEPS = [
    Progress(label="system packages", step=1, steps=2),
    Progress(label="system packages", step=1, steps=2),
    Progress(label="python", step=2, steps=2),
    Progress(label="starting the sandbox"),
]


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80, no_color=True, markup=False, highlight=False)


def shown(steps: list[Progress]) -> str:
    console = terminal()
    with shown_bar(console, "Sandbox of [b]x[/b]") as tell:
        for step in steps:
            tell(step)
    return console.file.getvalue()


def test_a_terminal_gets_a_bar_and_one_line_that_stays() -> None:
    text = shown(STEPS)
    assert "step 1 of 2 · system packages" in text
    assert "0:00:0" in text
    assert "✓ Sandbox of [b]x[/b] ready in " in text.splitlines()[-1]


def test_what_makes_no_progress_shows_nothing() -> None:
    assert shown([]) == ""


def test_a_failure_leaves_no_bar_and_no_word_of_success() -> None:
    console = terminal()

    def fail() -> None:
        with shown_bar(console, "Image") as tell:
            tell(STEPS[0])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "ready" not in console.file.getvalue()
    assert console.file.getvalue().rstrip().endswith("\x1b[2K")
