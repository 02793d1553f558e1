"""Names of vaults, which are names of folders too: safe on every file system, and no two alike."""

from __future__ import annotations

import re

from loopat_jupyter.errors import BadInputError

_VAULT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


def check_vault_name(name: str, *, field: str = "name") -> str:
    """A vault's name as it was given, for it is also the name of its folder.

    Lower case only, so that no two names differ in case alone; ASCII only, so that none look alike.

    Args:
        name: As a person or a client wrote it.
        field: What to call it in the message.

    Raises:
        BadInputError: It cannot be a vault's name.
    """
    if not _VAULT.match(name):
        raise BadInputError(
            field,
            f"{name[:80]!r} cannot be the name of a vault. Use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a "
            "letter or a digit",
        )
    return name
