"""The filter of system calls of sandboxes in which podman runs: the engine's own, and what the template adds.

The engine's profile is taken as it stands on the host, so that what its operator or an update forbids is forbidden
inside too.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec

from loopat_jupyter.errors import ConfigurationError
from loopat_jupyter.models import Value
from loopat_jupyter.sandbox.template import template_file
from loopat_jupyter.workspace.files import failed_write_told, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ADDITIONS = "isolation/seccomp.toml"
"""Where the template names the calls that it adds, with the reason for each."""

PROFILES = (Path("/etc/containers/seccomp.json"), Path("/usr/share/containers/seccomp.json"))
"""Where podman looks for its profile if no setting names one; the first that is there counts (podman-run(1))."""

_SYSTEM_SETTINGS = (Path("/usr/share/containers/containers.conf"), Path("/etc/containers/containers.conf"))
_SETTING = re.compile(r'^\s*seccomp_profile\s*=\s*(["\'])(/.*?)\1', re.MULTILINE)


class _Call(Value, frozen=True):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    reason: Annotated[str, msgspec.Meta(min_length=1)]


class _Additions(Value, frozen=True):
    call: tuple[_Call, ...]


class SeccompProfile(NamedTuple):
    """A profile, ready to be written.

    Attributes:
        name: Name of its file, with a hash over the content.
        content: JSON as podman reads it.
    """

    name: str
    content: bytes

    def install(self, folder: Path) -> None:
        """Write it, unless it is there.

        Args:
            folder: On the host, out of reach of every sandbox.

        Raises:
            StorageFullError: No space.
        StorageRefusedError: It may not be written.
        """
        file = folder / self.name
        if not file.exists():
            with failed_write_told(folder):
                folder.mkdir(parents=True, exist_ok=True)
            write_atomic(file, self.content)


def find_profile(home: Path, places: Sequence[Path] = PROFILES) -> SeccompProfile | None:
    """The engine's own profile with the additions of the template.

    Args:
        home: Of the user who runs podman.
        places: Where the profile is looked for when no setting names one.

    Returns:
        None where there is none that can be read: the engine then has one built in, to which nothing can be added.

    Raises:
        ConfigurationError: The installation lacks its template, or the template is wrong.
    """
    added = additions(template_file(ADDITIONS).read_text(encoding="utf-8"))
    for place in (*configured(settings_files(home)), *places):
        try:
            profile = msgspec.json.decode(place.read_bytes(), type=dict[str, Any])
            content = msgspec.json.encode(extended(profile, added))
        except (OSError, msgspec.DecodeError, KeyError, TypeError):
            continue
        return SeccompProfile(f"seccomp-{hashlib.sha256(content).hexdigest()[:12]}.json", content)
    return None


def settings_files(home: Path) -> tuple[Path, ...]:
    """The files in which podman's settings may stand, the one that counts least first (containers.conf(5)).

    Args:
        home: Of the user who runs podman.
    """
    found: list[Path] = []
    for file in (*_SYSTEM_SETTINGS, home / ".config" / "containers" / "containers.conf"):
        found += (file, *sorted(file.with_name(f"{file.name}.d").glob("*.conf")))
    return tuple(found)


def configured(files: Iterable[Path]) -> tuple[Path, ...]:
    """The profile that settings name, none or one. `unconfined` is no profile.

    Args:
        files: The settings, the one that counts least first.
    """
    named: tuple[Path, ...] = ()
    for file in files:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        named = tuple(Path(match[2]) for match in _SETTING.finditer(text))[-1:] or named
    return named


def additions(text: str) -> tuple[str, ...]:
    """The calls that the template adds.

    Args:
        text: Its TOML; each call has a name and a reason.

    Raises:
        ConfigurationError: It is no TOML, or a call lacks its name or reason.
    """
    try:
        return tuple(call.name for call in msgspec.convert(tomllib.loads(text), _Additions).call)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(
            f"The template {ADDITIONS} cannot be used: {error}. Each [[call]] needs a name and a reason. "
            "Install loopat-jupyter again."
        ) from None


def extended(profile: Mapping[str, Any], added: Sequence[str]) -> dict[str, Any]:
    """A profile that allows some calls more; its own rules about them go, so that no two rules contradict each other.

    Args:
        profile: As containers-common writes it.
        added: Names of system calls.
    """
    others = [
        {**rule, "names": kept}
        for rule in profile["syscalls"]
        if (kept := [name for name in rule["names"] if name not in added])
    ]
    allowed = {"names": list(added), "action": "SCMP_ACT_ALLOW"}
    return {**profile, "syscalls": [*others, *([allowed] if added else [])]}
