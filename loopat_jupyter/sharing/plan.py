"""Pure planning: names and addresses of what is shared, the containers that show it, and the configuration of nginx."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.models import SANDBOX_UID, Mount, Value
from loopat_jupyter.sandbox.plan import (
    LABEL_HASH,
    LABEL_WORKSPACE,
    mount_option,
    publishing_host,
)
from loopat_jupyter.sharing.checks import check_settings
from loopat_jupyter.values import Protocol  # noqa: TC001 - msgspec resolves annotations at run time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.config import ShareConfig
    from loopat_jupyter.workspace.paths import Workspace

EDGE_IMAGE = "loopat-edge"
LABEL_SHARE = "loopat.share"
"""On every container that shows something: what it shows, `edge` or the id of the loop whose files it serves."""

LABEL_PORT = "loopat.web-port"
"""On the edge: the port of the host for what goes by host name. Podman publishes none for it, so it cannot tell."""

EDGE = "edge"
WEB_PORT = 8080
"""Where each server of files listens inside; not below 1024, since it is not root."""

NEXT_PORTS = 100
"""How far above the configured port another one is looked for."""

PLAN_VERSION = 2
"""Raised when `edge_argv` or `files_argv` change in a way that existing containers must follow."""

CONF, RUN = "/loopat/edge/conf", "/loopat/edge/run"
"""Where the edge finds its configuration, and where it makes its socket."""


class Site(Value, frozen=True, kw_only=True, order=True):
    """A host name and the server behind it, `address:port` in the network of the workspace; None: it is stopped."""

    host: str
    upstream: str | None


class Stream(Value, frozen=True, kw_only=True, order=True):
    """A port of the host and what is behind it, `address:port` in the network of the workspace."""

    public_port: int
    protocol: Protocol
    upstream: str


class EdgeSpec(Value, frozen=True, kw_only=True):
    """Everything that shapes the edge's container, but the ports that the host has left."""

    workspace: str
    name: str
    network: str
    image: str
    host: str
    port: int
    range: tuple[int, int]
    conf: str
    run: str


class Showing(Value, frozen=True, kw_only=True):
    """Which ports of the host the edge has: one for what goes by host name, and those that loops can be given."""

    web_port: int
    direct_ports: frozenset[int]


def edge_folder(workspace: Workspace) -> Path:
    """Runtime files of a workspace's edge."""
    return workspace.runtime / "edge"


def edge_name(workspace: str) -> str:
    """Name of a workspace's edge."""
    return f"loopat-{workspace}-edge"


def files_name(workspace: str, loop_id: str) -> str:
    """Name of the container that serves a loop's files."""
    return f"loopat-{workspace}-files-{loop_id.replace('-', '')[:12]}"


def label_of(record: LoopRecord) -> str:
    """First part of a shared loop's host name."""
    return record.share.alias or record.id[:8]


def host_of(record: LoopRecord, config: ShareConfig) -> str:
    """A shared loop's host name."""
    return f"{label_of(record)}.{config.domain}"


def is_shown(record: LoopRecord) -> bool:
    """Whether the edge has something to do for a loop. An archived one shows nothing."""
    return record.share.mode in ("static", "port", "direct") and not record.archived


def needed_by(records: Sequence[LoopRecord]) -> frozenset[str]:
    """What containers have to be there, by what they show.

    Args:
        records: The loops that the edge has something to do for.
    """
    files = {record.id for record in records if record.share.mode == "static"}
    return frozenset({EDGE} | files) if records else frozenset()


def assign_ports(records: Sequence[LoopRecord], ports: frozenset[int]) -> dict[str, int | None]:
    """Ports of the host for the loops that share one directly, by loop id. Who has one that can be had keeps it.

    Args:
        records: Shared loops.
        ports: What the edge has; a loop gets one for TCP and UDP both.

    Returns:
        The ports; None where none is left.
    """
    direct = sorted((record for record in records if record.share.mode == "direct"), key=lambda record: record.id)
    given: dict[int, str] = {}
    for record in direct:
        if record.share.public_port in ports:
            given.setdefault(record.share.public_port, record.id)
    found: dict[str, int | None] = {loop_id: port for port, loop_id in given.items()}
    left = iter(sorted(ports - given.keys()))
    return {record.id: found.get(record.id) or next(left, None) for record in direct}


def web_ports(spec: EdgeSpec, taken: frozenset[int]) -> tuple[int, ...]:
    """Ports of the host that what goes by host name can have, the best first.

    Args:
        spec: The edge.
        taken: Ports that somebody else has.
    """
    first, last = spec.range
    candidates = range(spec.port, min(spec.port + NEXT_PORTS, 65536))
    return tuple(port for port in candidates if port not in taken and (port == spec.port or not first <= port <= last))


def choose_ports(spec: EdgeSpec, web_port: int, taken: frozenset[int]) -> Showing:
    """The ports of the host that the edge has.

    Args:
        spec: The edge.
        web_port: The one for what goes by host name.
        taken: Ports that somebody else has.
    """
    first, last = spec.range
    return Showing(web_port=web_port, direct_ports=frozenset(range(first, last + 1)) - taken - {web_port})


