"""Variables for a command inside a loop, from options and files. Pure apart from reading the files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.workspace.variables import NAME, NO_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_LARGEST_FILE_BYTES = 1024 * 1024


def collect_variables(options: Iterable[str], files: Iterable[Path], environ: Mapping[str, str]) -> dict[str, str]:
    """All variables for a command; options win over files, later ones over earlier ones.

    Args:
        options: `NAME=VALUE`, or `NAME` alone for the value that it has out here.
        files: Files of such lines; blank lines and lines that start with `#` do not count.
        environ: Where a name alone is looked up.

    Raises:
        BadInputError: Not of that form, not in the environment, or a file that cannot be read.
    """
    found: dict[str, str] = {}
    for file in files:
        for number, line in enumerate(_lines(file), start=1):
            if line.strip() and not line.lstrip().startswith("#"):
                found.update([_variable(line.strip(), environ, f"line {number} of {file}")])
    for option in options:
        found.update([_variable(option, environ, "--env")])
    return found


def _lines(file: Path) -> list[str]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise BadInputError("--env-file", f"{file} cannot be read: {error.strerror}") from error
    if len(data) > _LARGEST_FILE_BYTES:
        raise BadInputError("--env-file", f"{file} is larger than {_LARGEST_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise BadInputError("--env-file", f"{file} is not UTF-8 text") from error


def _variable(text: str, environ: Mapping[str, str], origin: str) -> tuple[str, str]:
    name, given, value = text.partition("=")
    if not NAME.match(name):
        # What stands after the name may be a secret: it is not repeated.
        raise BadInputError("env", f"{name[:40]!r} ({origin}) {NO_NAME}. Write NAME=VALUE")
    if not given:
        if name not in environ:
            raise BadInputError("env", f"{name} ({origin}) has no value here. Set it, or write {name}=VALUE")
        value = environ[name]
    if "\0" in value or not _is_text(value):
        raise BadInputError("env", f"the value of {name} ({origin}) is not UTF-8 text")
    return name, value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
