"""What podman says of itself, and a note of it for servers that start later: `podman info` is half a second of work.

The note is good for a machine that passed its checks. `jupyter loopat doctor` asks podman anew, and notes that.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from loopat_jupyter.errors import StorageFullError, StorageRefusedError
from loopat_jupyter.models import Value
from loopat_jupyter.workspace.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopat_jupyter.sandbox.podman import Engine

_NAMES = ("HOME", "XDG_", "CONTAINER", "STORAGE_", "DOCKER_")
"""Beginnings of variables by which podman finds its settings."""

_PROGRAMS = ("conmon", "crun", "fuse-overlayfs", "netavark", "newgidmap", "newuidmap", "pasta", "runc", "slirp4netns")
"""What podman looks for in PATH, of which it tells."""

_KEPT = 8
"""States that are noted: a person works with more than one environment, seldom with many."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_IDS = (Path("/etc/subuid"), Path("/etc/subgid"))


class EngineFacts(Value, frozen=True, kw_only=True):
    """What `podman info` says.

    Attributes:
        cgroup_version: `v1` or `v2`.
        cgroup_controllers: Those that an ordinary user may use.
        storage_driver: Usually `overlay`.
        native_overlay: The kernel does overlay mounts for ordinary users, no FUSE needed.
        storage_path: Where images and containers are.
        network_backend: `netavark` or `cni`.
        mapped_ids: How many user ids a container may use.
        has_images: There is an image already, whichever.
    """

    cgroup_version: str
    cgroup_controllers: tuple[str, ...]
    storage_driver: str
    native_overlay: bool
    storage_path: str
    network_backend: str
    mapped_ids: int
    has_images: bool


def read_info(answer: bytes) -> EngineFacts:
    """What is judged of the answer of `podman info --format=json`.

    Args:
        answer: Its standard output.

    Raises:
        KeyError: Something is missing in it.
        msgspec.DecodeError: It is no JSON.
    """
    info: dict[str, Any] = msgspec.json.decode(answer)
    host, store = info["host"], info["store"]
    mappings = (host.get("idMappings") or {}).get("uidmap") or ()
    return EngineFacts(
        cgroup_version=host.get("cgroupVersion", ""),
        cgroup_controllers=tuple(host.get("cgroupControllers") or ()),
        storage_driver=store["graphDriverName"],
        native_overlay=(store.get("graphStatus") or {}).get("Native Overlay Diff") == "true",
        storage_path=store["graphRoot"],
        network_backend=host.get("networkBackend", "cni"),
        mapped_ids=sum(mapping["size"] for mapping in mappings),
        has_images=bool((store.get("imageStore") or {}).get("number")),
    )


class EngineNote:
    """Podman's word of one state of it: other settings, another version or another start of the machine are another.

    Args:
        engine: Whose word.
        version: What it answers to `podman version`.
        runtime_root: Where the note is; gone with the next start of the machine.
    """

    def __init__(self, engine: Engine, version: bytes, runtime_root: Path) -> None:
        environ = engine.environment()
        path = environ.get("PATH", os.defpath)
        found = [shutil.which(name, path=path) for name in (engine.argv()[0], *_PROGRAMS)]
        home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config")
        settings = [Path(folder, "containers") for folder in ("/usr/share", "/etc", home)]
        self._path = runtime_root / "podman.json"
        self._state = _hash(
            (
                engine.argv(),
                version,
                sorted(pair for pair in environ.items() if pair[0].startswith(_NAMES)),
                [_stamp(path) for path in (*(Path(program or "/") for program in found), *_IDS, *_files(settings))],
                _text(_BOOT),
            )
        )

    def read(self) -> EngineFacts | None:
        """What was noted of this very state; None when nothing was."""
        return self._noted().get(self._state)

    def write(self, facts: EngineFacts) -> None:
        """Note it. Where that fails, the next one asks podman.

        Args:
            facts: What podman said.
        """
        others = [(state, told) for state, told in self._noted().items() if state != self._state]
        with contextlib.suppress(OSError, StorageFullError, StorageRefusedError):
            write_atomic(self._path, msgspec.json.encode(dict([*others[1 - _KEPT :], (self._state, facts)])))

    def _noted(self) -> dict[str, EngineFacts]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, EngineFacts])
        except (OSError, msgspec.DecodeError):
            return {}


def _files(folders: Iterable[Path]) -> list[Path]:
    return [path for folder in folders for path in (folder, *sorted(folder.glob("*.conf*"), key=str))]


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), status.st_mtime_ns, status.st_size


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _hash(value: object) -> str:
    # Variables hold any bytes, which have no JSON.
    return hashlib.sha256(repr(value).encode()).hexdigest()
