"""What is mounted into a sandbox beside the loop's own folders: what the operator names, and what lies in the vault.

The operator may mount any folder of the host, by `[[mounts]]` in the configuration; a member only what lies in the
vault's own folders; nobody else anything. What cannot be mounted as it stands is left out, and the loop says so.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.errors import ConflictError, LoopatError, UnsafePathError
from loopat_jupyter.models import DEFAULT_VAULT, Mount
from loopat_jupyter.sandbox.copies import copies_folder, make_copies
from loopat_jupyter.sandbox.isolation import may_remount
from loopat_jupyter.sandbox.plan import SANDBOX_HOME
from loopat_jupyter.workspace.nofollow import look_at, make_folders, opened_folder, problem_of, walk
from loopat_jupyter.workspace.paths import SANDBOX_CONTEXT
from loopat_jupyter.workspace.vault_keys import Keys
from loopat_jupyter.workspace.vaults import HOME, VaultStore, locked, no_vault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.models import LoopRecord, SandboxSpec
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.paths import Workspace
    from loopat_jupyter.workspace.vaults import Contents

CHAT = "chat"
"""Folder beside a loop's contexts."""

_KERNEL_FOLDERS = ("/proc", "/sys", "/dev")
_ENGINE_SOCKETS = frozenset(("podman.sock", "docker.sock", "containerd.sock", "crio.sock"))
_HOME_WORDS = ("~", "$HOME", "${HOME}")


class Extra(NamedTuple):
    """What is mounted beside the loop's own folders.

    Attributes:
        mounts: The mounts.
        warnings: What is left out, and what to do about it.
    """

    mounts: tuple[Mount, ...] = ()
    warnings: tuple[str, ...] = ()


class Extras:
    """Finds what is mounted beside the loop's own folders.

    Args:
        workspace: Where vaults are.
        config: The workspace's settings.
    """

    def __init__(self, workspace: Workspace, config: Config) -> None:
        identity = config.vault.identity
        self.vaults = VaultStore(workspace, Keys(Path(identity).expanduser() if identity else None))
        self._workspace = workspace
        self._config = config

    def find(self, record: LoopRecord) -> Extra:
        """The mounts of a loop as the disk is now, without those that may not be. Asks no keyring.

        Args:
            record: The loop.
        """
        own, told = self._vault(record, self._contents(record))
        operators = operator_mounts(self._config, Path.home().resolve(), self._workspace)
        taken = {mount.target for mount in operators.mounts}
        warnings = [*operators.warnings, *told]
        warnings += [
            f"{mount.target} is not taken from vault {record.vault!r}, because config.toml mounts something else there."
            for mount in own
            if mount.target in taken
        ]
        mounts = (*operators.mounts, *self._chat(record), *(mount for mount in own if mount.target not in taken))
        return Extra(mounts, tuple(warnings))

    def _chat(self, record: LoopRecord) -> Iterator[Mount]:
        """What was said about the loop, if a program of the host has laid any of it down; no sandbox writes there."""
        folder = self._workspace.context(record.id, CHAT)
        with contextlib.suppress(OSError):
            if os.listdir(folder):  # noqa: PTH208 - `iterdir` would come to the same
                yield Mount(source=str(folder), target=f"{SANDBOX_CONTEXT}/{CHAT}", mode="ro")

    def warnings(self, record: LoopRecord) -> tuple[str, ...]:
        """What a person should know of the mounts and the vault of a loop.

        May wait for a keyring, so it is not for the event loop.

        Args:
            record: The loop.
        """
        contents = self._contents(record)
        return (*self.find(record).warnings, *self._locked(record.vault, contents))

    def _contents(self, record: LoopRecord) -> Contents | LoopatError | None:
        try:
            return self.vaults.look(record.created_by, record.vault)
        except LoopatError as error:
            return error

    def _vault(
        self, record: LoopRecord, contents: Contents | LoopatError | None
    ) -> tuple[list[Mount], tuple[str, ...]]:
        if isinstance(contents, LoopatError):
            return [], (contents.message,)
        if contents is None:
            return [], () if record.vault == DEFAULT_VAULT else (no_vault(record.vault).message,)
        folder = self.vaults.folder(record.created_by, record.vault).joinpath(*HOME)
        mounts = [
            Mount(source=str(folder / entry.name), target=f"{SANDBOX_HOME}/{entry.name}") for entry in contents.home
        ]
        return mounts, contents.problems

    def _locked(self, vault: str, contents: Contents | LoopatError | None) -> Iterator[str]:
        if contents is None or isinstance(contents, LoopatError) or contents.seal is None:
            return
        if contents.sealed and not self.vaults.keys.at_hand(contents.seal):
            yield locked(vault, contents.seal).message
        if contents.plain:
            yield (
                f"{', '.join(contents.plain)} of vault {vault!r} is stored unencrypted. "
                f"`jupyter loopat vault encrypt {vault}` encrypts it."
            )

    def make_ready(self, spec: SandboxSpec) -> None:
        """Look once more, right before a container starts, that every source is what it was planned to be.

        Podman follows links. What a sandbox has put in the place of a source must not be mounted.

        Args:
            spec: The container.

        Raises:
            ConflictError: A source is gone, or something of another kind is in the place where it is to be seen.
            StorageFullError: No space for copies.
            UnsafePathError: A source is a link, or lies where a sandbox can write; says which.
        """
        shared = shared_folders(self._config, Path.home().resolve())
        for mount in spec.mounts:
            check_source(Path(mount.source), self._workspace, shared)
        make_targets(spec.mounts, self._workspace.loop(spec.loop_id))
        if may_remount(spec.fence):
            make_copies(spec.mounts, copies_folder(self._workspace, spec.loop_id))


