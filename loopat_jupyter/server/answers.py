"""What clients get: the structs that only REST has, and the one place where an error becomes an answer."""

from __future__ import annotations

import errno
from http import HTTPStatus
from pathlib import Path
from typing import Literal

import msgspec
from tornado import web

from loopat_jupyter.errors import BadInputError, LoopatError, StorageFullError, plain
from loopat_jupyter.models import ContextRemote, Kernelspec, Network, Proposal, Repo, Value
from loopat_jupyter.project import ProjectFile  # noqa: TC001 - msgspec resolves annotations at run time
from loopat_jupyter.values import Isolation, Resources  # noqa: TC001
from loopat_jupyter.vaults import Vault  # noqa: TC001
from loopat_jupyter.workspace.config import Agent  # noqa: TC001
from loopat_jupyter.workspace.profiles import Profile  # noqa: TC001

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_REASONS = {
    400: "bad_input",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    503: "unavailable",
}


class Problem(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request failed.

    Attributes:
        message: One or two sentences for a person, the last one saying what to do.
        reason: The same for a program.
        code: The HTTP status.
        field: The field that is wrong, for bad input.
    """

    message: str
    reason: str
    code: int
    field: str | None = None


class Kernelspecs(Value, frozen=True, kw_only=True):
    """The kernels that a loop offers."""

    kernelspecs: tuple[Kernelspec, ...]


class Repos(Value, frozen=True, kw_only=True):
    """The repos that can be picked by name."""

    repos: tuple[Repo, ...]


class Contexts(Value, frozen=True, kw_only=True):
    """Where each context is kept."""

    contexts: tuple[ContextRemote, ...]


class Proposals(Value, frozen=True, kw_only=True):
    """What waits to be merged, the newest first."""

    proposals: tuple[Proposal, ...]


class Profiles(Value, frozen=True, kw_only=True):
    """The profiles of the workspace."""

    profiles: tuple[Profile, ...]


class Agents(Value, frozen=True, kw_only=True):
    """The agents that are offered in every loop."""

    agents: tuple[Agent, ...]


class Defaults(Value, frozen=True, kw_only=True):
    """What a loop has that does not say otherwise: the settings of the workspace."""

    image: str | None
    """None for the one that is built from the template."""
    network: Network
    isolation: Isolation
    shared_tmp: bool
    resources: Resources


class Project(Value, frozen=True, kw_only=True):
    """What the project in a loop says of the environment it wants."""

    files: tuple[ProjectFile, ...]


class Vaults(Value, frozen=True, kw_only=True):
    """All vaults of a member."""

    vaults: tuple[Vault, ...]


class Terminal(Value, frozen=True, kw_only=True):
    """A terminal, as `/api/terminals` shows it."""

    name: str
    last_activity: str


class OutputLine(Value, frozen=True, kw_only=True):
    """A piece of what a command wrote."""

    stream: Literal["stdout", "stderr"]
    data: str


class ExitLine(Value, frozen=True, kw_only=True):
    """The last line of a command that ended: its own exit code."""

    exit_code: int


class ProblemLine(Value, frozen=True, kw_only=True):
    """The last line of a command that could not be followed to its end."""

    error: Problem


def encode(value: object) -> bytes:
    """A value as JSON; times in UTC as RFC 3339."""
    return msgspec.json.encode(value, enc_hook=_encode_path)


def _encode_path(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value))


def problem_of(error: BaseException | None, status: int = 500) -> Problem:
    """What to tell the client about a failure; nothing of an unforeseen one but that it is in the log.

    Args:
        error: What was raised; None when only a status is known.
        status: The status, when the error carries none.
    """
    if isinstance(error, BadInputError):
        return Problem(message=error.message, reason=error.reason, code=error.status, field=error.field)
    if isinstance(error, LoopatError):
        return Problem(message=error.message, reason=error.reason, code=error.status)
    if isinstance(error, web.HTTPError):
        # Where only an HTTPError may be raised, ours travels as its cause.
        cause = error.__cause__
        return problem_of(cause) if isinstance(cause, LoopatError) else _problem_of_http(error)
    if isinstance(error, OSError):
        return _problem_of_system(error)
    if error is None and status != 500:
        return Problem(message=_phrase(status), reason=_REASONS.get(status, "http_error"), code=status)
    message = "Something unforeseen went wrong. The server's log says more."
    return Problem(message=message, reason="internal", code=500)


def _problem_of_system(error: OSError) -> Problem:
    where = plain(f": {error.filename}") if error.filename else ""
    if error.errno in _FULL:
        message = f"No space left{where}. Free some space and try again."
        return Problem(message=message, reason=StorageFullError.reason, code=StorageFullError.status)
    message = f"{error.strerror or 'The system refused'}{where}. The server's log says more."
    return Problem(message=message, reason="internal", code=500)


def _problem_of_http(error: web.HTTPError) -> Problem:
    status = error.status_code
    message = error.log_message % error.args if error.log_message else _phrase(status)
    return Problem(message=plain(message), reason=_REASONS.get(status, "http_error"), code=status)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown error"
