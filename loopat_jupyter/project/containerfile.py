"""Reads what a Containerfile asks of podman, wherever one of podman's parsers may see an instruction begin. Pure.

Older ones know no here-documents. So where there may be one, each line counts as one that may begin an instruction,
also inside another; and what parsers could read in different ways is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_UNUSUAL = re.compile(r"[^\S \t]|[\x00-\x08\x0e-\x1b\x7f-\x9f]")
_OTHER_ESCAPE = re.compile(r"#[ \t]*escape[ \t]*=[ \t]*[^\\ \t]", re.IGNORECASE)
_INNER = re.compile(r"<<|\\\\[ \t]*$", re.MULTILINE)
"""What one parser ends a text with and another does not: here-documents, and two backslashes at the end of a line."""

_CONTINUED = re.compile(r"\\[ \t]*\Z")
_KEYWORD = re.compile(
    # Go, in which podman is written, has two small letters for İ.
    r"[ \t]*(?P<later>ONBU[Iİ]LD[ \t]+)?(?P<keyword>ADD|ARG|COPY|FROM|RUN)(?:[ \t]+|\Z)",
    re.IGNORECASE,
)
_FLAG = re.compile(r"--(?P<name>[a-z][a-z-]*)(?:=(?P<value>[!#-&(-\[\]-~]*))?(?:[ \t]+|\Z)")
"""One without quotes and escapes; a name with a variable in it could become any other."""

_INNER_FLAG = re.compile(r"(?:(?<=[ \t])|(?<=[^\x00-\x7f]))--")
_WITHOUT_VALUE = frozenset(("keep-git-dir", "link", "parents"))
"""Behind these some parsers look for more flags than others."""

_WORD = re.compile(r"[^ \t]+")
_MOST_WORDS = 4
"""Enough to tell that a `FROM` has too many."""


class Instruction(NamedTuple):
    """One that podman may find.

    Attributes:
        keyword: In capitals: ADD, ARG, COPY, FROM or RUN.
        flags: Names and values; the value of one without is empty.
        arguments: What stands behind the flags: of FROM and RUN the first words, of the others all.
        later: Whether it is for builds upon the image (`ONBUILD`).
    """

    keyword: str
    flags: tuple[tuple[str, str], ...]
    arguments: str
    later: bool


class Containerfile(NamedTuple):
    """What may be in a Containerfile.

    Attributes:
        instructions: In order. Of several ADD, ARG or COPY that begin inside one another only the first is told: it has
            the arguments of all.
        ambiguous: Whether parsers may differ in which of them are instructions, and which are text.
    """

    instructions: tuple[Instruction, ...]
    ambiguous: bool


def read_containerfile(containerfile: bytes) -> Containerfile:
    """The instructions that concern the host: by which podman fetches, mounts and builds upon something.

    Args:
        containerfile: What is written; not trusted.

    Raises:
        BadInputError: It is written in a way that parsers may read differently.
    """
    try:
        text = containerfile.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise refused("it is not UTF-8") from None
    lines = []
    for line in (line.removesuffix("\r") for line in text.split("\n")):
        bare = line.strip(" \t")
        if _OTHER_ESCAPE.match(bare):
            raise refused("it has an `escape` directive. Leave that out, and let lines go on with a backslash")
        if bare and not bare.startswith("#"):
            lines.append(line)
    unusual = _UNUSUAL.search("".join(lines))
    if unusual is not None:
        raise refused(f"it has the blank or control character U+{ord(unusual[0]):04X}. Replace it")
    ambiguous = _INNER.search("\n".join(lines)) is not None
    return Containerfile(
        tuple(
            found
            for whole, starts in _joined(lines)
            for found in _instructions(whole, starts if ambiguous else starts[:1])
        ),
        ambiguous,
    )


def refused(problem: str) -> BadInputError:
    """The error for what is not built.

    Args:
        problem: What is wrong with the Containerfile, and what to do.
    """
    return BadInputError("build", f"the project's Containerfile is not built: {problem}")


def _joined(lines: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    """Instructions with the lines that they go on in, and where in them lines begin."""
    pieces: list[str] = []
    starts: list[int] = []
    length = 0
    for number, line in enumerate(lines, start=1):
        going_on = _CONTINUED.search(line)
        piece = line[: going_on.start()] if going_on else line
        if piece.strip(" \t"):
            # What begins with nothing begins with what comes next.
            starts.append(length)
        pieces.append(piece)
        length += len(piece)
        if not going_on or number == len(lines):
            yield "".join(pieces), starts
            pieces, starts, length = [], [], 0


def _instructions(whole: str, starts: Sequence[int]) -> Iterator[Instruction]:
    told: set[str] = set()
    for start in starts:
        found = _KEYWORD.match(whole, start)
        keyword = found["keyword"].upper() if found else ""
        if found is None or keyword in told:
            continue
        flags: list[tuple[str, str]] = []
        arguments = ""
        if keyword in ("FROM", "RUN"):
            flags, arguments = _first_flags(whole, found.end(), keyword)
        else:
            told.add(keyword)
            arguments = whole[found.end() :]
            if keyword != "ARG":
                flags, arguments = _all_flags(arguments, keyword)
        yield Instruction(keyword, tuple(flags), arguments, bool(found["later"]))


def _first_flags(whole: str, position: int, keyword: str) -> tuple[list[tuple[str, str]], str]:
    flags = []
    while whole.startswith("--", position):
        flag = _FLAG.match(whole, position)
        if flag is None or flag["value"] is None:
            raise _flag_refused(keyword, whole[position:])
        flags.append((flag["name"], flag["value"]))
        position = flag.end()
    words: list[str] = []
    while len(words) < _MOST_WORDS and (word := _WORD.search(whole, position)):
        words.append(word[0])
        position = word.end()
    return flags, " ".join(words)


def _all_flags(rest: str, keyword: str) -> tuple[list[tuple[str, str]], str]:
    flags, left, position = [], [], 0
    for begun in _INNER_FLAG.finditer(" " + rest):
        begin = begun.start() - 1
        flag = _FLAG.match(rest, begin)
        if flag is None or (flag["value"] is None and flag["name"] not in _WITHOUT_VALUE):
            raise _flag_refused(keyword, rest[begin:])
        flags.append((flag["name"], flag["value"] or ""))
        left.append(rest[position:begin])
        position = flag.end()
    return flags, "".join((*left, rest[position:]))


def _flag_refused(keyword: str, text: str) -> BadInputError:
    return refused(
        f"podman may read `{keyword} {text[:80]}` in more than one way. Write its flags as `--name=value`, without "
        "quotes, backslashes and variables in names"
    )
