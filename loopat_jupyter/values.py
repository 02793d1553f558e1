"""What a loop shares, as frozen values; see `loopat_jupyter.models` for all others."""

from __future__ import annotations

from typing import Literal

import msgspec

ShareMode = Literal["off", "static", "port", "direct", "ephemeral"]
Protocol = Literal["tcp", "udp"]
SharingState = Literal["off", "ready", "not_listening", "stopped", "restart_needed", "archived"]


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
    """A port that something in a loop listens on; `reachable` unless it listens on the loopback address alone."""

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
