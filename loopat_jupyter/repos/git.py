"""`Git`: runs git on the host, in folders that only the host writes, with a deadline and typed errors."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
from typing import TYPE_CHECKING, NamedTuple, cast

from loopat_jupyter.deadlines import deadline
from loopat_jupyter.ending import end
from loopat_jupyter.errors import GitError, GitUnavailableError, StorageFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

DEFAULT_TIMEOUT_S = 60.0
TRANSFER_TIMEOUT_S = 1800.0
"""A first clone of a large repo over a slow line."""

_SILENCE_S = 60
"""A remote that says nothing for so long is gone."""

LARGEST_OUTPUT_BYTES = 64 * 2**20
"""More than a list of all refs or files of any repo that people work in."""

_KILL_GRACE_S = 3.0
_TAIL_CHARACTERS = 4000
_LINE_LIMIT_BYTES = 2**20

_SETTINGS = (
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("protocol.ext.allow", "never"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("advice.detachedHead", "false"),
    ("submodule.recurse", "false"),
    ("uploadpack.allowFilter", "true"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", str(_SILENCE_S)),
)
"""Nothing that a repo brings along is run, and nothing is thrown away that a loop may borrow; silence ends it."""

_CHATTER = ("Cloning into", "Warning: Permanently added")
_NOT_WRITTEN = ("unable to write", "failed to write")
_NO_ROOM_BYTES = 2**20
_SSH_FAILED = "fatal: Could not read from remote repository."
_PERCENT = re.compile(r"^(?:remote: )?(?P<label>[A-Z][a-z]+ [a-z]+):\s+(?P<percent>\d+)% ")


class Completed(NamedTuple):
    """A git command that ended."""

    returncode: int
    stdout: bytes
    stderr: str
    cut: bool = False
    """Whether there was more on standard output than was wanted: then it was ended, whatever its exit code says."""

    @property
    def text(self) -> str:
        """Standard output without its last newline."""
        return self.stdout.decode("utf-8", "replace").removesuffix("\n")


class Access(NamedTuple):
    """How to reach a private remote.

    Attributes:
        identity_files: Private keys for ssh, in the order to try; with none, ssh finds keys by itself. Other keys have
            other names.
        known_hosts: File of host keys; a host that is not in it yet is added. None is the person's own.
    """

    identity_files: tuple[Path, ...] = ()
    known_hosts: Path | None = None

    @property
    def reader(self) -> str:
        """Names whoever has these keys; the same for all who have none and go with the person's own."""
        names = "/".join(file.name for file in self.identity_files)
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:16] if names else "person"


NO_SETTINGS: Mapping[str, str] = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
"""For commands that look into what a repo holds: no merge driver or filter of the person's own runs on it."""


