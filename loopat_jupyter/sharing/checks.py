"""What may be asked for; pure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from loopat_jupyter.errors import BadInputError, ConflictError
from loopat_jupyter.sandbox.plan import kernel_ports

if TYPE_CHECKING:
    from loopat_jupyter.values import Share
    from loopat_jupyter.workspace.config import Config, ShareConfig

MOST_PORTS = 10_000
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_ID_PREFIX = re.compile(r"[0-9a-f]{8}\Z")


def check_alias(alias: str) -> str:
    """An alias that can be the first part of a host name.

    Raises:
        BadInputError: It is no lower-case DNS label (RFC 1123), looks like an encoded one (RFC 5891), or like an id.
    """
    if not _LABEL.match(alias):
        raise BadInputError("alias", "must be 1 to 63 lower-case letters, digits and inner hyphens")
    if alias[2:4] == "--":
        raise BadInputError("alias", "must not have hyphens in third and fourth place: such names stand for others")
    if _ID_PREFIX.match(alias):
        raise BadInputError("alias", "must not look like the beginning of a loop's id")
    return alias


def check_port(port: int, field: str = "port") -> int:
    """A port that something can listen on.

    Raises:
        BadInputError: It is out of range; names the field.
    """
    if not 1 <= port <= 65535:
        raise BadInputError(field, "must be between 1 and 65535")
    return port


def check_settings(config: ShareConfig) -> tuple[int, int]:
    """The first and the last port of the configured range.

    Raises:
        BadInputError: The range is none, or the address is none; names the key.
    """
    first, last = map(int, config.port_range.split("-"))
    if not 1024 <= first <= last <= 65535:
        raise BadInputError("share.port_range", f"{config.port_range!r} must go upwards within 1024-65535")
    if last - first >= MOST_PORTS:
        raise BadInputError("share.port_range", f"must have at most {MOST_PORTS} ports")
    try:
        ipaddress.ip_address(config.host)
    except ValueError:
        raise BadInputError("share.host", f"{config.host!r} must be an IP address such as 127.0.0.1") from None
    return first, last


def no_port_left(config: ShareConfig, mine: int) -> ConflictError:
    """What to tell where a port of this machine is wanted, and none is left.

    Args:
        config: Says which ones there are.
        mine: How many of them other loops of this workspace have.
    """
    first, last = check_settings(config)
    others = last - first + 1 - mine
    return ConflictError(
        f"No port of share.port_range ({config.port_range}) is left: loops of this workspace use {mine} of them, other "
        f"workspaces or programs of this machine {others}. Widen or move the range, or share less."
    )


def check_share(share: Share, config: Config) -> Share:
    """What a person wants to share, if it makes sense.

    Args:
        share: As it came.
        config: The workspace's settings.

    Raises:
        BadInputError: It does not; names the field, or the key of the configuration.
    """
    first, last = check_settings(config.share)
    if share.alias is not None:
        check_alias(share.alias)
        if share.mode in ("direct", "ephemeral"):
            raise BadInputError("alias", "is part of a host name, and a port that is shared directly has none")
    _check_port(share)
    if share.protocol == "udp" and share.mode not in ("direct", "ephemeral"):
        raise BadInputError("protocol", "must be tcp, unless a port is shared directly")
    if share.public_port is not None:
        if share.mode != "direct":
            raise BadInputError("public_port", "goes with 'direct' only")
        if not first <= share.public_port <= last:
            raise BadInputError("public_port", f"must be within {config.share.port_range}")
    if share.mode == "ephemeral" and share.port in kernel_ports(config):
        raise BadInputError("port", "is one of those that kernels use")
    return share


def _check_port(share: Share) -> None:
    if share.mode in ("off", "static"):
        if share.port is not None:
            raise BadInputError("port", f"does not go with {share.mode!r}")
    elif share.port is None:
        raise BadInputError("port", "is required: which port inside the loop?")
    else:
        check_port(share.port)
