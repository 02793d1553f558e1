"""`LoopatHandler`: what all routes share. Handlers parse, make one call of the manager, and answer."""

from __future__ import annotations

import asyncio
import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.extension.handler import ExtensionHandlerMixin
from tornado import web

from loopat_jupyter.errors import (
    BadInputError,
    ConfigurationError,
    ConflictError,
    EngineError,
    LoopatError,
    NotFoundError,
)
from loopat_jupyter.models import Value
from loopat_jupyter.server.allowed import allowed_values
from loopat_jupyter.server.answers import encode, problem_of
from loopat_jupyter.wording import in_words, problem_and_place

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.server.service import LoopService

MAX_BODY_BYTES = 1024 * 1024
AUTH_RESOURCE = "loopat"

_Method = TypeVar("_Method", bound="Callable[..., Any]")
_T = TypeVar("_T")
_Request = TypeVar("_Request", bound=Value)


def permitted(action: str, resource: str = AUTH_RESOURCE) -> Callable[[_Method], _Method]:
    """`authorized` for what the verb of HTTP alone does not tell.

    Args:
        action: What the server's authorizer is asked about: `read`, `write` or `execute`.
        resource: To which resource.
    """
    return cast("Callable[[_Method], _Method]", authorized(action, resource=resource))


class StreamedBody(ExtensionHandlerMixin):
    """Takes bodies in as they come, so that one that is too large is thrown away and not kept in memory.

    For handlers that `tornado.web.stream_request_body` decorates.
    """

    most_body_bytes: int
    """How much is kept."""

    def initialize(self, name: str) -> None:
        """Prepare one request.

        Args:
            name: Of the extension.
        """
        super().initialize(name)
        self._body = bytearray()
        self._body_bytes = 0

    @property
    def service(self) -> LoopService:
        """The loops of this server."""
        return cast("LoopService", self.settings["loopat_service"])

    def data_received(self, chunk: bytes) -> None:
        """Keep the body as long as it is not too large."""
        self._body_bytes += len(chunk)
        if self._body_bytes <= self.most_body_bytes:
            self._body += chunk
        else:
            self._body.clear()