class Git:
    """Runs git.

    Args:
        environ: The environment it runs in; proxies, the ssh agent and the person's own git settings come from it.
        binary: Name or path of the command.
    """

    def __init__(self, environ: Mapping[str, str], *, binary: str = "git") -> None:
        self._environ = dict(environ)
        self._binary = binary
        self._path = self._environ.get("PATH")

    async def run(
        self,
        *arguments: str,
        folder: Path | None = None,
        stdin: bytes | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        cut_bytes: int | None = None,
        memory_bytes: int | None = None,
        ok: Sequence[int] = (0,),
        doing: str = "",
        access: Access | None = None,
        environ: Mapping[str, str] | None = None,
        on_progress: Callable[[str, int], None] | None = None,
    ) -> Completed:
        """Run git to the end.

        Args:
            arguments: Everything after `git`. Never a secret.
            folder: Where it runs; one that no sandbox can write.
            stdin: Standard input; empty without it.
            timeout_s: Deadline.
            cut_bytes: How much of standard output is wanted at most; git is ended when there is more. None takes all
                there is, up to a bound that only a hostile repo reaches.
            memory_bytes: How much memory git and each of its helpers may take; None for any amount. For what a loop
                made: a few kilobytes of it can stand for an object of any size.
            ok: Exit codes that count as success.
            doing: What this is for, completing "Git failed to …".
            access: For commands that talk to a remote.
            environ: Further variables.
            on_progress: Told what git says of long work: a label and a percentage.

        Raises:
            GitError: Git ended with another code, or not in time, or had far too much to say.
            GitUnavailableError: There is no git.
            StorageFullError: No space.
        """
        limit_bytes = LARGEST_OUTPUT_BYTES if cut_bytes is None else cut_bytes
        command = (self._binary, *arguments)
        if memory_bytes is not None:
            command = ("prlimit", f"--data={memory_bytes}", "--", *command)
        if access is not None and all(shutil.which(name, path=self._path) for name in ("setpriv", self._binary)):
            # A long transfer ends with the process that wanted it, also when that one is killed.
            command = ("setpriv", "--pdeathsig", "TERM", "--", *command)
        process = await self._spawn(command, folder, access, environ or {}, stdin=stdin is not None)
        try:
            async with deadline(timeout_s):
                stdout, stderr = await _talk(process, stdin, on_progress, limit_bytes)
        except TimeoutError:
            raise GitError(
                f"Git did not {doing or arguments[0]} within {timeout_s:g} s. Look whether the remote answers, and "
                "try again."
            ) from None
        finally:
            await end(process, _KILL_GRACE_S)
        cut = len(stdout) > limit_bytes
        answer = Completed(cast("int", process.returncode), stdout[:limit_bytes], stderr, cut)
        if cut and cut_bytes is None:
            raise GitError(f"Git had more than {limit_bytes // 2**20} MiB to say to {doing or arguments[0]}.")
        if not cut and answer.returncode not in ok:
            raise _failure(arguments, answer, doing, folder)
        return answer

    async def _spawn(
        self,
        command: Sequence[str],
        folder: Path | None,
        access: Access | None,
        environ: Mapping[str, str],
        *,
        stdin: bool,
    ) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=pipe if stdin else asyncio.subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                env={**git_environment(self._environ, access), **environ},
                cwd=str(folder or "/"),
                limit=_LINE_LIMIT_BYTES,
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError) as error:
            # It names what is not there: the folder, or the command.
            if folder is not None and error.filename == str(folder):
                raise GitError(f"The folder {folder} was removed meanwhile, or is out of reach. Try again.") from None
            raise GitUnavailableError(
                f"There is no command {self._binary!r}, which loops with a repo need. Install git (`sudo apt install "
                "git`) and try again."
            ) from None


def git_environment(environ: Mapping[str, str], access: Access | None) -> dict[str, str]:
    """The environment of a git command: nothing asks, nothing that a repo brings along runs.

    Args:
        environ: The caller's; its own `GIT_…` variables are left out, for they may point anywhere.
        access: How a private remote is reached.
    """
    made = {name: value for name, value in environ.items() if not name.startswith("GIT_")}
    made |= {
        "LC_ALL": "C.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        # Otherwise a window of the desktop asks (gitcredentials(7)).
        "GIT_ASKPASS": "",
        "GIT_CONFIG_NOSYSTEM": environ.get("GIT_CONFIG_NOSYSTEM", "0"),
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_CONFIG_COUNT": str(len(_SETTINGS)),
        "GIT_SSH_COMMAND": shlex.join(ssh_command(access or Access())),
    }
    for number, (name, value) in enumerate(_SETTINGS):
        made |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return made


