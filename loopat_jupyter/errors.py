"""Everything that can go wrong, as one tree.

    LoopatError                     500  internal
    ├── BadInputError               400  bad_input         names the field
    ├── NotFoundError               404  not_found
    ├── ConflictError               409  conflict
    ├── UnsafePathError             409  unsafe_path       a link or a device where it could lead out
    ├── LockedVaultError            409  vault_locked      the key of an encrypted vault is not at hand
    ├── UnreadableRecordError       422  unreadable_record a loop's record was set aside
    ├── EngineError                 500  engine_failed     podman ran and said no
    │   └── ImageBuildError         500  build_failed      or not pulled; carries the last lines said
    ├── GitError                    502  git_failed        git or the remote said no
    ├── KernelStartError            500  kernel_failed     carries the last lines of the kernel's log
    ├── GitUnavailableError         503  git_unavailable
    ├── EngineUnavailableError      503  engine_unavailable
    ├── ConfigurationError          503  bad_configuration what is read at start makes no sense
    ├── StorageFullError            503  storage_full
    ├── StorageRefusedError         503  storage_refused   no permission to write, or it is read-only
    └── EngineTimeoutError          504  engine_timeout

Each class carries the HTTP status and the machine-readable reason that REST answers with; the message is for a
person and says what to do next. Translation to HTTP happens in one place, `loopat_jupyter.server.base`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


def plain(text: str, *, kept: str = "\n\t") -> str:
    """Text without what would move a cursor or change colours: it may come from podman, from git or from a file's name.

    Args:
        text: Any text.
        kept: What stays of it, too.
    """
    return "".join(character if character.isprintable() or character in kept else "�" for character in text)


class LoopatError(Exception):
    """The root of the tree.

    Args:
        message: One or two sentences for a person, the last one saying what to do. It is made plain.
    """

    status: ClassVar[int] = 500
    reason: ClassVar[str] = "internal"

    def __init__(self, message: str) -> None:
        self.message = plain(message)
        super().__init__(self.message)


class BadInputError(LoopatError):
    """A value from outside is not acceptable.

    Args:
        field: Name of the field, as the caller wrote it.
        problem: What is wrong with it, completing the sentence "<field>: …".
    """

    status = 400
    reason = "bad_input"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = plain(field)
        self.problem = problem


class NotFoundError(LoopatError):
    """There is no such thing."""

    status = 404
    reason = "not_found"


class ConflictError(LoopatError):
    """The thing is in a state that forbids what was asked."""

    status = 409
    reason = "conflict"


class UnsafePathError(LoopatError):
    """Something lies where it could lead out: a link, a FIFO, a device. It was neither read nor mounted."""

    status = 409
    reason = "unsafe_path"


class LockedVaultError(LoopatError):
    """The key of an encrypted vault is not at hand; the message says how to unlock it."""

    status = 409
    reason = "vault_locked"


class UnreadableRecordError(LoopatError):
    """A loop's record cannot be read; its files are untouched."""

    status = 422
    reason = "unreadable_record"


class EngineError(LoopatError):
    """Podman ran and failed.

    Args:
        message: What was being done and what to do about it.
        argv: The command; never holds a secret, see `loopat_jupyter.sandbox.plan`.
        returncode: Podman's exit code.
        stderr: The last lines of its standard error.
    """

    reason = "engine_failed"

    def __init__(self, message: str, *, argv: Sequence[str] = (), returncode: int = 0, stderr: str = "") -> None:
        super().__init__(message)
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stderr = stderr


class ImageBuildError(EngineError):
    """An image could not be built or pulled; `stderr` holds the last lines that were said."""

    reason = "build_failed"


class GitError(LoopatError):
    """Git ran and failed, or the remote did.

    Args:
        message: What was being done and what to do about it.
        stderr: The last lines of git's standard error.
    """

    status = 502
    reason = "git_failed"

    def __init__(self, message: str, *, stderr: str = "") -> None:
        super().__init__(message)
        self.stderr = stderr


class GitUnavailableError(LoopatError):
    """There is no git on this machine; the message names the command that installs it."""

    status = 503
    reason = "git_unavailable"


class KernelStartError(LoopatError):
    """A kernel did not start inside its loop; the message ends with the last lines of its log."""

    reason = "kernel_failed"


class EngineUnavailableError(LoopatError):
    """Podman is missing, not executable or too old; the message names the command that fixes it."""

    status = 503
    reason = "engine_unavailable"


class ConfigurationError(LoopatError):
    """The configuration makes no sense, so that nothing can be offered; the message names the file and the key."""

    status = 503
    reason = "bad_configuration"


class StorageFullError(LoopatError):
    """No space is left where something had to be written whole."""

    status = 503
    reason = "storage_full"


class StorageRefusedError(LoopatError):
    """What had to be written may not be: no permission, or the file system is read-only."""

    status = 503
    reason = "storage_refused"


class EngineTimeoutError(LoopatError):
    """Podman did not answer before its deadline."""

    status = 504
    reason = "engine_timeout"
