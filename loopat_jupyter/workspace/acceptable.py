"""What a loop may be called, which images it may name and what may be attached to it."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

import msgspec

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.models import MAX_METADATA_BYTES, MAX_TITLE_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_METADATA_DEPTH = 64
"""A record that could be written must be readable too, from however deep a stack; Python's own limit counts both."""

_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Directions of characters that turn round what stands after them (Unicode UAX 9)."""

_TRANSPORT = re.compile(
    r"[a-z0-9-]+://|(atomic|containers-storage|dir|docker-archive|docker-daemon|oci|oci-archive|ostree|sif|tarball):"
)
"""Where podman would look instead of a registry (containers-transports(5))."""

_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:@-]{0,254}\Z", re.IGNORECASE)

_HOST_PART = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:localhost|{_HOST_PART}(?:(?:\.{_HOST_PART})+(?::\d+)?|:\d+))"
_NAME_PART = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:{_HOST}/)?{_NAME_PART}(?:/{_NAME_PART})*"
    r"(?::\w[\w.-]{0,127})?(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?\Z",
    re.ASCII,
)
"""The grammar of github.com/distribution/reference; what podman takes for a host has a dot or a port."""


def check_title(title: str) -> str:
    """The title without surrounding blanks, in one normal form (Unicode NFC).

    Raises:
        BadInputError: Empty, too long, or holding control characters or such that turn lines round.
    """
    text = unicodedata.normalize("NFC", title).strip()
    if all(unicodedata.category(character)[0] in "ZC" for character in text):
        raise BadInputError("title", "must not be empty, nor all blank")
    if len(text) > MAX_TITLE_CHARACTERS:
        raise BadInputError("title", f"must be at most {MAX_TITLE_CHARACTERS} characters, has {len(text)}")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise BadInputError("title", "must be one line without control characters")
    if any(unicodedata.bidirectional(character) in _TURNING for character in text):
        raise BadInputError("title", "must be one line without characters that turn the direction of others")
    return text


def check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata that can be stored and read again.

    Raises:
        BadInputError: More than 16 KiB as JSON, nested too deeply, or not Unicode.
    """
    try:
        size_bytes = len(msgspec.json.encode(metadata))
    except (RecursionError, UnicodeEncodeError, TypeError) as error:
        raise BadInputError("metadata", f"cannot be stored: {error}") from error
    if _deeper(metadata, MAX_METADATA_DEPTH):
        raise BadInputError("metadata", f"must not be nested deeper than {MAX_METADATA_DEPTH} levels")
    if size_bytes > MAX_METADATA_BYTES:
        raise BadInputError("metadata", f"must be at most {MAX_METADATA_BYTES} bytes as JSON, has {size_bytes}")
    return metadata


def _deeper(value: object, levels: int) -> bool:
    """Whether lists and objects are nested in more than `levels` levels."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(entry, levels - 1) for entry in inner)


def check_image(image: str) -> str:
    """An image reference that podman can read.

    Raises:
        BadInputError: Not of the form `name`, `name:tag` or `name@digest`.
    """
    if not (is_image(image) and _REFERENCE.match(image)):
        raise BadInputError("image", f"{image[:80]!r} is not an image reference such as `python:3.13`")
    return image


CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "title": check_title,
    "image": lambda image: image if image is None else check_image(image),
    "metadata": check_metadata,
    "archived": bool,
}
"""What can be changed of a loop, but its settings and its vault, and what makes each acceptable."""


def is_image(text: str) -> bool:
    """Whether a text can be handed to podman as an image: it is mistaken for no option and read from no folder.

    Args:
        text: Anything.
    """
    return bool(_IMAGE.match(text)) and not _TRANSPORT.match(text)
