"""Where everything is: a workspace on disk and its runtime directory.

On disk, under `LOOPAT_HOME` (default `~/.loopat`)::

    config.toml                  settings of the workspace
    home-skel/                   seeds the home of each new loop
    repos.json                   repos that were registered by name
    mirrors/<name>.git/          bare copies of repos, which loops borrow objects from
    origins/<name>.git/          where contexts are kept that have no remote
    contexts.json, shares.json   remotes that contexts were given; which loops are shared
    tier/                        toolchain and agent configuration of every loop
    profiles/<name>/             the same, for loops that name it
    member                       who works here, where the environment does not say
    members/<member>/tier/       the same, for loops of one person; beside it `vaults/`, which no sandbox sees
    loops/<uuid>/meta.json       the record; beside it `unmade`, if podman was never asked for its sandbox
    loops/<uuid>/workdir/        the loop's files
    loops/<uuid>/home/           $HOME inside
    loops/<uuid>/.claude/        configuration folder of agent tools
    loops/<uuid>/mise.toml       its toolchain, where it has one of its own

In the runtime directory, which a reboot wipes and nothing needs to survive::

    <key>/locks/, <key>/edge/    lock files; what shows shared loops to others
    <key>/changes                which loops were just changed or used
    <key>/<loop>/host/           files only the host reads and writes
    <key>/<loop>/run/            mounted at /loopat/run: sockets, pids, logs

The runtime directory does not follow `XDG_RUNTIME_DIR`: a server started by a Hub and a shell on the same machine
must find the same sockets and locks.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from loopat_jupyter.errors import BadInputError, EngineUnavailableError
from loopat_jupyter.workspace.files import full_disk_told
from loopat_jupyter.workspace.whereabouts import Whereabouts, whereabouts

if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET_PATH_MAX_BYTES = 107
"""sockaddr_un.sun_path holds 108 bytes with the final NUL (unix(7))."""

DEFAULT_NAME = ".loopat"
SANDBOX_CONTEXT = "/loopat/context"

_SOCKET_NAME_BYTES = len("/01234567/0123456789ab/run/k0123456789ab-5")
_WORKSPACE_NAME_MAX = 18
"""`loopat-<name>-<uuid>` must fit the 63 bytes of a DNS label (RFC 1035)."""

_RUNTIME_KEY_DIGITS = 12
_RUNTIME_KEY = re.compile(rf"[0-9a-f]{{{_RUNTIME_KEY_DIGITS}}}\Z")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def is_loop_id(text: str) -> bool:
    """Whether `text` is a loop id: a lower-case UUID, nothing else."""
    return _UUID.match(text) is not None


def runtime_key(loop_id: str) -> str:
    """Name of a loop's runtime folder: as short as can be told apart, because paths of sockets are limited.

    Args:
        loop_id: The loop.
    """
    return loop_id.replace("-", "")[:_RUNTIME_KEY_DIGITS]


def is_runtime_key(name: str) -> bool:
    """Whether a name is that of a loop's runtime folder."""
    return _RUNTIME_KEY.match(name) is not None