def plan_sites(records: Sequence[LoopRecord], config: ShareConfig, addresses: Mapping[str, str]) -> tuple[Site, ...]:
    """What goes by host name.

    Args:
        records: Shared loops.
        config: Where they are found.
        addresses: Those of the containers behind, by loop id; what is stopped has none.
    """
    return tuple(
        sorted(
            (
                Site(host=host_of(record, config), upstream=_upstream(record, addresses))
                for record in records
                if record.share.mode in ("static", "port")
            ),
            key=lambda site: site.host,
        )
    )


def plan_streams(records: Sequence[LoopRecord], addresses: Mapping[str, str]) -> tuple[Stream, ...]:
    """What goes by a port of the host; what is stopped does not.

    Args:
        records: Shared loops.
        addresses: Those of the containers behind, by loop id.
    """
    return tuple(
        sorted(
            Stream(public_port=record.share.public_port, protocol=record.share.protocol, upstream=upstream)
            for record in records
            if record.share.mode == "direct"
            and record.share.public_port is not None
            and (upstream := _upstream(record, addresses)) is not None
        )
    )


def _upstream(record: LoopRecord, addresses: Mapping[str, str]) -> str | None:
    """Always a container of this very loop."""
    address = addresses.get(record.id)
    port = WEB_PORT if record.share.mode == "static" else record.share.port
    return f"{address}:{port}" if address else None


def plan_edge(workspace: Workspace, config: ShareConfig, network: str, image: str) -> EdgeSpec:
    """The edge of a workspace.

    Args:
        workspace: Whose.
        config: Where it listens.
        network: The network of the workspace.
        image: Reference of its image.

    Raises:
        BadInputError: The configuration makes no sense; names the key.
    """
    return EdgeSpec(
        workspace=workspace.name,
        name=edge_name(workspace.name),
        network=network,
        image=image,
        host=config.host,
        port=config.port,
        range=check_settings(config),
        conf=str(edge_folder(workspace) / "conf"),
        run=str(edge_folder(workspace) / "run"),
    )


def edge_hash(spec: EdgeSpec) -> str:
    """Hash over everything that would need a new edge, 16 hexadecimal digits."""
    return _hash(spec)


def _hash(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode((PLAN_VERSION, value))).hexdigest()[:16]


def edge_argv(spec: EdgeSpec, showing: Showing, *, pidfile: Path) -> tuple[str, ...]:
    """Arguments of `podman run` for the edge.

    Args:
        spec: The edge.
        showing: The ports of the host; those for loops are published for TCP and UDP. The one for what goes by host
            name is not: the edge is handed a socket that listens there.
        pidfile: Where podman writes the id of its first process.
    """
    direct = [f"{port}:{port}/{protocol}" for port in sorted(showing.direct_ports) for protocol in ("tcp", "udp")]
    host = publishing_host(spec.host)
    mounts = (Mount(source=spec.conf, target=CONF, mode="ro"), Mount(source=spec.run, target=RUN))
    return (
        *_common(spec.name, spec.workspace, EDGE, edge_hash(spec)),
        f"--pidfile={pidfile}",
        f"--network={spec.network}",
        f"--label={LABEL_PORT}={showing.web_port}",
        *(f"--publish={host}:{ports}" for ports in direct),
        *(f"--mount={mount_option(mount)}" for mount in mounts),
        spec.image,
        f"{CONF}/nginx.conf",
        RUN,
    )


def files_argv(workspace: Workspace, loop_id: str, spec: EdgeSpec, *, pidfile: Path) -> tuple[str, ...]:
    """Arguments of `podman run` for what serves a loop's files.

    Args:
        workspace: Where the loop is.
        loop_id: The loop.
        spec: The edge in front of it.
        pidfile: Where podman writes the id of its first process.
    """
    name, digest = files_name(workspace.name, loop_id), files_hash(workspace, loop_id, spec)
    mount = Mount(source=str(workspace.workdir(loop_id)), target="/srv/workdir", mode="ro")
    return (
        *_common(name, workspace.name, loop_id, digest),
        f"--pidfile={pidfile}",
        f"--network={spec.network}",
        f"--mount={mount_option(mount)}",
        spec.image,
        "/etc/loopat/static.conf",
    )


def files_hash(workspace: Workspace, loop_id: str, spec: EdgeSpec) -> str:
    """Hash over everything that would need a new server of a loop's files."""
    return _hash((str(workspace.workdir(loop_id)), spec.image, spec.network))


def _common(name: str, workspace: str, share: str, digest: str) -> tuple[str, ...]:
    return (
        "run",
        "--detach",
        "--pull=never",
        f"--name={name}",
        f"--label={LABEL_WORKSPACE}={workspace}",
        f"--label={LABEL_SHARE}={share}",
        f"--label={LABEL_HASH}={digest}",
        # Inside it is the person who owns the files, and may do nothing else.
        f"--userns=keep-id:uid={SANDBOX_UID},gid={SANDBOX_UID}",
        f"--user={SANDBOX_UID}:{SANDBOX_UID}",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--security-opt=label=disable",
        "--read-only",
        "--tmpfs=/tmp:rw,mode=1777",
        "--http-proxy=false",
        "--log-driver=none",
    )
