"""What the instructions of a project's Containerfile may not ask of podman, which runs them on the host. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from loopat_jupyter.project.containerfile import refused
from loopat_jupyter.sandbox.versions import is_at_least

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from loopat_jupyter.project.containerfile import Instruction

MOUNTS_CHECKED = (5, 3, 2)
"""The first podman that looks at where mounts lead: before, what a cache or an image has there may be a link to any
folder of the host (CVE-2024-1753, CVE-2024-9675)."""

_NETWORKS = ("default", "none")
_ADDRESS = re.compile(r"[:$\\]|(?:\A|[\s\[,])github\.com/", re.IGNORECASE)
"""What may be, or become, an address: no address comes without one of these."""

_MOUNT = re.compile(r"[\w./=:@+~-]+(?:,[\w./=:@+~-]+)*\Z", re.ASCII)


def check_fetched(instructions: Iterable[Instruction]) -> None:
    """Refuse what podman fetches in the host's own network, and commands that run in it.

    Args:
        instructions: What may be there.

    Raises:
        BadInputError: An ADD may have an address, or a RUN has another flag than it needs.
    """
    for instruction in instructions:
        if instruction.keyword == "ADD" and _ADDRESS.search(re.sub("[\"']", "", instruction.arguments)):
            raise refused(
                f"`ADD {instruction.arguments[:80]}` may have an address, and podman would fetch that in the network "
                "of this machine, with what listens on 127.0.0.1. Use COPY for files of the project, and RUN with a "
                "program such as curl for others"
            )
        for name, value in instruction.flags if instruction.keyword == "RUN" else ():
            if name != "mount" and not (name == "network" and value in _NETWORKS):
                raise refused(
                    f"it has `RUN --{name}={value[:80]}`. Leave that out: commands have the network that the loop has"
                )


def has_mounts(instructions: Iterable[Instruction]) -> bool:
    """Whether an instruction mounts something.

    Args:
        instructions: What may be there.
    """
    return any(True for _ in _mounts(instructions))


def check_mounts(instructions: Iterable[Instruction], version: str) -> None:
    """Refuse mounts where podman does not look at where they lead, and those that are not written plainly.

    Args:
        instructions: What may be there.
        version: Podman's version; empty where it is not known.

    Raises:
        BadInputError: It has a mount that is no tmpfs, and podman is too old for it; or one with quotes or variables.
    """
    for mount in _mounts(instructions):
        if not _MOUNT.match(mount):
            raise refused(f"write `--mount={mount[:80]}` without quotes, variables and the like")
        types = [value for name, value in mount_options(mount) if name == "type"]
        if types != ["tmpfs"] and not is_at_least(version, MOUNTS_CHECKED):
            needed = ".".join(map(str, MOUNTS_CHECKED))
            raise refused(
                f"it has `--mount={mount[:80]}`, and podman {version or 'of this machine'} does not check which folder "
                "of the host a mount leads to (CVE-2024-1753, CVE-2024-9675). Leave out all mounts but those of "
                f"`type=tmpfs`, or use podman {needed} or newer"
            )


def mount_options(mount: str) -> Iterator[tuple[str, str]]:
    """Names and values of what is mounted.

    Args:
        mount: The value of a `--mount`, written plainly.
    """
    for option in mount.split(","):
        name, _, value = option.partition("=")
        yield name, value


def _mounts(instructions: Iterable[Instruction]) -> Iterator[str]:
    for instruction in instructions:
        if instruction.keyword == "RUN":
            yield from (value for name, value in instruction.flags if name == "mount")
