"""What clients may send: one frozen struct per body and per query, decoded strictly, unknown fields refused."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.listing import DEFAULT_PAGE, LARGEST_PAGE
from loopat_jupyter.models import ContextKind, LoopConfig, NewLoop, Value
from loopat_jupyter.values import Protocol, Share, ShareMode
from loopat_jupyter.workspace.variables import check_variable_name, check_variable_value

MAX_ARGV_BYTES = 100 * 1024
"""The kernel takes 128 KiB for one argument (MAX_ARG_STRLEN, execve(2)); podman's own arguments come on top."""

MAX_MESSAGE_CHARACTERS = 10_000
MAX_TIMEOUT_S = 7 * 24 * 3600
_MAX_PATH_BYTES = 4096


def _about(text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text)


class CreateLoop(Value, frozen=True, kw_only=True):
    """A new loop."""

    title: Annotated[str, _about("what the loop is called: 1 to 200 characters on one line")]
    repo: Annotated[str | None, _about("name of a registered repo, or its URL or path; none: an empty loop")] = None
    ref: Annotated[str | None, _about("branch, tag or commit to begin from; by default the default branch")] = None
    profiles: Annotated[list[str], _about("names of profiles; a later one wins")] = msgspec.field(default_factory=list)
    distill: Annotated[
        str | None, _about("id of a loop; the new one begins with its notebooks and history, and with instructions")
    ] = None
    contexts: Annotated[
        dict[ContextKind, str], _about("commits that contexts begin from, to reproduce a loop; by default the newest")
    ] = msgspec.field(default_factory=dict)
    vault: Annotated[str | None, _about("the vault with its credentials; by default the one called `default`")] = None
    image: Annotated[str | None, _about("image to use in place of the workspace's")] = None
    config: Annotated[LoopConfig, _about("settings of this loop alone")] = LoopConfig()
    metadata: Annotated[dict[str, Any], _about("free labels, at most 16 KiB as JSON; not shown inside the loop")] = (
        msgspec.field(default_factory=dict)
    )

    def wanted(self) -> NewLoop:
        """The same for the manager."""
        sent = {field: getattr(self, field) for field in self.__struct_fields__}
        return NewLoop(**{**sent, "profiles": tuple(self.profiles)})


class ChangeLoop(Value, frozen=True, kw_only=True):
    """Changes of a loop; what is left out stays as it is."""

    title: Annotated[str | UnsetType, _about("the new title")] = UNSET
    vault: Annotated[
        str | UnsetType, _about("the new vault; a running sandbox mounts what lies in it once it is recreated")
    ] = UNSET
    image: Annotated[str | UnsetType | None, _about("the new image; null goes back to the workspace's")] = UNSET
    config: Annotated[LoopConfig | UnsetType, _about("replaces all settings of the loop")] = UNSET
    metadata: Annotated[dict[str, Any] | UnsetType, _about("replaces all metadata")] = UNSET
    archived: Annotated[
        bool | UnsetType, _about("an archived loop is listed apart, and its sandbox is stopped until it is unarchived")
    ] = UNSET

    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        return {field: value for field in self.__struct_fields__ if (value := getattr(self, field)) is not UNSET}


class RegisterRepo(Value, frozen=True, kw_only=True):
    """A repo to pick by name."""

    url: Annotated[str, _about("URL, `user@host:path`, or absolute path on the server's machine; no password in it")]


class AttachContext(Value, frozen=True, kw_only=True):
    """A remote for a context."""

    remote: Annotated[str, _about("address of a repo that is empty or has the same history; no password in it")]


class Promote(Value, frozen=True, kw_only=True):
    """A loop's work on a context, for everybody."""

    context: Annotated[ContextKind, _about("which context")]
    message: Annotated[
        Annotated[str, msgspec.Meta(max_length=MAX_MESSAGE_CHARACTERS)],
        _about("what the commit says; by default, which loop it comes from"),
    ] = ""


class Push(Value, frozen=True, kw_only=True):
    """Where a loop's branch may be pushed to."""

    branch: Annotated[
        Annotated[str, msgspec.Meta(min_length=1)] | None,
        _about("the branch that is checked out in the loop, where that is another one than the loop's own"),
    ] = None


Commit = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$(?!\n)")]
"""In whole: what is shorter can be made to name another commit."""


class MergeProposal(Value, frozen=True, kw_only=True):
    """What somebody looked at before it goes to everybody."""

    commit: Annotated[Commit, _about("the commit that was looked at; 409 when the proposal is at another one by now")]


class ShowProposalQuery(Value, frozen=True, kw_only=True):
    """Query of `GET /proposals/{kind}/{loop_id}`."""

    commit: Annotated[Commit | None, _about("409 when the proposal is at another commit")] = None


