"""Finds the certificate bundle of the host, so that sandboxes trust what the host trusts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loopat_jupyter.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

USUAL_PLACES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Ubuntu, Arch
    Path("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),  # Fedora, RHEL
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # older Fedora, RHEL
    Path("/etc/ssl/ca-bundle.pem"),  # openSUSE
    Path("/etc/ssl/cert.pem"),  # macOS, Alpine
    Path("/opt/homebrew/etc/ca-certificates/cert.pem"),  # macOS with Homebrew
)
"""Where distributions keep their bundle, the likeliest first."""


def find_ca_bundle(setting: str, places: Sequence[Path] = USUAL_PLACES) -> Path | None:
    """The bundle to mount into sandboxes and image builds.

    Args:
        setting: `auto` looks in the usual places, an absolute path names a file, an empty text means none.
        places: Where `auto` looks, the likeliest first.

    Returns:
        The file with every symlink resolved, because a link's target would not exist inside; None mounts none.

    Raises:
        BadInputError: The setting is neither of these, or names no readable file.
    """
    if not setting:
        return None
    if setting == "auto":
        return next((place.resolve() for place in places if place.is_file()), None)
    bundle = Path(setting).expanduser()
    if not bundle.is_absolute():
        raise BadInputError("trust.ca_bundle", f'{setting!r} is neither "auto" nor an absolute path')
    if not bundle.is_file():
        raise BadInputError("trust.ca_bundle", f'there is no file {setting!r}. Name one that exists, or use "auto"')
    bundle = bundle.resolve()
    if ":" in str(bundle):
        raise BadInputError("trust.ca_bundle", f"{str(bundle)!r} has a colon in it, which podman takes for a separator")
    return bundle