class Workspace:
    """Paths of one workspace. Making one touches nothing; `prepare` makes the folders.

    Args:
        home: The workspace folder.
        runtime_root: Folder for sockets and locks, on a local file system.

    Attributes:
        loops: Folder of all loops.
        runtime: The runtime directory of this workspace.
    """

    def __init__(self, home: Path, runtime_root: Path) -> None:
        self.home = home
        self.runtime_root = runtime_root
        self.key = hashlib.sha256(os.fsencode(home)).hexdigest()[:8]
        self.name = workspace_name(home, self.key)
        self.loops = home / "loops"
        self.runtime = runtime_root / self.key

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Workspace:
        """The workspace that `LOOPAT_HOME` names, `~/.loopat` without it.

        Args:
            environ: Usually `os.environ`; read here, never at import.

        Raises:
            BadInputError: `LOOPAT_HOME` is no absolute path in plain UTF-8, or goes through a home that nobody has.
        """
        text = environ.get("LOOPAT_HOME") or str(Path.home() / DEFAULT_NAME)
        try:
            text.encode("utf-8")
            home = Path(text).expanduser()
            if not home.is_absolute():
                raise BadInputError("LOOPAT_HOME", f"{text!r} is not an absolute path. Set it to one, or unset it.")
            resolved = home.resolve()
            if re.search(r"[\x00-\x1f\x7f-\x9f]", str(resolved)):
                raise BadInputError("LOOPAT_HOME", f"{str(resolved)!r} holds control characters. Choose another path.")
        except (RuntimeError, UnicodeEncodeError, OSError) as error:
            problem = f"{text[:80]!r} cannot be used: {error}. Set it to a folder, or unset it."
            raise BadInputError("LOOPAT_HOME", problem) from error
        return cls(resolved, default_runtime_root(os.getuid()))

    @property
    def config_file(self) -> Path:
        """Settings of the workspace."""
        return self.home / "config.toml"

    @property
    def skeleton(self) -> Path:
        """What the home of a new loop starts with."""
        return self.home / "home-skel"

    @property
    def tier(self) -> Path:
        """Toolchain and agent configuration that every new loop gets."""
        return self.home / "tier"

    @property
    def profiles(self) -> Path:
        """Folder of all profiles."""
        return self.home / "profiles"

    @property
    def member_file(self) -> Path:
        """Names who works here, where the environment does not say."""
        return self.home / "member"

    @property
    def members(self) -> Path:
        """Folder of what belongs to one person each."""
        return self.home / "members"

    @property
    def repos_file(self) -> Path:
        """Repos that were registered by name."""
        return self.home / "repos.json"

    @property
    def mirrors(self) -> Path:
        """Bare copies of repos; only the host writes here."""
        return self.home / "mirrors"

    @property
    def origins(self) -> Path:
        """Where contexts are kept that have no remote; only the host writes here."""
        return self.home / "origins"

    @property
    def contexts_file(self) -> Path:
        """Remotes that contexts were given."""
        return self.home / "contexts.json"

    @property
    def cache(self) -> Path:
        """Files that can be made again, named by the content they come from."""
        return self.home / "cache"

    @property
    def locks(self) -> Path:
        """Lock files of this workspace."""
        return self.runtime / "locks"

    @property
    def image_locks(self) -> Path:
        """Lock files of image tags: images belong to the user, not to one workspace."""
        return self.runtime_root / "images"

    @property
    def helpers(self) -> Path:
        """Programs of ours that every sandbox sees; no sandbox can write here."""
        return self.cache / "inside"

    def loop(self, loop_id: str) -> Path:
        """Folder of one loop. The id must have been checked with `is_loop_id`."""
        return self.loops / loop_id

    def deleted(self, loop_id: str) -> Path:
        """Where the folder of a loop that is deleted lies until all its files are removed."""
        return self.loops / f".{loop_id}.deleted"

    def record(self, loop_id: str) -> Path:
        """The record of one loop."""
        return self.loop(loop_id) / "meta.json"

    def workdir(self, loop_id: str) -> Path:
        """The files of one loop."""
        return self.loop(loop_id) / "workdir"

    def loop_home(self, loop_id: str) -> Path:
        """The home of one loop, `$HOME` inside."""
        return self.loop(loop_id) / "home"

    def agent_config(self, loop_id: str) -> Path:
        """Configuration folder of agent tools of one loop."""
        return self.loop(loop_id) / ".claude"

    def context(self, loop_id: str, kind: str) -> Path:
        """A loop's own checkout of a context."""
        return self.loop(loop_id) / "context" / kind

    def toolchain(self, loop_id: str) -> Path:
        """The toolchain of one loop, a `mise.toml`; no sandbox can write it."""
        return self.loop(loop_id) / "mise.toml"

    def run(self, loop_id: str) -> Path:
        """The runtime directory of one loop that its sandbox sees at `/loopat/run`. The sandbox can write here."""
        return self.runtime / runtime_key(loop_id) / "run"

    def host(self, loop_id: str) -> Path:
        """Runtime files of one loop that no sandbox sees."""
        return self.runtime / runtime_key(loop_id) / "host"

    def loop_ids(self) -> frozenset[str]:
        """Ids of all folders of loops, with a record or without; none where somebody removed the folder of all."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self.loops) as entries:
            return frozenset(entry.name for entry in entries if is_loop_id(entry.name))
        return frozenset()

    def started_loops(self) -> list[str]:
        """Ids of loops whose sandbox was started since the runtime directory was made, with a record or not."""
        keys = {entry.parent.parent.name for entry in self.runtime.glob("*/host/sandbox.json")}
        return [loop_id for loop_id in (self.loop_ids() if keys else ()) if runtime_key(loop_id) in keys]

    def whereabouts(self, path: Path) -> Whereabouts:
        """Where a path leads with regard to loops, followed once.

        Args:
            path: A path; a relative one begins in the folder of this process.

        Raises:
            FileNotFoundError: It is relative, and this process runs in a folder that was deleted.
        """
        return whereabouts(self.loops, path, is_loop_id)

    def loop_of(self, path: Path) -> tuple[str, Path] | None:
        """Which loop's workdir holds `path`, and the path relative to it; None outside every loop.

        A symlink to a workdir counts, and one out of it does not.
        """
        return self.whereabouts(path).found

    def prepare(self) -> None:
        """Make the folders that everything else counts on, for this user only; a workspace that is there stays so.

        Raises:
            BadInputError: The workspace folder cannot be made.
            EngineUnavailableError: The runtime directory belongs to somebody else or is open to others.
            StorageFullError: No space for it.
        """
        for folder in (self.home, self.loops):
            try:
                with full_disk_told(folder):
                    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise BadInputError(
                    "LOOPAT_HOME", f"{folder} cannot be made: {error.strerror}. Choose a folder that you can write."
                ) from error
        make_private(self.runtime_root)
        for folder in (self.runtime, self.locks, self.image_locks):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"Workspace({str(self.home)!r})"


def sandbox_mirror(name: str) -> str:
    """A repo's mirror as a sandbox sees it.

    Args:
        name: The mirror's folder name.
    """
    return f"{SANDBOX_CONTEXT}/repos/{name}"


def context_mirror(kind: str, member: str) -> str:
    """Folder name of the mirror of a context: one for the workspace, or for the member.

    Args:
        kind: The context.
        member: Whose personal files are meant.
    """
    return f"context-personal-{member_key(member)}.git" if kind == "personal" else f"context-{kind}.git"


def member_key(member: str) -> str:
    """A member's name in names of folders: one to one, and safe whatever a Hub calls its users.

    Args:
        member: The name.
    """
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", member):
        return member
    safe = re.sub(r"[^a-z0-9]+", "-", member.lower()).strip("-")[:24]
    return f"{safe}.{hashlib.sha256(member.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def workspace_name(home: Path, key: str) -> str:
    """Name of a workspace in container and network names: one to one, safe, short.

    The folder's name without its leading dot, when it is a hidden folder directly under the user's home with a plain
    word for a name; otherwise with the key of the whole path behind it, so that no two workspaces share a network.

    Args:
        home: The workspace folder.
        key: Hash of the whole path.
    """
    safe = re.sub(r"[^a-z0-9]+", "-", home.name.lower().lstrip(".")).strip("-")
    if home == Path.home() / f".{safe}" and len(safe) <= _WORKSPACE_NAME_MAX:
        return safe
    return f"{safe[: _WORKSPACE_NAME_MAX - len(key) - 1].strip('-')}-{key}".lstrip("-")


def default_runtime_root(uid: int) -> Path:
    """`/run/user/<uid>/loopat` where the machine has it, else a private folder under `/tmp`.

    The one that was made first stays: a Hub's server that was started before the first login must share locks and
    sockets with the shell that comes later. Where both were made, by somebody who did not see the session's folder, it
    is the session's, which those have who run.

    Args:
        uid: The user's id on the host.
    """
    session, fallback = _runtime_roots(uid)
    if session.parent.is_dir() and os.access(session.parent, os.W_OK):
        return session if session.is_dir() or not _is_private(fallback) else fallback
    return fallback


def other_runtime_root(root: Path, uid: int) -> Path | None:
    """The runtime directory that some processes use beside the usual one, and share nothing with the rest; else None.

    Args:
        root: The one that is used here.
        uid: The user's id on the host.
    """
    session, fallback = _runtime_roots(uid)
    other = {session: fallback, fallback: session}.get(root)
    return other if other is not None and _is_private(other) and _is_private(root) else None


def _runtime_roots(uid: int) -> tuple[Path, Path]:
    """The one of a session, and the one in its place."""
    return Path(f"/run/user/{uid}/loopat"), Path(f"/tmp/loopat-{uid}")  # noqa: S108 - checked in prepare


def fits_socket(runtime_root: Path) -> bool:
    """Whether the longest socket path under `runtime_root` stays within what the kernel takes."""
    return len(os.fsencode(runtime_root)) + _SOCKET_NAME_BYTES <= SOCKET_PATH_MAX_BYTES


def make_private(folder: Path) -> None:
    """Make a folder, `folder`, that nobody else can enter, or make sure that it is one.

    Raises:
        EngineUnavailableError: It belongs to somebody else or is open to others.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022:
        # Ours, and nobody else could ever write here: whoever made it had another umask.
        folder.chmod(0o700)
    if not _is_private(folder):
        raise EngineUnavailableError(
            f"{folder} must be a directory of yours that nobody else can enter. Remove it and try again."
        )


def _is_private(folder: Path) -> bool:
    """Whether it is a directory of this user that nobody else can enter."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
