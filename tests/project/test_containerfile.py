"""What may be read in a Containerfile, however it is spelled."""

from __future__ import annotations

import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.project.containerfile import Containerfile, Instruction, read_containerfile


def one(keyword: str, arguments: str, *flags: tuple[str, str], later: bool = False) -> Instruction:
    return Instruction(keyword, flags, arguments, later)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("FROM a AS b", [one("FROM", "a AS b")]),
        ("\ufefffrom\ta", [one("FROM", "a")]),
        ("FROM --platform=linux/$ARCH a", [one("FROM", "a", ("platform", "linux/$ARCH"))]),
        ("FROM one two three four five", [one("FROM", "one two three four")]),
        (
            "RUN --mount=type=tmpfs --network=none x -y --z",
            [one("RUN", "x -y --z", ("mount", "type=tmpfs"), ("network", "none"))],
        ),
        ("RUN x --mount=type=bind", [one("RUN", "x --mount=type=bind")]),
        (
            "COPY --chown=$A:$B --link a --from=b c",
            [one("COPY", "a c", ("chown", "$A:$B"), ("link", ""), ("from", "b"))],
        ),
        ("COPY \u00e0--from=b c", [one("COPY", "\u00e0c", ("from", "b"))]),
        ("ADD a\\\n\n # between\n#\nb \\  \r\n c", [one("ADD", "ab  c")]),
        ("A\\\nD\\\nD a b", [one("ADD", "a b")]),
        ("\\\n\\\n  ADD a b", [one("ADD", "a b")]),
        ("ONBUILD ADD a b\nonbu\u0130ld run c", [one("ADD", "a b", later=True), one("RUN", "c", later=True)]),
        ("RUN a && \\\n add b", [one("RUN", "a && add b")]),
        ("RUN a <<< \\\n add b \\\n ADD c", [one("RUN", "a <<< add b"), one("ADD", "b  ADD c")]),
        ("RUN <<E\nFROM a\nb \\\n#E\nADD c d", [one("RUN", "<<E"), one("FROM", "a"), one("ADD", "c d")]),
        ("RUN x\\\\ \nADD y", [one("RUN", "x\\ADD y"), one("ADD", "y")]),
        ("ARG A=1 --b\nARG C", [one("ARG", "A=1 --b"), one("ARG", "C")]),
        ('# FROM a\nFROMa b\nENV ADD=b\nLABEL x="FROM a"', []),
        ("# \u00a0 escape\n# escape=\\\nFROM a\\", [one("FROM", "a")]),
        ("ADD", [one("ADD", "")]),
    ],
)
def test_an_instruction_is_read_as_any_parser_would_read_it(written: str, read: list[Instruction]) -> None:
    ambiguous = "<<" in written or "\\\\ " in written
    assert read_containerfile(written.encode()) == Containerfile(tuple(read), ambiguous)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("# escape=`\nFROM a", "an `escape` directive"),
        ("\ufeff #\tEscape = `\nFROM a", "an `escape` directive"),
        ("\u00a0ADD a b", r"character U\+00A0"),
        ("FROM a\\\n\u2003# b\nc", r"character U\+2003"),
        ("RUN a\rADD b c", r"character U\+000D"),
        ("RUN a\\\r\r\nADD b c", r"character U\+000D"),
        ("RUN\f--mount=x", r"character U\+000C"),
        ("RUN\x1b", r"character U\+001B"),
        ("RUN --$X y", r"`RUN --\$X y` in more than one way"),
        ("RUN --m\\ount=x y", "in more than one way"),
        ('RUN --mo"unt"=x y', "in more than one way"),
        ("RUN --mount='x' y", "in more than one way"),
        ("RUN --mount=x\u00e0 y", "in more than one way"),
        ("RUN --mount x y", "in more than one way"),
        ("RUN -- x", "in more than one way"),
        ('ONBUILD RUN --mount=$X"" y', "in more than one way"),
        ('FROM --platform="a b" c', "in more than one way"),
        ("COPY --$X a b", "in more than one way"),
        ("COPY --from a b", "in more than one way"),
        ("COPY a --fr\\om=b c", "in more than one way"),
        ("COPY \\\n--from='b' a c", "in more than one way"),
        ('RUN <<E\ncopy --"from"=a b c\nE', "in more than one way"),
    ],
)
def test_what_parsers_may_read_differently_is_refused(written: str, problem: str) -> None:
    with pytest.raises(BadInputError, match=problem):
        read_containerfile(written.encode())


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(BadInputError, match="not UTF-8"):
        read_containerfile(b"RUN\xa0--mount=x")


@pytest.mark.parametrize(
    "line", ["FROM a \\\n", "ADD a \\\n", "COPY --from=a b \\\n", "ONBUILD \\\n", " \\\n", "RUN --mount=a \\\n"]
)
def test_a_large_containerfile_is_read_line_by_line(line: str) -> None:
    # With time that grows with the square of the size this takes hours.
    times = 2**18 // len(line)
    assert len(read_containerfile(f"# <<\n{line * times}<<".encode()).instructions) <= times
