"""The environment that podman runs in. It stays with podman: processes inside have another one."""

from __future__ import annotations

import contextlib
import os
import pwd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_GARBAGE_PERCENT = "400"
"""How much Go lets its heap grow before it looks for garbage (`GOGC`; 100 is its own choice).

Nearly all podman commands end before their garbage is worth the time of collecting it.
"""


def podman_environment(environ: Mapping[str, str], uid: int) -> dict[str, str]:
    """The environment for podman: as given, where its caller got it wrong put right.

    A service manager may forget to name the runtime directory. A Hub may call its user something else than the account,
    under whose name podman looks for subordinate ids.

    Args:
        environ: The caller's environment.
        uid: The user's id on the host.
    """
    environment = {"GOGC": _GARBAGE_PERCENT, **environ}
    session = f"/run/user/{uid}"
    if not environment.get("XDG_RUNTIME_DIR") and os.access(session, os.W_OK):
        environment["XDG_RUNTIME_DIR"] = session
    # A uid without an account keeps what it was given.
    with contextlib.suppress(KeyError):
        environment["USER"] = environment["LOGNAME"] = pwd.getpwuid(uid).pw_name
    return environment
