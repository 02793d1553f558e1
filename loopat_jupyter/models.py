"""Frozen values that travel between the layers.

All are strict `msgspec` structs, the source of JSON schemas. Paths are absolute, times UTC, sizes bytes, durations s.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec resolves annotations at run time
from pathlib import Path  # noqa: TC003
from typing import Annotated, Any, Literal

import msgspec

from loopat_jupyter.values import Isolation, Resources, Share

RECORD_SCHEMA = 1
"""Version of `meta.json` that this code writes. A newer one is set aside, not guessed at."""

MAX_TITLE_CHARACTERS = 200
MAX_METADATA_BYTES = 16 * 1024
"""Free metadata of a loop is for labels, not for data."""

SANDBOX_USER, SANDBOX_UID = "loopat", 2000
"""The one user inside. Not root: agent tools refuse their unattended mode as root."""

DEFAULT_VAULT = "default"
"""The vault of a loop that names none. It need not exist: the loop then has no credentials."""

ContextKind = Literal["knowledge", "notes", "personal"]
CONTEXT_KINDS: tuple[ContextKind, ...] = ("knowledge", "notes", "personal")
"""What a team knows, what it writes down as it goes, and what is a member's own."""

Network = Literal["bridge", "none"]
MountMode = Literal["rw", "ro"]
State = Literal["absent", "preparing", "running", "stopped", "error"]

VariableName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)")]
VariableValue = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$(?!\n)", max_length=32_000)]
"""Without a NUL character; several fit one command line."""


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every frozen value."""


class LoopConfig(Value, frozen=True, kw_only=True):
    """What one loop decides for itself; None means: as the workspace says."""

    network: Annotated[Network | None, msgspec.Meta(description="`bridge` or `none`")] = None
    isolation: Annotated[
        Isolation | None,
        msgspec.Meta(description="`nested`: podman runs inside; `strict`: no podman, no sudo; `privileged`: no fence"),
    ] = None
    shared_tmp: Annotated[bool | None, msgspec.Meta(description="share the host's `/tmp`")] = None
    knowledge_rw: Annotated[bool | None, msgspec.Meta(description="let the loop change its copy of the knowledge")] = (
        None
    )
    all_loops: Annotated[
        bool | None,
        msgspec.Meta(
            description="see the folders of all loops, read-only; only when it is made, where the workspace allows it"
        ),
    ] = None
    resources: Annotated[Resources, msgspec.Meta(description="each left out is as the workspace says")] = Resources()
    env: Annotated[
        dict[VariableName, VariableValue],
        msgspec.Meta(description="variables of every process; everybody on the machine can see them: no secrets"),
    ] = {}


class ContextStart(Value, frozen=True, kw_only=True):
    """A context of a loop, and where the loop's own branch of it began."""

    kind: ContextKind
    commit: str | None = None
    """None where the context had no commit yet."""


class LoopRecord(Value, frozen=True, kw_only=True):
    """One loop as it stands in `loops/<id>/meta.json`."""

    schema: int = RECORD_SCHEMA
    id: str
    title: str
    slug: str
    created_at: datetime
    created_by: str
    archived: bool = False
    repo: str | None = None
    """What it was checked out from: the name of a registered repo, or a URL or path."""
    ref: str | None = None
    """The branch, tag or commit that was asked for; None is the default branch."""
    branch: str | None = None
    """The loop's own branch; None without a checkout."""
    commit: str | None = None
    """Where the branch began."""
    origin: str | None = None
    """Address of the repo when it was checked out."""
    mirror: str | None = None
    """Folder name of the copy that the checkout borrows objects from."""
    contexts: tuple[ContextStart, ...] = ()
    profiles: tuple[str, ...] = ()
    vault: str = DEFAULT_VAULT
    image: str | None = None
    config: LoopConfig = LoopConfig()
    share: Share = Share()
    metadata: dict[str, Any] = {}
    plugins: bool = False
    """Agents in it have the plugins that the person had when it was made."""
    warnings: tuple[str, ...] = ()
    """What did not work out when the loop was made; it is usable all the same."""

    @property
    def repo_missing(self) -> bool:
        """Whether it has no files of its repo, because they could not be fetched yet."""
        return self.repo is not None and self.origin is None