def ssh_command(access: Access) -> list[str]:
    """The ssh that git uses: it never asks, and trusts a host key that it sees for the first time.

    Args:
        access: Keys to use.
    """
    options = [
        "BatchMode=yes", "StrictHostKeyChecking=accept-new",
        "ConnectTimeout=20", "ServerAliveInterval=15", f"ServerAliveCountMax={_SILENCE_S // 15}",
    ]  # fmt: skip
    if access.known_hosts is not None:
        # It is a list of files, with tokens in them (ssh_config(5), "TOKENS").
        escaped = str(access.known_hosts).replace("%", "%%")
        options.append(f'UserKnownHostsFile="{escaped}"')
    if access.identity_files:
        options.append("IdentitiesOnly=yes")
    # The person's own settings may name keys of theirs, which would be tried too.
    own = ("-F", "none") if access.identity_files else ()
    command = ["ssh", *own, *(part for option in options for part in ("-o", option))]
    for file in access.identity_files:
        command += ["-i", str(file)]
    return command


async def _talk(
    process: asyncio.subprocess.Process,
    stdin: bytes | None,
    on_progress: Callable[[str, int], None] | None,
    limit_bytes: int,
) -> tuple[bytes, str]:
    """Write standard input, and read both outputs; progress lines go to who wants them."""
    stderr = cast("asyncio.StreamReader", process.stderr)
    written, said, _ = await asyncio.gather(
        _read(process, limit_bytes), _read_progress(stderr, on_progress or (lambda *_: None)), _feed(process, stdin)
    )
    await process.wait()
    return written, said


async def _read(process: asyncio.subprocess.Process, limit_bytes: int) -> bytes:
    """Standard output; when it is longer than wanted, git is ended, and at least one byte more is returned."""
    stream, kept = cast("asyncio.StreamReader", process.stdout), bytearray()
    while piece := await stream.read(2**18):
        kept += piece
        if len(kept) > limit_bytes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            break
    return bytes(kept)


async def _feed(process: asyncio.subprocess.Process, stdin: bytes | None) -> None:
    if stdin is None or process.stdin is None:
        return
    # It may end without having read everything; its exit code says why.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


async def _read_progress(stream: asyncio.StreamReader, on_progress: Callable[[str, int], None]) -> str:
    """What git writes to standard error, less its progress, of which each line replaces the one before."""
    kept, rest = "", ""
    while piece := await stream.read(65536):
        *lines, rest = re.split(r"[\r\n]+", rest + piece.decode("utf-8", "replace"))
        for line in lines:
            found = _PERCENT.match(line)
            if found:
                on_progress(found["label"].lower(), int(found["percent"]))
            elif line:
                kept = f"{kept}{line}\n"[-_TAIL_CHARACTERS:]
        # A line that a remote never ends.
        rest = rest[-_TAIL_CHARACTERS:]
    return (kept + rest).strip()


def _failure(
    arguments: Sequence[str], answer: Completed, doing: str, folder: Path | None
) -> GitError | StorageFullError:
    # Of a file that it could not write, git does not always say why.
    unwritten = any(words in answer.stderr for words in _NOT_WRITTEN)
    if "No space left on device" in answer.stderr or (unwritten and folder is not None and _is_full(folder)):
        return StorageFullError("No space left for a repo. Free some space and try again.")
    return GitError(f"Git failed to {doing or arguments[0]}: {reason(answer)}", stderr=answer.stderr)


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _NO_ROOM_BYTES
    except OSError:
        return False


def lines_of(said: str) -> tuple[str, ...]:
    """Lines as git ends them: what people named may hold what Python too takes for the end of a line.

    Args:
        said: What git printed.
    """
    return tuple(filter(None, said.split("\n")))


def reason(answer: Completed) -> str:
    """Why git failed, in its own words: the first line that says so.

    Args:
        answer: The command.
    """
    lines = [line.strip() for line in answer.stderr.splitlines() if line.strip() and not line.startswith(_CHATTER)]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    # Of a connection that failed, git only knows that it failed; ssh, one line before, knows why.
    text = (lines if _SSH_FAILED in fatal else fatal or lines or [f"exit code {answer.returncode}"])[0]
    # How many milliseconds libcurl tried for is another number each time and helps nobody.
    return re.sub(r"^(fatal|error): | after \d+ ms(?=: )", "", text).rstrip(".") + "."
