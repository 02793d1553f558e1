"""Facts about a machine that preflight judges. Collecting changes nothing and never raises for a bad machine."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from loopat_jupyter.errors import EngineError, EngineTimeoutError, EngineUnavailableError, StorageFullError
from loopat_jupyter.models import Value
from loopat_jupyter.sandbox.engine_facts import EngineFacts, EngineNote, read_info
from loopat_jupyter.sandbox.versions import read_version
from loopat_jupyter.workspace.paths import fits_socket, other_runtime_root

if TYPE_CHECKING:
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.paths import Workspace

_DEADLINE_S = 10.0
_HELPER_FOLDERS = ("/usr/libexec/podman", "/usr/lib/podman", "/usr/local/libexec/podman", "/usr/local/lib/podman")
_SYSTEM_FOLDERS = ("/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin")

EngineState: TypeAlias = Literal["works", "absent", "not-executable", "hangs", "fails"]
DeviceState: TypeAlias = Literal["usable", "absent", "closed"]
HelperState: TypeAlias = Literal["usable", "absent", "unprivileged"]


PROGRAMS = ("slirp4netns", "pasta", "netavark", "aardvark-dns", "sudo", "grubby", "update-grub")
"""Helpers of the network, and what changes how a machine boots."""


class MachineFacts(Value, frozen=True, kw_only=True):
    """All that is judged.

    Attributes:
        user: Name of who runs this.
        uid: Their id.
        fedora: Packages have Fedora's names, not Debian's.
        systemd: A service manager runs.
        engine_state: What became of calling podman.
        engine_problem: Its words when it failed.
        version: Podman's, empty when not known.
        engine: What it says of itself; None when it does not say.
        subordinate_uids: Ids granted in `/etc/subuid`.
        subordinate_gids: Ids granted in `/etc/subgid`.
        newuidmap: State of the command.
        newgidmap: State of the command.
        programs: Those of `PROGRAMS` that are there.
        fuse: State of `/dev/fuse`.
        tun: State of `/dev/net/tun`.
        lingering: Services of the user outlive their login.
        own_session: This runs in a session or a service of the user, and ends with them.
        workspace_path: The workspace.
        workspace_free_bytes: Free space there.
        noexec_mount: The mount point of a file system that holds it and from which nothing may run; empty where it may.
        storage_free_bytes: Free space of podman's storage; None when not known.
        runtime_path: Where sockets and locks go.
        runtime_problem: Why it cannot be used; empty when it can.
        other_runtime_path: Another one that is there beside it; empty where there is none.
        socket_paths_fit: Whether sockets below it have names short enough.
    """

    user: str
    uid: int
    fedora: bool
    systemd: bool
    engine_state: EngineState
    engine_problem: str
    version: str
    engine: EngineFacts | None
    subordinate_uids: int
    subordinate_gids: int
    newuidmap: HelperState
    newgidmap: HelperState
    programs: frozenset[str]
    fuse: DeviceState
    tun: DeviceState
    lingering: bool
    own_session: bool
    workspace_path: str
    workspace_free_bytes: int
    noexec_mount: str
    storage_free_bytes: int | None
    runtime_path: str
    runtime_problem: str
    other_runtime_path: str
    socket_paths_fit: bool


async def collect_facts(engine: Engine, workspace: Workspace, *, noted: bool = False) -> MachineFacts:
    """Look at the machine; at most two podman calls, each with a short deadline.

    Args:
        engine: Runs podman.
        workspace: Whose disk and runtime directory to look at.
        noted: What podman said of itself before will do.
    """
    path = engine.environment().get("PATH", os.defpath)
    state, problem, version, info = await _ask_engine(engine, path, workspace.runtime_root, noted=noted)
    return MachineFacts(
        engine_state=state,
        engine_problem=problem,
        version=version,
        engine=info,
        storage_free_bytes=_free_bytes(Path(info.storage_path)) if info else None,
        **_look_around(workspace, path),
    )


def _look_around(workspace: Workspace, path: str) -> dict[str, Any]:
    """Everything that podman is not asked for."""
    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    search = os.pathsep.join((path, *_SYSTEM_FOLDERS, *_HELPER_FOLDERS))
    return {
        "user": user,
        "uid": uid,
        "fedora": is_fedora(_text("/etc/os-release")),
        "systemd": Path("/run/systemd/system").is_dir(),
        "subordinate_uids": granted_ids(_text("/etc/subuid"), user, uid),
        "subordinate_gids": granted_ids(_text("/etc/subgid"), user, uid),
        "newuidmap": id_helper("newuidmap", path),
        "newgidmap": id_helper("newgidmap", path),
        "programs": frozenset(name for name in PROGRAMS if shutil.which(name, path=search)),
        "fuse": device("/dev/fuse"),
        "tun": device("/dev/net/tun"),
        "lingering": Path(f"/var/lib/systemd/linger/{user}").exists(),
        "own_session": is_of_user(_text("/proc/self/cgroup"), uid),
        "workspace_path": str(workspace.home),
        "workspace_free_bytes": _free_bytes(workspace.home),
        "noexec_mount": noexec_mount(workspace.helpers),
        "runtime_path": str(workspace.runtime_root),
        "runtime_problem": runtime_problem(workspace.runtime_root, uid),
        "other_runtime_path": str(other_runtime_root(workspace.runtime_root, uid) or ""),
        "socket_paths_fit": fits_socket(workspace.runtime_root),
    }


async def _ask_engine(
    engine: Engine, path: str, runtime_root: Path, *, noted: bool
) -> tuple[EngineState, str, str, EngineFacts | None]:
    binary = engine.argv()[0]
    version = ""
    try:
        answer = await engine.run("version", "--format=json", timeout_s=_DEADLINE_S, doing="tell its version")
        version = read_version(answer.stdout)
        note = EngineNote(engine, answer.stdout, runtime_root)
        facts = note.read() if noted else None
        if facts is None:
            facts = await _describe(engine)
            note.write(facts)
    except EngineUnavailableError as error:
        if version:
            return "fails", error.message, version, None
        found = shutil.which(binary, mode=os.F_OK, path=path)
        return ("not-executable" if found else "absent"), error.message, version, None
    except EngineTimeoutError as error:
        return "hangs", error.message, version, None
    except (EngineError, StorageFullError) as error:
        last = error.stderr.splitlines()[-1:] if isinstance(error, EngineError) else []
        return "fails", last[0] if last else error.message, version, None
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError):
        return "fails", "it answers in a form that is not known", version, None
    else:
        return "works", "", version, facts


async def _describe(engine: Engine) -> EngineFacts:
    answer = await engine.run("info", "--format=json", timeout_s=_DEADLINE_S, doing="describe itself")
    return read_info(answer.stdout)


def granted_ids(text: str, user: str, uid: int) -> int:
    """How many subordinate ids a user has (subuid(5)).

    Args:
        text: Content of `/etc/subuid` or `/etc/subgid`.
        user: Their name.
        uid: Their id, which may stand in place of the name.
    """
    total = 0
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in (user, str(uid)) and fields[2].isdigit():
            total += int(fields[2])
    return total


def runtime_problem(runtime_root: Path, uid: int) -> str:
    """Why a runtime directory cannot be used; empty when it can, or can be made.

    Args:
        runtime_root: Where sockets and locks go.
        uid: The user's id.
    """
    existing = _existing(runtime_root)
    if existing != runtime_root:
        return "" if os.access(existing, os.W_OK | os.X_OK) else f"it cannot be made in {existing}"
    status = runtime_root.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return "it is no directory"
    if status.st_uid != uid:
        return "it belongs to somebody else"
    return "it is open to others" if status.st_mode & 0o077 else ""


def _existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def noexec_mount(path: Path) -> str:
    """The mount point of the file system that holds a path, if no program may run from there; empty where one may.

    Args:
        path: It need not be there.
    """
    existing = _existing(path)
    try:
        if not os.statvfs(existing).f_flag & os.ST_NOEXEC:
            return ""
        above = existing.resolve()
    except OSError:
        return ""
    while not above.is_mount():
        above = above.parent
    return str(above)


def _free_bytes(path: Path) -> int:
    try:
        return shutil.disk_usage(_existing(path)).free
    except OSError:
        return 0


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def is_fedora(os_release: str) -> bool:
    """Whether packages have Fedora's names.

    Args:
        os_release: Content of `/etc/os-release` (os-release(5)).
    """
    return bool(re.search(r"^ID(_LIKE)?=.*\b(fedora|rhel|centos)\b", os_release, re.MULTILINE))


def is_of_user(cgroups: str, uid: int) -> bool:
    """Whether a process is in a session, or a service, that the service manager has for a user.

    Args:
        cgroups: Content of its `/proc/PID/cgroup` (cgroups(7)).
        uid: The user's id.
    """
    return re.search(rf"/user-{uid}\.slice(/|$)", cgroups, re.MULTILINE) is not None


def id_helper(name: str, path: str) -> HelperState:
    """State of a command that maps ids: it needs setuid or file capabilities.

    Args:
        name: `newuidmap` or `newgidmap`.
        path: Where commands are looked for, like `PATH`.
    """
    found = shutil.which(name, path=path)
    if found is None:
        return "absent"
    if Path(found).stat().st_mode & stat.S_ISUID:
        return "usable"
    try:
        os.getxattr(found, "security.capability")
    except OSError:
        return "unprivileged"
    return "usable"


def device(path: str) -> DeviceState:
    """State of a device file.

    Args:
        path: Its path.
    """
    if not Path(path).exists():
        return "absent"
    return "usable" if os.access(path, os.R_OK | os.W_OK) else "closed"