class DiscardQuery(Value, frozen=True, kw_only=True):
    """Query of `DELETE /proposals/{kind}/{loop_id}`."""

    commit: Annotated[Commit, _about("the commit that was looked at; 409 when the proposal is at another one by now")]


Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class ShareLoop(Value, frozen=True, kw_only=True):
    """What a loop shows to others."""

    mode: Annotated[
        ShareMode,
        _about(
            "`off`; `static`: the files of the workdir; `port`: a web server inside, both under a host name; `direct`: "
            "a port of the host leads to one inside; `ephemeral`: podman publishes a port under a number that it picks"
        ),
    ]
    port: Annotated[Port | None, _about("the port inside; not for `off` and `static`")] = None
    alias: Annotated[
        str | None, _about("first part of the host name; by default the first eight characters of the id")
    ] = None
    protocol: Annotated[Protocol, _about("`udp` for `direct` and `ephemeral` only")] = "tcp"
    public_port: Annotated[
        Port | None, _about("the port of the host, for `direct` only; by default the first free one of the range")
    ] = None

    def wanted(self) -> Share:
        """The same for the manager."""
        return Share(**{field: getattr(self, field) for field in self.__struct_fields__})


class OpenTerminal(Value, frozen=True, kw_only=True):
    """A new terminal in a loop."""

    cwd: Annotated[
        str | None, _about("folder to open it in: absolute as inside the loop, or relative to its workdir")
    ] = None
    agent: Annotated[str | None, _about("name of an agent, whose command line runs in place of a shell")] = None


class RunCommand(Value, frozen=True, kw_only=True):
    """A command to run in a loop."""

    argv: Annotated[list[str], msgspec.Meta(description="command and arguments; no shell is involved", min_length=1)]
    cwd: Annotated[str | None, _about("working directory: absolute as inside the loop, or relative to its workdir")] = (
        None
    )
    env: Annotated[dict[str, str], _about("variables to add; they are never logged nor seen in a process list")] = (
        msgspec.field(default_factory=dict)
    )
    stdin: Annotated[str, _about("standard input")] = ""
    timeout_s: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=MAX_TIMEOUT_S)] | None,
        _about("seconds after which the command is ended; none without it"),
    ] = None


class ListQuery(Value, frozen=True, kw_only=True):
    """Query of `GET /loops`."""

    archived: Annotated[bool, _about("show the archived loops in place of the others")] = False
    limit: Annotated[int, msgspec.Meta(description="how many loops at most", ge=1, le=LARGEST_PAGE)] = DEFAULT_PAGE
    after: Annotated[str | None, _about("`next` of the page before")] = None


class ChangeStateQuery(Value, frozen=True, kw_only=True):
    """Query of `POST /loops/{loop_id}/start`, `stop` and `recreate`."""

    wait: Annotated[bool, _about("answer when the state is reached; `false` answers 202 if that takes longer")] = True


class DeleteQuery(Value, frozen=True, kw_only=True):
    """Query of `DELETE /loops/{loop_id}`."""

    force: Annotated[bool, _about("delete although there is unsaved work in it, or something runs in it")] = False
    end: Annotated[bool, _about("end what runs in it; unsaved work is still refused")] = False


class CreateVault(Value, frozen=True, kw_only=True):
    """A new vault."""

    name: Annotated[
        str, _about("1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`, beginning with a letter or a digit: it names a folder")
    ]


class SetVariable(Value, frozen=True, kw_only=True):
    """The value of a variable."""

    value: Annotated[str, _about("the value; newlines at its end do not count. It is never sent back")]


class RemoveVaultQuery(Value, frozen=True, kw_only=True):
    """Query of `DELETE /vaults/{vault}`."""

    force: Annotated[bool, _about("remove it although loops use it")] = False


def check_path(field: str, path: str | None) -> None:
    """Refuse a path that no system call takes.

    Args:
        field: Name of the field.
        path: The path; None is fine.

    Raises:
        BadInputError: Empty, too long or with a NUL character.
    """
    if path is None:
        return
    if not path or "\0" in path:
        raise BadInputError(field, "must not be empty nor hold a NUL character")
    if len(path.encode()) > _MAX_PATH_BYTES:
        raise BadInputError(field, f"must be at most {_MAX_PATH_BYTES} bytes")


def check_command(request: RunCommand) -> None:
    """Refuse a command that could not even be started.

    Raises:
        BadInputError: Names the field: NUL characters, a command line that is too long, a variable that is no name.
    """
    if not request.argv[0]:
        raise BadInputError("argv", "must begin with the name of a command")
    if any("\0" in argument for argument in request.argv):
        raise BadInputError("argv", "must not hold a NUL character")
    size_bytes = sum(len(argument.encode()) + 1 for argument in request.argv)
    if size_bytes > MAX_ARGV_BYTES:
        raise BadInputError("argv", f"must be at most {MAX_ARGV_BYTES} bytes, has {size_bytes}. Use stdin for data.")
    check_path("cwd", request.cwd)
    for name, value in request.env.items():
        check_variable_name("env", name)
        check_variable_value("env", name, value.encode())