def operator_mounts(config: Config, home: Path, workspace: Workspace) -> Extra:
    """The mounts that the configuration names.

    Args:
        config: Names them.
        home: Of the user, on the host; no symbolic link leads to it.
        workspace: Whose folders may not be mounted.
    """
    mounts: dict[str, Mount] = {}
    warnings = []
    shared = shared_folders(config, home)
    for setting in config.mounts:
        source = expand(setting.source, str(home))
        target = expand(setting.target, SANDBOX_HOME)
        problem = bad_target(target) or bad_source(source, workspace) or _shared(Path(source), workspace, shared)
        if problem is None and target in mounts:
            problem = f"the target {target} is mounted twice"
        if problem is None:
            try:
                problem = _bad_file(Path(source))
            except FileNotFoundError:
                continue
            except OSError as error:
                problem = f"the source {source} cannot be looked at: {error.strerror}"
        if problem is None:
            mounts[target] = Mount(source=source, target=target, mode=setting.mode, file=Path(source).is_file())
        else:
            warnings.append(
                f"A mount of config.toml is left out: {problem[:400]}. Fix it there, then recreate the loop."
            )
    return Extra(tuple(mounts.values()), tuple(warnings))


def expand(path: str, home: str) -> str:
    """A path with `~` or `$HOME` at its beginning filled in.

    Args:
        path: As a person wrote it.
        home: What stands for it.
    """
    for word in _HOME_WORDS:
        if path == word or path.startswith(f"{word}/"):
            return home + path.removeprefix(word)
    return path


def _bad_path(what: str, path: str) -> str | None:
    if not path.startswith("/"):
        return f"the {what} {path!r} is not an absolute path, nor one that begins with ~ or $HOME"
    if ".." in path.split("/"):
        return f"the {what} {path!r} has a '..' in it"
    if ":" in path or not path.isprintable():
        return f"the {what} {path!r} has a colon or a control character in it"
    return None


def bad_target(target: str) -> str | None:
    """Why nothing may be mounted at a path inside; None where it may.

    Args:
        target: The path, `~` filled in.
    """
    problem = _bad_path("target", target)
    if problem:
        return problem
    path, home = PurePosixPath(target), PurePosixPath(SANDBOX_HOME)
    kernel = any(path.is_relative_to(folder) for folder in _KERNEL_FOLDERS)
    ours = path.is_relative_to("/loopat") and (path == home or not path.is_relative_to(home))
    if kernel or ours or path == PurePosixPath("/"):
        return f"the target {target} belongs to the sandbox itself"
    return None


def bad_source(source: str, workspace: Workspace) -> str | None:
    """Why a path of the host may not be mounted, whatever is there; None where it may.

    Args:
        source: The path, `~` filled in.
        workspace: Whose folders may not be mounted, nor any that holds them.
    """
    problem = _bad_path("source", source)
    if problem:
        return problem
    path = Path(source)
    if any(path.is_relative_to(folder) for folder in _KERNEL_FOLDERS):
        return f"the source {source} belongs to the host's kernel"
    for own in (workspace.home, workspace.runtime_root):
        if path.is_relative_to(own) or own.is_relative_to(path):
            return f"the source {source} is, holds or belongs to the workspace, which has everybody's credentials"
    sockets = (Path(f"/run/user/{os.getuid()}/podman"), Path("/run/podman"))
    if path.name in _ENGINE_SOCKETS or any(path.is_relative_to(own) or own.is_relative_to(path) for own in sockets):
        return f"the source {source} is, or holds, the socket of podman: who reaches it is the host's user"
    return None


def _bad_file(path: Path) -> str | None:
    """Why what is there may not be mounted.

    Raises:
        FileNotFoundError: Nothing is there.
    """
    try:
        problem = problem_of(walk(path), many_names=True)
    except UnsafePathError as error:
        return f"{error.message} The folder itself may be {os.path.realpath(path)}"
    return f"the source {path} {problem}. What it leads to is {os.path.realpath(path)}" if problem else None


