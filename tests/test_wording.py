from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from loopat_jupyter.wording import count, going_on, in_words, listing, problem_and_place


@pytest.mark.parametrize(
    ("value", "wanted", "said"),
    [
        (1, Annotated[int, Meta(ge=16)], "must be a whole number of at least 16"),
        (0, Annotated[float, Meta(ge=0.01)], "must be a number of at least 0.01"),
        (9, Annotated[int, Meta(lt=9)], "must be a whole number of at most 8"),
        (1, str, "must be text, not a whole number"),
        (None, bool, "must be true or false, not nothing"),
        ([], str | None, "must be text, not a list"),
        ("", Annotated[str, Meta(min_length=1)], "must be text of at least 1 character"),
        ("abc", Annotated[str, Meta(max_length=2)], "must be text of at most 2 characters"),
        ([1], Annotated[list[int], Meta(min_length=2)], "must be a list of at least 2 entries"),
        ({"a": 1}, Annotated[dict[str, int], Meta(min_length=2)], "must be an object of at least 2 fields"),
        ("a", Annotated[str, Meta(pattern="^[0-9]+$")], "must be text of the form ^[0-9]+$"),
        ("c", Literal["a", "b"], "'c' is none of the values that it may have"),
        (1.5, int, "must be a whole number, not a number"),
    ],
)
def test_what_msgspec_says_is_said_plainly(value: object, wanted: object, said: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert(value, wanted)
    assert in_words(str(raised.value)) == said


def test_a_value_forges_no_place_and_is_cut() -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert({"a": {"b": "x - at `$.fake`" + "y" * 1000}}, dict[str, dict[str, Literal["z"]]])
    problem, place = problem_and_place(str(raised.value))
    assert (place, len(in_words(problem)) < 200) == ("[...][...]", True)
    assert problem_and_place("All is wrong") == ("All is wrong", "")


def test_a_name_that_cannot_be_one_is_told_with_what_it_is_in() -> None:
    class Sent(msgspec.Struct):
        env: dict[Annotated[str, Meta(pattern=r"^[a-z]+$(?!\n)")], str]

    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.convert({"env": {"a-b": "1"}}, Sent)
    problem, place = problem_and_place(str(raised.value))
    assert (place, in_words(problem)) == ("env", "has a name that must be text of the form ^[a-z]+$")


def test_what_is_not_known_stays() -> None:
    assert in_words("Some other trouble `x`") == "some other trouble `x`"


@pytest.mark.parametrize(
    ("words", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c", "b"], "a, b (2 times) and c")],
)
def test_words_are_listed(words: list[str], text: str) -> None:
    assert listing(words) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_things_are_counted(number: int, text: str) -> None:
    assert count(number, "file") == text


def test_who_ends_a_server_is_told_what_goes_on_without_it() -> None:
    end = "`jupyter loopat stop LOOP` ends what runs in a loop."
    assert going_on(1, "kernel") == f"1 kernel in loops goes on, and the next server of this workspace finds it. {end}"
    assert going_on(2, "terminal") == (
        f"2 terminals in loops go on, and the next server of this workspace finds them. {end}"
    )
