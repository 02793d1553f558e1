"""The environment that podman runs in. It stays with podman: processes inside have another one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_GARBAGE_PERCENT = "400"
"""How much Go lets its heap grow before it looks for garbage (`GOGC`; 100 is its own choice).

Nearly all podman commands end before their garbage is worth the time of collecting it.
"""


def podman_environment(environ: Mapping[str, str], uid: int) -> dict[str, str]:
    """The environment for podman: as given, with the runtime directory named where a service manager forgot it.

    Args:
        environ: The caller's environment.
        uid: The user's id on the host.
    """
    environment = {"GOGC": _GARBAGE_PERCENT, **environ}
    session = f"/run/user/{uid}"
    if not environment.get("XDG_RUNTIME_DIR") and os.access(session, os.W_OK):
        environment["XDG_RUNTIME_DIR"] = session
    return environment
