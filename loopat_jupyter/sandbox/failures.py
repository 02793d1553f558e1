"""What to tell where podman fails: each time what went wrong and the way out."""

from __future__ import annotations

import contextlib
import re
import resource
import signal
from typing import TYPE_CHECKING

from loopat_jupyter.errors import EngineError, EngineTimeoutError, EngineUnavailableError, StorageFullError

if TYPE_CHECKING:
    from collections.abc import Sequence

_KILLED_IN_SCRIPT = 128 + signal.SIGKILL
_NETWORK_LOST = (
    "The network of all your containers is lost, as happens where another storage of podman is used beside. Stop every "
    "loop that runs (`jupyter loopat stop`), then start this one again. The section “network” of "
    "docs/troubleshooting.md says how names are found again."
)
_REFUSED_LIMIT = re.compile(r"setrlimit `RLIMIT_(\w+)`|setting rlimit type (\d+)")
"""What crun and runc say where a container was made with a higher limit than this login may set."""

_BEYOND_REPAIR = re.compile(
    r"container state improper|layer not known|no such container|no container with"
    r"|mounting storage for container [^\n]*: no such file or directory"
)
"""What libpod and its storage say of a container whose removal was begun, or whose layer is lost."""

_LIMITS = {resource.RLIMIT_NOFILE: "open files (`ulimit -Hn`)", resource.RLIMIT_NPROC: "processes (`ulimit -Hu`)"}
_ASK_DOCTOR = "Run `jupyter loopat doctor` to see what is missing."


def unavailable(problem: str) -> EngineUnavailableError:
    """Podman cannot be run at all.

    Args:
        problem: Why, as a sentence.
    """
    return EngineUnavailableError(f"{problem} {_ASK_DOCTOR}")


def ending() -> EngineUnavailableError:
    """Podman is asked for something after its commands were ended."""
    return EngineUnavailableError("Podman is not run any more, because this program is ending.")


def too_late(doing: str, timeout_s: float) -> EngineTimeoutError:
    """Podman took too long.

    Args:
        doing: What it did, completing "Podman did not …".
        timeout_s: How long it had.
    """
    return EngineTimeoutError(
        f"Podman did not {doing} within {timeout_s:g} s. "
        "Look for a stuck podman process (`ps -C podman`), end it, and try again."
    )


def failure(argv: Sequence[str], returncode: int, stderr: str, doing: str = "") -> EngineError | StorageFullError:
    """Podman ended with a code that says that it failed.

    Args:
        argv: What was run, podman first.
        returncode: Its exit code; negative where a signal ended it.
        stderr: The end of what it wrote there.
        doing: What this was for, completing "Podman failed to …"; by default its command.
    """
    if "no space left on device" in stderr:
        return StorageFullError(
            "Podman's storage is full. Free some space (`podman system df` shows what takes it) and try again."
        )
    command = argv[1]
    last = stderr.splitlines()[-1] if stderr else f"exit code {returncode}"
    # What ran inside may have been killed; its exit code is that of `exec`.
    killed = how_killed(returncode) if command != "exec" or returncode < 0 else ""
    lost = _NETWORK_LOST if "rootless netns" in last else ""
    why = killed or refused_limit(stderr) or f"{last}. {lost or _ASK_DOCTOR}"
    return EngineError(
        f"Podman failed to {doing or command}: {why}",
        argv=argv,
        returncode=returncode,
        stderr=stderr,
    )


def refused_limit(stderr: str) -> str:
    """What to tell where a limit of this login keeps a sandbox, or a process in it, from its start.

    Args:
        stderr: What podman wrote there.

    Returns:
        The limit and the ways out, completing "Podman failed: …"; empty where it was no limit.
    """
    refused = _REFUSED_LIMIT.search(stderr)
    if refused is None:
        return ""
    return _too_low(int(refused[2]) if refused[2] else getattr(resource, f"RLIMIT_{refused[1]}", -1))


def is_beyond_repair(stderr: str) -> bool:
    """Whether podman says that nothing can start a stopped container any more.

    Args:
        stderr: What podman wrote there.
    """
    return _BEYOND_REPAIR.search(stderr) is not None


def does_not_start(error: EngineError, loop_id: str) -> EngineError:
    """A stopped sandbox that does not start, perhaps for now only, as where something is missing on the host.

    Args:
        error: What podman said at the last attempt.
        loop_id: The loop.
    """
    return EngineError(
        f"{error.message} The sandbox stays as it is: try again once that is mended. If it does not start any more, "
        f"recreate it (`jupyter loopat recreate {loop_id[:8]}`): its files and its home stay, and what was installed "
        "with sudo is gone.",
        argv=error.argv,
        returncode=error.returncode,
        stderr=error.stderr,
    )


def no_program_runs(workspace: str, mount: str) -> str:
    """Why no sandbox starts where programs of the workspace may not run.

    Args:
        workspace: The workspace.
        mount: Mount point of the file system that holds it.
    """
    return f"{mount} is mounted with noexec, so no program runs from {workspace}, as the main one of a sandbox has to"


def ended_at_once(loop_id: str, name: str, workspace: str, mount: str) -> EngineError:
    """A sandbox whose main process ended as soon as it was started.

    Args:
        loop_id: The loop.
        name: Of the container.
        workspace: The workspace.
        mount: Mount point of the file system that holds it, if that is mounted with noexec; else empty.
    """
    why = (
        f"{no_program_runs(workspace, mount)}. `jupyter loopat doctor` says what to do."
        if mount
        else f"`podman start --attach {name}` shows what it says, `podman inspect {name}` how it ended."
    )
    return EngineError(f"The sandbox of loop {loop_id} ended as soon as it was started. {why}")


def lower_limit(pid: int) -> str:
    """The same, where nobody heard what podman said; empty where this login may set the limits of the sandbox.

    Args:
        pid: The sandbox's init process on the host.
    """
    for number in _LIMITS:
        with contextlib.suppress(OSError):
            own, wanted = resource.getrlimit(number)[1], resource.prlimit(pid, number)[1]
            if own != resource.RLIM_INFINITY and (wanted > own or wanted == resource.RLIM_INFINITY):
                return _too_low(number)
    return ""


def _too_low(number: int) -> str:
    what = _LIMITS.get(number, "what processes take (`ulimit -Ha`)")
    return (
        f"the sandbox was made with a higher limit on {what} than this login may set. Use a login with the same "
        "limits, or run `jupyter loopat recreate LOOP`, after which what was installed with sudo is gone."
    )


def how_killed(returncode: int) -> str:
    """What to tell of a podman that somebody killed, completing "Podman failed: …"; empty where nobody did.

    Args:
        returncode: Its exit code, or that of a script around it.
    """
    signum = returncode - 128 if returncode == _KILLED_IN_SCRIPT else -returncode
    if signum <= 0:
        return ""
    why = ", perhaps for lack of memory" if signum == signal.SIGKILL else ""
    return f"it was killed (signal {signum}){why}. Try again."
