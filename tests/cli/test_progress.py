from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.cli.progress import shown_progress, step_text
from loopat_jupyter.cli.session import Session
from tests.cli.test_bars import STEPS

if TYPE_CHECKING:
    import pytest


def test_a_step_is_numbered_only_when_their_number_is_known() -> None:
    assert [step_text(step) for step in STEPS[2:]] == ["step 2 of 2 · python", "starting the sandbox"]


def test_without_a_terminal_each_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress(Session({}), "Sandbox") as tell:
        for step in STEPS:
            tell(step)
    assert capsys.readouterr() == ("", "step 1 of 2 · system packages\nstep 2 of 2 · python\nstarting the sandbox\n")


def test_without_a_terminal_a_verb_that_passes_output_on_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress(Session({}), "Sandbox", quiet_when_piped=True) as tell:
        tell(STEPS[0])
    assert capsys.readouterr() == ("", "")


def test_what_makes_no_progress_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress(Session({}), "Sandbox"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with shown_progress(Session({}), "Sandbox") as tell:
        tell(STEPS[0])
    assert "✓ Sandbox ready in " in capsys.readouterr().err