@web.stream_request_body
class LoopatHandler(StreamedBody, APIHandler):
    """Base of every route."""

    auth_resource = AUTH_RESOURCE
    most_body_bytes = MAX_BODY_BYTES
    ends_with_client: asyncio.Task[Any] | None = None
    """Work that nobody wants any more when the client goes away."""
    client_has_gone = False

    @property
    def manager(self) -> LoopManager:
        """The verbs.

        Raises:
            ConfigurationError: The configuration is broken; says which file and key.
        """
        return self.service.manager

    def body(self, wanted: type[_Request]) -> _Request:
        """The body of the request; an empty one counts as an empty object.

        Args:
            wanted: What it must be.

        Raises:
            BadInputError: It is something else; names the field.
            HTTPError: It is too large (413).
        """
        if self._body_bytes > self.most_body_bytes:
            raise web.HTTPError(413, f"The body must be at most {MAX_BODY_BYTES} bytes, has {self._body_bytes}.")
        return decode(bytes(self._body) or b"{}", wanted)

    def query(self, wanted: type[_Request]) -> _Request:
        """The parameters of the URL that a route knows; others belong to the server, and are left alone.

        Args:
            wanted: What they must be.

        Raises:
            BadInputError: One is something else; names it.
        """
        names = self.request.query_arguments.keys() & set(wanted.__struct_fields__)
        given = {name: self.get_query_argument(name) for name in names}
        try:
            return msgspec.convert(given, wanted, strict=False)
        except msgspec.ValidationError as error:
            raise _bad_input(error, wanted) from None

    async def finished(self, work: Coroutine[Any, Any, _T], *, loop_id: str) -> _T:
        """What long work on a loop comes to: it goes on if the client hangs up, and ends when it is called off.

        Args:
            work: The work.
            loop_id: The loop.

        Raises:
            ConflictError: Somebody called it off.
        """
        task = self.service.spawn(work, loop_id=loop_id)
        return await self.outcome(task, "This was cancelled. Try again when it is needed.")

    async def outcome(self, task: asyncio.Task[_T], called_off: str) -> _T:
        """What a task comes to. The task itself goes on when whoever waits for it is cancelled.

        Args:
            task: The task.
            called_off: What to answer when it was cancelled.

        Raises:
            ConflictError: It was cancelled.
            Finish: The same, because the client has gone: there is nobody to answer.
        """
        await asyncio.wait((task,))
        if task.cancelled():
            raise web.Finish if self.client_has_gone else ConflictError(called_off)
        return task.result()

    def on_connection_close(self) -> None:
        """End what ends with the client; once, because a second request would cut the ending short."""
        super().on_connection_close()
        self.client_has_gone = True
        if self.ends_with_client is not None and not self.ends_with_client.cancelling():
            self.ends_with_client.cancel()

    def answer(self, value: object, status: int = 200) -> None:
        """Send a value as JSON.

        Args:
            value: Anything `encode` takes.
            status: HTTP status.
        """
        self.set_status(status)
        self.finish(encode(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ANN401 - as tornado has it
        """Answer a failed request: every error as JSON of one shape."""
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        problem = problem_of(self.explain(error), status_code)
        self.set_status(problem.code)
        if problem.code == HTTPStatus.METHOD_NOT_ALLOWED:
            verbs = ", ".join(self._verbs())
            # RFC 9110, section 15.5.6
            self.set_header("Allow", verbs)
            problem = msgspec.structs.replace(
                problem, message=f"This path takes {verbs}, and no {self.request.method}."
            )
        self.finish(encode(problem))

    def _verbs(self) -> list[str]:
        """The methods that this route has."""
        return [verb for verb in self.SUPPORTED_METHODS if verb.lower() in vars(type(self))]

    def explain(self, error: BaseException | None) -> BaseException | None:
        """What really went wrong: whatever fails because its loop was deleted meanwhile is "not found"."""
        # Tornado sets these only once it has understood the address.
        loop_id = (getattr(self, "path_kwargs", None) or {}).get("loop_id")
        if loop_id is not None and isinstance(error, (EngineError, FileNotFoundError, NotADirectoryError)):
            try:
                self.manager.store.read(loop_id)
            except NotFoundError as gone:
                return gone
            except LoopatError:
                return error
        return error

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log a failure: one line for what was foreseen, the traceback for the rest. Never a body, nor the query.

        What a client did wrong is nobody else's concern; what fails on this side is a warning to who runs the server.
        """
        if isinstance(value, LoopatError):
            # A broken configuration is warned of once, by the service, and not at each request.
            ours = value.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(value, ConfigurationError)
            level = logging.WARNING if ours else logging.INFO
            self.log.log(level, "%s %s: %s", self.request.method, self.request.path, value.message)
        else:
            super().log_exception(typ, value, tb)


def decode(data: bytes, wanted: type[_Request]) -> _Request:
    """A JSON body as a struct.

    Args:
        data: The body.
        wanted: The struct.

    Raises:
        BadInputError: Not JSON, or not of that shape; names the field.
    """
    try:
        return msgspec.json.decode(data, type=wanted)
    except msgspec.ValidationError as error:
        raise _bad_input(error, wanted) from None
    except RecursionError:
        raise BadInputError("body", "is nested too deeply") from None
    except UnicodeDecodeError:
        raise BadInputError("body", "must be UTF-8") from None
    except msgspec.DecodeError as error:
        if half := _HALF.search(data):
            problem = f"has {half[0].decode()}, half of a character. Send both halves, or the character itself"
        else:
            problem = f"is not JSON: {error}"
        raise BadInputError("body", problem) from None


_HALF = re.compile(rb"\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f])|(?<!\\ud[89ab][0-9a-f]{2})\\ud[c-f][0-9a-f]{2}", re.IGNORECASE)
"""A surrogate without its other half (RFC 8259, section 7), which `msgspec` takes for the end of the body."""

_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")


def _bad_input(error: msgspec.ValidationError, wanted: type) -> BadInputError:
    """The field that a validation error is about, in the words of the client: `config.network`."""
    problem, place = problem_and_place(str(error))
    parts = [place] if place else []
    for pattern, text in ((_UNKNOWN, "is not known"), (_MISSING, "is required")):
        if found := pattern.match(problem):
            return BadInputError(".".join([*parts, found[1][:80]]) or "body", text)
    return BadInputError(".".join(parts) or "body", in_words(problem, allowed_values(wanted, place)))