def shared_folders(config: Config, home: Path) -> tuple[Path, ...]:
    """Folders of the host, outside the workspace, that sandboxes can write.

    Args:
        config: Names them.
        home: Of the user, on the host.
    """
    named = [Path(expand(mount.source, str(home))) for mount in config.mounts if mount.mode == "rw"]
    return (*named, Path("/tmp")) if config.shared_tmp else tuple(named)  # noqa: S108 - where the host's is


def _shared(source: Path, workspace: Workspace, shared: tuple[Path, ...]) -> str | None:
    above = writable_above(source, workspace, shared)
    return f"the source {source} lies in {above}, which sandboxes can write" if above else None


def writable_above(source: Path, workspace: Workspace, shared: tuple[Path, ...]) -> Path | None:
    """The folder above a source that some sandbox can write, and could swap the source in; None where there is none.

    Args:
        source: An absolute path.
        workspace: Whose loops these are.
        shared: What sandboxes can write outside the workspace.
    """
    for folder in source.parents:
        if _is_writable_inside(folder, workspace):
            return folder
    return next((folder for folder in shared if folder in source.parents), None)


def _is_writable_inside(folder: Path, workspace: Workspace) -> bool:
    """Whether a folder of the workspace is one that some loop mounts for writing."""
    for root, shapes in (
        (workspace.loops, (("*", "workdir"), ("*", "home"), ("*", ".claude"), ("*", "context", "*"))),
        (workspace.members, (("*", "personal"), ("*", "vaults", "*", *HOME, "*"))),
        (workspace.runtime, (("*", "run"),)),
    ):
        if folder.is_relative_to(root):
            parts = folder.relative_to(root).parts
            return any(
                len(parts) == len(shape)
                and all(wanted in ("*", part) for wanted, part in zip(shape, parts, strict=True))
                for shape in shapes
            )
    return False


def check_source(source: Path, workspace: Workspace, shared: tuple[Path, ...]) -> None:
    """Refuse a mount whose source was swapped, or can be.

    Args:
        source: What is to be mounted.
        workspace: Whose folders are trusted down to themselves.
        shared: What sandboxes can write outside the workspace.

    Raises:
        ConflictError: It is gone.
        UnsafePathError: The message says what is in its place, and what to do.
    """
    above = writable_above(source, workspace, shared)
    if above is not None:
        raise UnsafePathError(
            f"The loop was not started: {source}, which it mounts, lies in {above}, which sandboxes can write. One "
            "could put a link to anything there. Move it elsewhere."
        )
    in_workspace = [root for root in (workspace.home, workspace.runtime_root) if source.is_relative_to(root)]
    try:
        status = walk(source, root=in_workspace[0]) if in_workspace else walk(source)
    except FileNotFoundError:
        raise ConflictError(f"{source}, which the loop mounts, is gone. Put it back, then start the loop.") from None
    except UnsafePathError as error:
        raise UnsafePathError(f"The loop was not started. {error.message}") from None
    problem = problem_of(status, many_names=not source.is_relative_to(workspace.members))
    if problem:
        raise UnsafePathError(
            f"The loop was not started: {source}, which it mounts, {problem}. Something was put in its place: look at "
            "it, put the real one back, then start the loop."
        )


def make_targets(mounts: tuple[Mount, ...], loop: Path) -> None:
    """Make what a mount below another one is laid over: made by podman, it would belong to nobody on the host.

    Args:
        mounts: All mounts of the loop.
        loop: The loop's own folder; what it holds, sandboxes can write.

    Raises:
        ConflictError: Something of another kind is there.
    """
    for mount in mounts:
        target = PurePosixPath(mount.target)
        above = [outer for outer in mounts if PurePosixPath(outer.target) in target.parents]
        below = max(above, key=lambda outer: len(outer.target), default=None)
        if below is None or not Path(below.source).is_relative_to(loop):
            continue
        parts = (*Path(below.source).relative_to(loop).parts, *target.relative_to(below.target).parts)
        # What runs inside may have locked the folder; root inside, who mounts, can still enter it.
        with contextlib.suppress(PermissionError):
            _make_target(loop, parts, mount)


def _make_target(loop: Path, parts: tuple[str, ...], mount: Mount) -> None:
    folder_wanted = Path(mount.source).is_dir()
    try:
        make_folders(loop, *(parts if folder_wanted else parts[:-1]))
        with opened_folder(loop, *parts[:-1]) as folder:
            if not folder_wanted:
                with contextlib.suppress(FileExistsError):
                    os.close(
                        os.open(parts[-1], os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=folder)
                    )
            right = stat.S_ISDIR if folder_wanted else stat.S_ISREG
            if right(look_at(folder, parts[-1]).st_mode):
                return
    except UnsafePathError:
        pass
    kind = "folder" if folder_wanted else "file"
    raise ConflictError(
        f"The loop was not started: {loop.joinpath(*parts)} is no plain {kind}, and the {kind} {mount.source} is to be "
        "mounted over it. Move it away, then start the loop."
    )