class NewLoop(Value, frozen=True, kw_only=True):
    """What a person asks for; see `LoopRecord` for the fields."""

    title: str
    repo: str | None = None
    ref: str | None = None
    profiles: tuple[str, ...] = ()
    distill: str | None = None
    """Id of a loop whose notebooks and history the new one begins with."""
    contexts: dict[ContextKind, str] = {}
    """Commits that the loop's contexts begin from, to reproduce another loop; the others begin at their newest."""
    vault: str | None = None
    """None is the member's default vault."""
    image: str | None = None
    config: LoopConfig = LoopConfig()
    metadata: dict[str, Any] = {}


class Mount(Value, frozen=True, kw_only=True, order=True):
    """One bind mount. Sorts by target, so that a hash over mounts does not depend on how they were found."""

    target: str
    source: str
    mode: MountMode = "rw"
    file: bool = False
    """Known to be a single file; what is not known counts as a folder."""


class SandboxSpec(Value, frozen=True, kw_only=True):
    """Everything that shapes a container. Two equal specs need no new container."""

    loop_id: str
    owner: str
    workspace: str
    name: str
    hostname: str
    mounts: tuple[Mount, ...]
    network: str
    workdir: str
    home: str
    resources: Resources = Resources()
    """As far as the host can enforce them."""
    fence: tuple[str, ...] = ()
    """Arguments of `podman run` that say what its processes may do."""
    env: dict[str, str] = {}
    """Variables of every process, none of them secret."""
    publish: tuple[int, ...] = ()
    """Ports inside that the host reaches on its loopback, under numbers that it chooses; `shared` may be for others."""
    shared: str | None = None


class ExecSpec(Value, frozen=True, kw_only=True):
    """One process inside a sandbox.

    Attributes:
        argv: Command and arguments, as inside.
        cwd: Working directory inside; None means the loop's workdir.
        env: Variables to add. They travel in a file that is read at start and removed, never in an argv.
        tty: Give it a controlling terminal.
        interactive: Forward standard input.
        detach: Do not keep a client; output goes to a log file, or to a terminal held inside, if it has a size.
        size: Rows and columns of the terminal before its first prompt.
        notice: What a person should know before the first prompt of a terminal.
    """

    argv: tuple[str, ...]
    cwd: str | None = None
    env: dict[str, str] = {}
    tty: bool = False
    interactive: bool = False
    detach: bool = False
    size: tuple[int, int] | None = None
    notice: str = ""


class ContainerFacts(Value, frozen=True, kw_only=True):
    """What podman and the kernel of the host say of one container."""

    id: str
    name: str
    loop_id: str
    config_hash: str
    image_id: str
    reference: str = ""
    """What its image was called when it was made; empty when not known."""
    running: bool
    """Podman's word for it, which can be wrong after its monitor died."""
    pid: int
    """Of the init process, on the host; 0 when stopped."""
    alive: bool
    """The init process really is there."""
    paused: bool = False
    """Frozen by somebody with `podman pause`; its processes are all there."""


class Progress(Value, frozen=True, kw_only=True):
    """One line of progress: step of steps, with a short human label."""

    label: str
    step: int = 0
    steps: int = 0

    def __str__(self) -> str:
        return f"{self.label} ({self.step} of {self.steps})" if self.steps else self.label


class InUse(Value, frozen=True, kw_only=True):
    """What somebody started in a sandbox and what still runs there; counted by the processes that are really there."""

    kernels: int = 0
    terminals: int = 0
    commands: int = 0
    unresponsive: tuple[int, ...] = ()
    """Kernels that answer nothing because they were stopped (`kill -STOP`), by process id as seen inside."""


class Status(Value, frozen=True, kw_only=True):
    """A loop's sandbox at one moment."""

    state: State
    restart_needed: bool = False
    build_failed: bool = False
    """What it should run could not be built when it was started last; a warning says why."""
    progress: Progress | None = None
    warnings: tuple[str, ...] = ()
    in_use: InUse = InUse()


