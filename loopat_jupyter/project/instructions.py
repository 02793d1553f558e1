"""What the instructions of a project's Containerfile may not ask of podman, which runs them on the host. Pure."""

from __future__ import annotations

import re

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.sandbox.versions import is_at_least

CACHES_CHECKED = (5, 3, 2)
"""The first podman that looks at where a cache mount leads: before, its `id` may name any folder (CVE-2024-9675)."""

_LEFT_OUT = re.compile(rb"^[ \t]*(?:#.*)?\r?\n|[\\`][ \t]*\r?\n", re.MULTILINE)
"""Comments, empty lines and the ends of lines that go on: an instruction is read without them."""

_QUOTING = re.compile(rb"[\\`'\"]")
_PLAIN_MOUNT = re.compile(rb"--mount=([\w./,=:@-]+)(?=\s|\Z)")


def has_mounts(containerfile: bytes) -> bool:
    """Whether an instruction may mount something.

    Args:
        containerfile: What is written; not trusted.
    """
    return b"--mount" in _QUOTING.sub(b"", _joined(containerfile))


def check_mounts(containerfile: bytes, version: str) -> None:
    """Refuse cache mounts where podman does not look at where they lead.

    Args:
        containerfile: What is written; not trusted.
        version: Podman's version; empty where it is not known.

    Raises:
        BadInputError: It has a cache mount, or a mount that may be one, and podman is too old for it.
    """
    if is_at_least(version, CACHES_CHECKED):
        return
    # What is written with quotes or variables may become anything.
    joined = _joined(containerfile)
    plain = _PLAIN_MOUNT.findall(joined)
    hidden = _QUOTING.sub(b"", joined).count(b"--mount") != len(plain)
    if hidden or any(b"type=cache" in mount.split(b",") for mount in plain):
        needed = ".".join(map(str, CACHES_CHECKED))
        raise BadInputError(
            "build",
            "the Containerfile has `--mount=type=cache`, or a mount that is not written plainly, and podman "
            f"{version or 'of this machine'} does not check which folder of the host that leads to (CVE-2024-9675). "
            f"Leave the mount out, or use podman {needed} or newer",
        )


def _joined(containerfile: bytes) -> bytes:
    return _LEFT_OUT.sub(b"", containerfile + b"\n")
