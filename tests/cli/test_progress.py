from __future__ import annotations

import io

import pytest
from rich.console import Console

from loopat_jupyter.cli.progress import shown_progress, step_text
from loopat_jupyter.models import Progress

STEPS = [
    Progress(label="system packages", step=1, steps=2),
    Progress(label="system packages", step=1, steps=2),
    Progress(label="python", step=2, steps=2),
    Progress(label="starting the sandbox"),
]


def shown(*, terminal: bool, quiet: bool = False, steps: list[Progress] = STEPS) -> str:
    console = Console(
        file=io.StringIO(), force_terminal=terminal, width=80, no_color=True, markup=False, highlight=False
    )
    with shown_progress(console, "Sandbox of [b]x[/b]", quiet_when_piped=quiet) as tell:
        for step in steps:
            tell(step)
    return console.file.getvalue()


def test_a_step_is_numbered_only_when_their_number_is_known() -> None:
    assert [step_text(step) for step in STEPS[2:]] == ["step 2 of 2 · python", "starting the sandbox"]


def test_without_a_terminal_each_step_is_one_line() -> None:
    assert shown(terminal=False).splitlines() == [
        "step 1 of 2 · system packages",
        "step 2 of 2 · python",
        "starting the sandbox",
    ]


def test_without_a_terminal_a_verb_that_passes_output_on_is_quiet() -> None:
    assert shown(terminal=False, quiet=True) == ""


def test_a_terminal_gets_a_bar_and_one_line_that_stays() -> None:
    text = shown(terminal=True)
    assert "step 1 of 2 · system packages" in text
    assert "0:00:0" in text
    assert text.splitlines()[-1].endswith("✓ Sandbox of [b]x[/b] ready in 0.0 s")


def test_what_makes_no_progress_shows_nothing() -> None:
    assert shown(terminal=True, steps=[]) == ""
    assert shown(terminal=False, steps=[]) == ""


def test_a_failure_leaves_no_bar_and_no_word_of_success() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, no_color=True)

    def fail() -> None:
        with shown_progress(console, "Image") as tell:
            tell(STEPS[0])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "ready" not in console.file.getvalue()
    assert console.file.getvalue().rstrip().endswith("\x1b[2K")
