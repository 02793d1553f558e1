"""What may be a variable of a process: its name, its size, its content."""

from __future__ import annotations

import re

from loopat_jupyter.errors import BadInputError

MAX_VARIABLE_BYTES = 128 * 1024 - 2
"""One string of an environment may have 128 KiB with `=` and the final NUL (MAX_ARG_STRLEN, execve(2))."""

MAX_NAME_CHARACTERS = 250
"""It is the name of a file, perhaps with `.age` behind it; most file systems take 255 bytes."""

READ_ONLY = frozenset(("UID", "EUID", "PPID", "SHELLOPTS", "BASHOPTS", "BASH_VERSINFO"))
"""What bash, which starts the commands, lets nobody set (bash(1), Shell Variables)."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
NO_NAME = "is not the name of a variable: use letters (A to Z, a to z), digits and _, and no digit first"
"""What to say of a name that does not match."""


def is_variable(name: str) -> bool:
    """Whether a name can be that of a variable which a process inside gets."""
    return NAME.match(name) is not None and name not in READ_ONLY and len(name) <= MAX_NAME_CHARACTERS


def check_variable_name(field: str, name: str) -> None:
    """Refuse what cannot be a variable's name.

    Args:
        field: Name of the field.
        name: The name.

    Raises:
        BadInputError: It is none, or may not be set.
    """
    if not NAME.match(name):
        raise BadInputError(field, f"{name[:80]!r} {NO_NAME}")
    if len(name) > MAX_NAME_CHARACTERS:
        raise BadInputError(field, f"must be at most {MAX_NAME_CHARACTERS} characters, has {len(name)}")
    if name in READ_ONLY:
        raise BadInputError(field, f"{name} cannot be set: it is read-only in the shell that starts commands")


def check_variable_value(field: str, name: str, value: bytes) -> None:
    """Refuse a value that no environment can hold; the value is not repeated.

    Args:
        field: Name of the field.
        name: The variable.
        value: Its value.

    Raises:
        BadInputError: A NUL character in it, or too long.
    """
    if b"\0" in value:
        raise BadInputError(field, f"the value of {name[:80]} must not hold a NUL character")
    if len(value) + len(name) >= MAX_VARIABLE_BYTES:
        raise BadInputError(field, f"{name[:80]} must be shorter than {MAX_VARIABLE_BYTES} bytes. Use a file for data.")


def as_text(value: bytes) -> str:
    """Bytes as they stand in `os.environ`: what is not UTF-8 survives (PEP 383)."""
    return value.decode("utf-8", "surrogateescape")


def as_bytes(text: str) -> bytes:
    """The bytes that `as_text` was made from."""
    return text.encode("utf-8", "surrogateescape")
