from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.cli.variables import collect_variables
from loopat_jupyter.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path


def test_options_win_over_files_and_later_ones_over_earlier_ones(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("# a comment\n\nA=1\nB=1\nC=1\n")
    second.write_text("B=2\nC=2")
    found = collect_variables(["C=3", "D=x=y z", "E="], [first, second], {})
    assert found == {"A": "1", "B": "2", "C": "3", "D": "x=y z", "E": ""}


def test_a_name_alone_takes_the_value_from_out_here() -> None:
    assert collect_variables(["TOKEN"], [], {"TOKEN": "s3cret", "OTHER": "x"}) == {"TOKEN": "s3cret"}


@pytest.mark.parametrize("option", ["1A=x", "=x", "A B=x", "a-b=x", "É=x"])
def test_what_is_no_name_is_refused_without_repeating_the_value(option: str) -> None:
    with pytest.raises(BadInputError, match="is not the name of a variable: use letters") as caught:
        collect_variables([option.replace("=x", "=s3cret")], [], {})
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize("value", ["a\0b", "\udcff"])
def test_a_value_that_cannot_be_passed_on_is_refused(value: str) -> None:
    with pytest.raises(BadInputError, match="the value of A"):
        collect_variables([f"A={value}"], [], {})


def test_a_name_without_a_value_anywhere_is_refused() -> None:
    with pytest.raises(BadInputError, match="TOKEN .* has no value here"):
        collect_variables(["TOKEN"], [], {})


def test_the_line_of_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "variables"
    file.write_text("A=1\nnonsense here\n")
    with pytest.raises(BadInputError, match=f"line 2 of {file}"):
        collect_variables([], [file], {})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="No such file"):
        collect_variables([], [tmp_path / "none"], {})
    (tmp_path / "binary").write_bytes(b"A=\xff")
    with pytest.raises(BadInputError, match="not UTF-8"):
        collect_variables([], [tmp_path / "binary"], {})
    (tmp_path / "huge").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(BadInputError, match="is larger than"):
        collect_variables([], [tmp_path / "huge"], {})
