"""What a loop shares and what it may take, as frozen values; see `loopat_jupyter.models` for all others."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

CDI_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*=[A-Za-z0-9][A-Za-z0-9._:-]*$(?!\n)"
"""A device as the Container Device Interface names it (its specification, "Qualified Device Names")."""

LEAST_MEMORY_BYTES = 6 * 2**20
"""Podman refuses less."""

Device = Annotated[str, msgspec.Meta(pattern=CDI_NAME)]

Isolation = Literal["nested", "strict", "privileged"]
"""How much the processes of a sandbox may do: enough to run podman, the least, or all that the person may."""

ShareMode = Literal["off", "static", "port", "direct", "ephemeral"]
Protocol = Literal["tcp", "udp"]
SharingState = Literal["off", "ready", "not_listening", "stopped", "restart_needed", "archived"]


class Resources(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of the machine a sandbox may take; what is left out has no limit of its own."""

    cpus: Annotated[
        Annotated[float, msgspec.Meta(ge=0.01, le=4096)] | None,
        msgspec.Meta(description="processors, `1.5` is one and a half"),
    ] = None
    memory_bytes: Annotated[
        Annotated[int, msgspec.Meta(ge=LEAST_MEMORY_BYTES, le=2**53)] | None,
        msgspec.Meta(description="memory of all its processes together"),
    ] = None
    pids: Annotated[
        Annotated[int, msgspec.Meta(ge=16, le=2**22)] | None,
        msgspec.Meta(description="processes and threads at once"),
    ] = None
    shm_size_bytes: Annotated[
        Annotated[int, msgspec.Meta(ge=4096, le=2**53)] | None,
        msgspec.Meta(description="size of `/dev/shm`; podman's own is 64 MiB"),
    ] = None
    devices: Annotated[
        tuple[Device, ...] | None,
        msgspec.Meta(description="devices by CDI name, such as `nvidia.com/gpu=all`"),
    ] = None


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a loop shows to others.

    Attributes:
        mode: `static` shows the files of the workdir, `port` a web server inside; both under a host name of the loop's
            own. `direct` passes a port of the host on to one inside. `ephemeral` lets podman publish a port of the
            sandbox under a number that it picks at each start.
        port: The port inside; None for files.
        alias: First part of the host name, in place of the first eight characters of the id.
        protocol: Of the port; `udp` for `direct` and `ephemeral` only.
        public_port: The port of the host, for `direct` only.
    """

    mode: ShareMode = "off"
    port: int | None = None
    alias: str | None = None
    protocol: Protocol = "tcp"
    public_port: int | None = None


class ListeningPort(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, order=True):
    """A port that something in a loop listens on; `reachable` unless it does so for the loop alone, as on 127.0.0.1."""

    port: int
    protocol: Protocol
    reachable: bool


class Sharing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a loop shows to others, where, and whether it is there."""

    mode: ShareMode
    port: int | None
    alias: str | None
    protocol: Protocol
    public_port: int | None
    url: str | None
    """Where it is found; None while that is not known."""
    jupyter_path: str | None
    """The same below the base URL of the Jupyter server, for who is logged in there; web servers only."""
    state: SharingState
    listening: tuple[ListeningPort, ...]
