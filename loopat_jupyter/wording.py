"""Words for people: counted, in a row, and of what is wrong with a value, where `msgspec` names types of Python."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_KINDS = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "null": "nothing",
    "object": "an object",
    "str": "text",
}
_BOUNDS = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}
_LENGTHS = {"array": (" entry", " entries"), "object": (" field", " fields"), "str": (" character", " characters")}
_EXPECTED = re.compile(
    r"Expected `(?P<kinds>[^`]*)`(?:, got `(?P<got>[^`]*)`)?"
    r"(?P<length> of length)?(?: (?P<bound>[<>]=?) (?P<number>[\d.e+-]+))?(?: matching regex (?P<form>.*))?\Z",
    re.DOTALL,
)
_PLACE = re.compile(r"(?P<problem>.*) - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`", re.DOTALL)
_KEY = "key: "
"""What a problem begins with here that is not one of a value, but of the name that it has in an object."""
_NO_NEWLINE = r"(?!\\n)"
_INVALID = re.compile(r"Invalid enum value (.*)\Z", re.DOTALL)


def listing(words: Sequence[str]) -> str:
    """Words in a row: "a", "a and b", "a, b and c"; repeated ones are counted."""
    counted = [
        word if words.count(word) == 1 else f"{word} ({words.count(word)} times)" for word in dict.fromkeys(words)
    ]
    return " and ".join(filter(None, (", ".join(counted[:-1]), *counted[-1:])))


def count(number: int, noun: str) -> str:
    """A number of things.

    Args:
        number: How many.
        noun: What, in the singular; the plural adds an "s".
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def problem_and_place(message: str) -> tuple[str, str]:
    """A message of msgspec in two: what is wrong, and the path of the field, such as `config.network`.

    Args:
        message: Its message, which may repeat what somebody sent, with a place of its own in it.
    """
    found = _PLACE.fullmatch(message)
    if found is None:
        return message, ""
    return f"{_KEY if found['key'] else ''}{found['problem']}", found["path"].removeprefix(".")


def going_on(number: int, noun: str) -> str:
    """What to tell whoever ends a server of what goes on without it.

    Args:
        number: How many, at least one.
        noun: What, in the singular.
    """
    verb, them = ("goes", "it") if number == 1 else ("go", "them")
    return (
        f"{count(number, noun)} in loops {verb} on, and the next server of this workspace finds {them}. "
        "`jupyter loopat stop LOOP` ends what runs in a loop."
    )


def in_words(problem: str, allowed: Sequence[str] = ()) -> str:
    """A problem that msgspec found, as the end of a sentence about the value; what is not known stays as it is.

    Args:
        problem: Its message, without the place: "Expected `int` >= 16" is "must be a whole number of at least 16".
        allowed: The values that it may have, where they are counted and known.
    """
    if problem.startswith(_KEY):
        return f"has a name that {in_words(problem.removeprefix(_KEY))}"
    if found := _INVALID.match(problem):
        rest = f"not one of {', '.join(allowed)}" if allowed else "none of the values that it may have"
        return f"{found[1][:80]} is {rest}"
    found = _EXPECTED.match(problem)
    if found is None:
        return problem[:1].lower() + problem[1:]
    # What may be nothing is seldom given as nothing.
    kinds = found["kinds"].removesuffix(" | null").split(" | ")
    words = [f"must be {' or '.join(_KINDS.get(kind, kind) for kind in kinds)}"]
    if found["bound"]:
        things = _LENGTHS.get(kinds[0], ("", "")) if found["length"] else ("", "")
        words.append(f"of {_BOUNDS[found['bound']]} {found['number']}{things[found['number'] != '1']}")
    if found["form"]:
        words.append(f"of the form {found['form'].strip(chr(39)).removesuffix(_NO_NEWLINE)}")
    if found["got"]:
        words[-1] += f", not {_KINDS.get(found['got'], found['got'])}"
    return " ".join(words)
