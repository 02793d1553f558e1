"""How much of the machine a sandbox may take, and what of that this host can enforce."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.values import Resources
from loopat_jupyter.wording import listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.config import Config

CONTROLLERS = {"cpus": "cpu", "memory_bytes": "memory", "pids": "pids"}
"""Which controller of the kernel enforces which limit (cgroups(7))."""

LIMITS = {"cpu": "processors", "memory": "memory", "pids": "processes"}
"""What each of these controllers limits, in words."""

CDI_FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))
"""Where devices are described (Container Device Interface, its specification)."""

_CGROUPS = Path("/sys/fs/cgroup")


def wanted_resources(record: LoopRecord, config: Config) -> Resources:
    """What a loop should have: its own word, else the workspace's.

    Args:
        record: The loop.
        config: The workspace's settings.
    """
    own = record.config.resources
    return Resources(
        **{
            name: getattr(config.resources if getattr(own, name) is None else own, name)
            for name in Resources.__struct_fields__
        }
    )


def enforced(resources: Resources, limits: frozenset[str]) -> Resources:
    """The part that the host can enforce: podman ignores the rest, or refuses to start.

    Args:
        resources: What is wanted.
        limits: Controllers that work here.
    """
    void = {name: None for name, controller in CONTROLLERS.items() if controller not in limits}
    return msgspec.structs.replace(resources, **void)


def resource_arguments(resources: Resources) -> tuple[str, ...]:
    """Arguments of `podman run`.

    Args:
        resources: What the host can enforce.
    """
    options = {
        "--cpus": resources.cpus,
        "--memory": None if resources.memory_bytes is None else f"{resources.memory_bytes}b",
        "--pids-limit": resources.pids,
        "--shm-size": None if resources.shm_size_bytes is None else f"{resources.shm_size_bytes}b",
    }
    given = tuple(f"{option}={value}" for option, value in options.items() if value is not None)
    return (*given, *(f"--device={device}" for device in resources.devices or ()))


def resource_warnings(resources: Resources, limits: frozenset[str], folders: tuple[Path, ...]) -> tuple[str, ...]:
    """What a person should know of a loop: limits that do not hold, devices that are not there.

    Args:
        resources: What is wanted.
        limits: Controllers that work here.
        folders: Where devices are described; read only when a device is wanted.
    """
    wanted = (controller for name, controller in CONTROLLERS.items() if getattr(resources, name) is not None)
    void = [LIMITS[controller] for controller in wanted if controller not in limits]
    found = []
    if void:
        subject, verb = ("Limits", "are") if len(void) > 1 else ("The limit", "is")
        found.append(
            f"{subject} on {listing(void)} {verb} not enforced on this machine. "
            "`jupyter loopat doctor` says what would change that."
        )
    if resources.devices and not any(_described(folders)):
        found.append(
            f"This machine describes no devices, and {', '.join(resources.devices)} is asked for: the sandbox cannot "
            f"start. Have the device's driver write its description into {folders[0]} "
            "(for NVIDIA: `sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`), or ask for no device."
        )
    return tuple(found)


def _described(folders: tuple[Path, ...]) -> Iterator[Path]:
    for folder in folders:
        for pattern in ("*.json", "*.yaml"):
            yield from folder.glob(pattern)


def find_limits(uid: int, root: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> frozenset[str]:
    """Controllers that containers of this user can use; none with version 1, where rootless ones have no limits.

    Args:
        uid: The user's id on the host.
        root: Where the kernel shows its groups.
        own: Which group this process is in.
    """
    if not (root / "cgroup.controllers").is_file():
        return frozenset()
    for folder in (root / f"user.slice/user-{uid}.slice/user@{uid}.service", _own_group(root, own)):
        try:
            return frozenset((folder / "cgroup.controllers").read_text(encoding="ascii").split())
        except OSError:
            continue
    return frozenset()


def _own_group(root: Path, own: Path) -> Path:
    try:
        lines = os.fsdecode(own.read_bytes()).splitlines()
    except OSError:
        return root
    path = next((line[3:] for line in lines if line.startswith("0::")), "/")
    return root / path.lstrip("/")
