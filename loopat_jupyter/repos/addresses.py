"""What may be called a repo or a ref. Pure: nothing here looks at a disk or a network."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import SplitResult, unquote, urlsplit

from loopat_jupyter.errors import BadInputError

MAX_ADDRESS_BYTES = 2048
MAX_REF_BYTES = 250
MAX_NAME_CHARACTERS = 64

SCHEMES = ("https", "http", "ssh", "git", "file")
"""What git fetches from without running a program that the address names (`ext::` would)."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
_SCP = re.compile(r"(?P<user>[A-Za-z0-9._-]+@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>[^:\s][^\s]*)\Z")
_REF = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\]+\Z")
_COMMIT = re.compile(r"[0-9a-f]{7,64}\Z")
_UNSAFE = re.compile(r"[^a-z0-9]+")


def is_name(text: str) -> bool:
    """Whether a text is the name of a registered repo rather than an address."""
    return bool(_NAME.match(text)) and len(text) <= MAX_NAME_CHARACTERS and ".." not in text


def check_name(text: str, field: str = "name") -> str:
    """The name of a repo.

    Args:
        text: What somebody wrote.
        field: Name of the field.

    Raises:
        BadInputError: Not lower-case letters, digits, dots, dashes and underscores.
    """
    if not is_name(text):
        raise BadInputError(
            field,
            f"{text[:80]!r} is no name: use lower-case letters, digits, dots, dashes and underscores, at most "
            f"{MAX_NAME_CHARACTERS} of them, beginning with a letter or digit",
        )
    return text


def check_address(text: str, field: str = "repo") -> str:
    """The address of a repo: a URL, `user@host:path`, or an absolute path on this machine.

    Args:
        text: What somebody wrote.
        field: Name of the field.

    Raises:
        BadInputError: It is none of these, carries a password, or could be mistaken for an option.
    """
    if len(text.encode("utf-8", "replace")) > MAX_ADDRESS_BYTES:
        raise BadInputError(field, f"must be at most {MAX_ADDRESS_BYTES} bytes")
    if any(character.isspace() or unicodedata.category(character)[0] == "C" for character in text):
        raise BadInputError(field, "must not hold blanks or control characters")
    if text.startswith("/"):
        if ".." in text.split("/"):
            raise BadInputError(field, "must not hold '..'")
        return text
    if "://" in text:
        return _check_url(text, field)
    host, _, path = text.partition(":")
    if _SCP.match(text) and host not in SCHEMES and not path.startswith((":", "-")):
        return text
    # Where a registered name is taken too, the field is "repo".
    kind = "neither a registered repo nor an address" if field == "repo" else "no address"
    raise BadInputError(
        field,
        f"{text.rpartition('@')[2][:80]!r} is {kind} such as https://host/path, git@host:path or /absolute/path",
    )


def _check_url(text: str, field: str) -> str:
    try:
        url = urlsplit(text)
        host, password = url.hostname or "", url.password
        _ = url.port
    except ValueError as error:
        raise BadInputError(field, f"is no URL: {error}") from error
    if url.scheme not in SCHEMES:
        raise BadInputError(field, f"must begin with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    if password is not None or url.query or url.fragment or (url.username is not None and url.scheme != "ssh"):
        raise BadInputError(
            field,
            "must not carry a user name, a password, a token or a query: everybody who sees the loop would see it. For "
            "a private repo put an ssh key into the `.ssh` of a vault, and use git@host:path",
        )
    if ".." in unquote(url.path).split("/"):
        raise BadInputError(field, "must not hold '..'")
    if url.scheme == "file":
        if host not in ("", "localhost") or not url.path.startswith("/"):
            raise BadInputError(field, "must be of the form file:///absolute/path")
    elif not host or host.startswith("-") or (url.username or "").startswith("-") or not url.path.strip("/"):
        raise BadInputError(field, "must name a host and a path")
    return text


def check_ref(text: str, field: str = "ref") -> str:
    """The name of a branch or tag, or a commit.

    The rules are those of git-check-ref-format(1).

    Args:
        text: What somebody wrote.
        field: Name of the field.

    Raises:
        BadInputError: Git would not take it, or would take it for an option or an expression.
    """
    parts = text.split("/")
    if (
        not _REF.match(text)
        or len(text.encode("utf-8", "replace")) > MAX_REF_BYTES
        or text.startswith("-")
        or text.endswith((".", "/"))
        or ".." in text
        or "@{" in text
        or text == "@"
        or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
        or any(unicodedata.category(character)[0] == "C" for character in text)
    ):
        raise BadInputError(field, f"{text[:80]!r} is no name of a branch, tag or commit")
    return text


def is_commit(ref: str) -> bool:
    """Whether a ref can be a commit's own name, possibly shortened."""
    return bool(_COMMIT.match(ref))


def local_path(address: str) -> str | None:
    """The path of a repo on this machine, as git reads it; None for one elsewhere."""
    if address.startswith("/"):
        return address
    return unquote(_url(address).path) if address.startswith("file:") else None


def host(address: str) -> tuple[str, int | None] | None:
    """Host and port that an address names over https or ssh; None for one of another kind.

    Args:
        address: A URL or `user@host:path`, of any origin.
    """
    scp = _SCP.match(address)
    if "://" not in address:
        return (scp["host"].lower(), None) if scp and not address.startswith("-") else None
    try:
        url = _url(address)
        port = url.port
    except ValueError:
        return None
    return (url.hostname, port) if url.scheme in ("https", "ssh") and url.hostname else None


def short_name(address: str) -> str:
    """A word for people and folders: the last part of the address, without `.git`.

    Args:
        address: As `check_address` answered.
    """
    path = _url(address).path if "://" in address else address.rpartition(":")[2]
    last = path.rstrip("/").rpartition("/")[2].removesuffix(".git").lower()
    return _UNSAFE.sub("-", last).strip("-")[:40].strip("-") or "repo"


def shown(address: str) -> str:
    """An address without the user that may stand in it, for messages. Those of submodules need not be any."""
    if "://" not in address:
        return address
    try:
        url = _url(address)
    except ValueError:
        return address.rpartition("@")[2]
    return url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()


def _url(address: str) -> SplitResult:
    return urlsplit(address)
