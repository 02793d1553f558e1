"""How much the processes of a sandbox may do: three levels, as arguments of `podman run` and as words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, assert_never

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.seccomp import SeccompProfile
    from loopat_jupyter.values import Isolation, Resources
    from loopat_jupyter.workspace.config import Config

TUN = "/dev/net/tun"
"""Through it containers inside get a network of their own; it gives no access to the host's."""


PRIVILEGED = (
    "This loop is privileged: what runs in it can open every device that you can open, and make every system call, so "
    "that one flaw of the kernel gives it your files. Run only what you trust as you trust yourself. If it is for "
    "podman: that runs with isolation `nested` too."
)
"""What to tell of a privileged loop for as long as it is one."""


class Nesting(NamedTuple):
    """What the host offers to podman inside a sandbox.

    Attributes:
        profile: The engine's filter of system calls with what podman inside needs; None where it cannot be read.
        tun: Whether there is `/dev/net/tun`.
    """

    profile: SeccompProfile | None = None
    tun: bool = False


def wanted_isolation(record: LoopRecord, config: Config) -> Isolation:
    """The level of a loop: its own word, else the workspace's.

    Args:
        record: The loop.
        config: The workspace's settings.
    """
    return record.config.isolation or config.isolation


def fence(isolation: Isolation, nesting: Nesting, folder: Path) -> tuple[str, ...]:
    """Arguments of `podman run` that make a level what it is.

    Args:
        isolation: The level.
        nesting: What the host offers.
        folder: Where profiles lie.
    """
    if isolation == "strict":
        return ("--cap-drop=all", "--security-opt=no-new-privileges")
    if isolation == "privileged":
        return ("--privileged",)
    if isolation == "nested":
        return (
            *((f"--device={TUN}",) if nesting.tun else ()),
            # The kernel lets a container inside mount its own /proc only where no part of the outer one is hidden.
            "--security-opt=unmask=/proc/*",
            *((f"--security-opt=seccomp={folder / nesting.profile.name}",) if nesting.profile else ()),
        )
    assert_never(isolation)


def may_remount(fence: tuple[str, ...]) -> bool:
    """Whether root inside can make writable what is mounted read-only.

    Args:
        fence: As the function of that name answers.
    """
    return "--privileged" in fence


def allowed(resources: Resources, isolation: Isolation) -> Resources:
    """The part of what a loop should have of the machine that its level lets it have.

    Args:
        resources: What is wanted.
        isolation: The level.
    """
    return msgspec.structs.replace(resources, devices=None) if isolation == "strict" else resources


def isolation_warnings(isolation: Isolation, nesting: Nesting, resources: Resources) -> tuple[str, ...]:
    """What a person should know of a loop because of its level.

    Args:
        isolation: The level.
        nesting: What the host offers.
        resources: What the loop should have of the machine.
    """
    if isolation == "strict":
        if not resources.devices:
            return ()
        left_out = f"A strict loop gets no devices, so {', '.join(resources.devices)} is left out. "
        return (left_out + "Set its isolation to `nested` if it needs them.",)
    if isolation == "privileged":
        return (PRIVILEGED,)
    found = []
    if not nesting.tun:
        found.append(
            f"This machine has no {TUN}, so containers inside this loop reach the network only with `--network=host`. "
            "Load it: `sudo modprobe tun`, then start the loop again."
        )
    if nesting.profile is None:
        found.append(
            "Podman's seccomp.json cannot be read on this machine, so podman inside this loop runs containers only "
            "with `--uts=host` and builds only with `--isolation=chroot`. Install the package that has the file: "
            "containers-common, or golang-github-containers-common."
        )
    return tuple(found)