class Repo(Value, frozen=True, kw_only=True):
    """A repo that can be picked by name; `fixed` when it stands in the configuration and is changed there."""

    name: str
    url: str
    default_branch: str | None = None
    """As it was when a loop was last made from it; None before the first one."""
    fixed: bool = False


class ContextRemote(Value, frozen=True, kw_only=True):
    """Where a context is kept."""

    kind: ContextKind
    remote: str | None
    """Address of its remote; None while it is kept in the workspace alone."""
    gated: bool
    """Whether what any loop promotes waits as a proposal until somebody merges it; of a `strict` one it always does."""
    fixed: bool
    """Whether the remote stands in the configuration and is changed there."""


class Promotion(Value, frozen=True, kw_only=True):
    """What came of promoting."""

    kind: ContextKind
    outcome: Literal["merged", "proposed", "unchanged"]
    commit: str | None
    """The context's newest commit with the loop's work in it, or the proposal's."""


class Pushed(Value, frozen=True, kw_only=True):
    """What came of pushing a loop's branch; `commit` is None when the remote had everything already."""

    branch: str
    commit: str | None
    remote: str


class Proposal(Value, frozen=True, kw_only=True):
    """Work on a context that waits for somebody to merge it."""

    kind: ContextKind
    loop_id: str
    title: str
    """The loop's title; its last commit's subject when the loop is gone."""
    author: str
    created_at: datetime
    commit: str
    commits: int
    files: tuple[str, ...]


class Kernelspec(Value, frozen=True, kw_only=True):
    """A kernel found in an image or in a loop's home."""

    name: str
    display_name: str
    language: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    interrupt_mode: Literal["signal", "message"] = "signal"
    metadata: dict[str, Any] = {}


class Check(Value, frozen=True, kw_only=True):
    """One preflight result; `fix` is the command or the sentence that fixes it, empty when ok."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    required: bool = True


class Health(Value, frozen=True, kw_only=True):
    """All preflight results; `ok` when no required check failed."""

    ok: bool
    checks: tuple[Check, ...]


class Usage(Value, frozen=True, kw_only=True):
    """What a sandbox takes of the machine, all its processes together."""

    cpu_s: float
    """Processor time of the processes that run, in seconds; two readings tell the load between them."""
    memory_bytes: int
    """Resident memory, each shared page counted once for every process that has it (proc(5), Rss)."""
    processes: int


class Loop(Value, frozen=True, kw_only=True):
    """A loop as REST and the command line show it."""

    id: str
    title: str
    slug: str
    created_at: datetime
    created_by: str
    archived: bool
    state: State
    restart_needed: bool
    build_failed: bool
    """Its image could not be built when it was started last; a warning says why, and the build log all of it."""
    repo_missing: bool
    """It has no files of its repo, which could not be reached; a warning says why, and `fetch` tries again."""
    vault_missing: bool
    """There is no vault of the name that it was made with; a warning says so."""
    progress: Progress | None
    warnings: tuple[str, ...]
    in_use: InUse
    workdir: Path
    folder: str
    repo: str | None
    ref: str | None
    branch: str | None
    commit: str | None
    contexts: tuple[ContextStart, ...]
    profiles: tuple[str, ...]
    vault: str
    image: str | None
    config: LoopConfig
    isolation: Isolation  # The level that counts: its own, else the workspace's.
    share: Share
    metadata: dict[str, Any]
    last_activity: datetime


class LoopPage(Value, frozen=True, kw_only=True):
    """One page of loops, newest activity first; `next` is the cursor of the following page."""

    loops: tuple[Loop, ...]
    next: str | None = None


class LoopEvent(Value, frozen=True, kw_only=True):
    """Something that happened to a loop; goes out as a Jupyter event.

    Attributes:
        action: What happened.
        loop_id: The loop.
        state: The sandbox's state afterwards, where it is known.
        progress: One step of long work.
        message: One sentence for a person: a failure and its way out, or a warning.
        kernel_id: A kernel that was just restarted, because the sandbox was recreated.
    """

    action: Literal["created", "updated", "deleted", "progress", "state", "warning", "failed"]
    loop_id: str
    state: str | None = None
    progress: Progress | None = None
    message: str | None = None
    kernel_id: str | None = None
