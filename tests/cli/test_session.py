from __future__ import annotations

import io
import logging
import os
from typing import TYPE_CHECKING

import click
import pytest

from loopat_jupyter.cli.session import Session, plain
from loopat_jupyter.cli.views import bare_table

if TYPE_CHECKING:
    from pathlib import Path


def test_json_knows_paths(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Session({}).show_json({"path": tmp_path})
    assert capsys.readouterr().out == f'{{\n  "path": "{tmp_path}"\n}}\n'


def test_long_lines_are_not_wrapped_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    Session({}).show("x" * 500)
    assert capsys.readouterr().out == "x" * 500 + "\n"


def test_lines_of_a_table_end_with_their_text_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = bare_table("A", "B")
    table.add_row("1", "long")
    table.add_row("2", "")
    Session({}).show(table)
    assert capsys.readouterr().out == "A  B\n1  long\n2\n"


def test_a_message_is_wrapped_by_the_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    Session({}).tell("To apply it: jupyter loopat recreate 0123abcd")
    assert "To apply it: jupyter loopat recreate 0123abcd" in capsys.readouterr().err


def test_markup_in_data_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    Session({}).tell("[red]a[/] :smile:")
    assert capsys.readouterr().err == "[red]a[/] :smile:\n"


def test_warnings_of_managers_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session({})
    session.configure(debug=False, no_color=True, verb=None)
    logging.getLogger("loopat_jupyter.loops").warning("Loop %s is odd", 1)
    logging.getLogger("loopat_jupyter.loops").info("details")
    session.configure(debug=True, no_color=True, verb=None)
    logging.getLogger("loopat_jupyter.loops").info("more")
    assert capsys.readouterr().err == "Loop 1 is odd\nmore\n"


def test_nobody_to_ask_is_told_what_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session({})
    session.confirm("Sure?", yes=True)
    with open(os.devnull) as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        with pytest.raises(click.UsageError, match="Add --yes"):
            session.confirm("Sure?", yes=False)


def test_no_word_of_a_loop_forges_a_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    Session({}).confirm("Build a\r\x1b[2KDelete\nnothing?", yes=False)
    assert capsys.readouterr().err == "Build a��[2KDelete�nothing? [y/N]: "


def test_plain_text_keeps_lines_and_drops_what_moves_the_cursor() -> None:
    assert plain("a\tb\nc\x1b[2J\x07\u202eé") == "a\tb\nc�[2J��é"
