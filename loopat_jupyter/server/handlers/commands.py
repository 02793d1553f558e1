"""Commands in a loop, with their output as it comes."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
from typing import TYPE_CHECKING

from tornado import iostream, web

from loopat_jupyter.errors import ConflictError, LoopatError
from loopat_jupyter.folders import folder_inside
from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.execution import Exit
from loopat_jupyter.server.answers import ExitLine, OutputLine, Problem, ProblemLine, encode, problem_of
from loopat_jupyter.server.base import LoopatHandler, permitted
from loopat_jupyter.server.requests import RunCommand, check_command

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from loopat_jupyter.sandbox.execution import ExecEvent

CONTENT_TYPE = "application/x-ndjson"


class Lines:
    """Turns what a command does into lines of JSON. A character cut in two by a read is put together again."""

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": decoder("replace"), "stderr": decoder("replace")}

    def of(self, event: ExecEvent) -> bytes:
        """The lines of one event; none for output that ends in the middle of its only character."""
        if isinstance(event, Exit):
            return self.rest() + encode(ExitLine(exit_code=event.exit_code)) + b"\n"
        text = self._decoders[event.stream].decode(event.data)
        return encode(OutputLine(stream=event.stream, data=text)) + b"\n" if text else b""

    def rest(self) -> bytes:
        """What was left of a character that never came to its end."""
        lines = b""
        for stream in ("stdout", "stderr"):
            if text := self._decoders[stream].decode(b"", final=True):
                lines += encode({"stream": stream, "data": text}) + b"\n"
        return lines

    def failed(self, problem: Problem) -> bytes:
        """The last lines of a command that could not be followed to its end."""
        return self.rest() + encode(ProblemLine(error=problem)) + b"\n"


class ExecHandler(LoopatHandler):
    """`/loops/{loop_id}/exec`."""

    @web.authenticated
    @permitted("execute")
    async def post(self, loop_id: str) -> None:
        """Run a command; a client that goes away ends it."""
        request = self.body(RunCommand)
        check_command(request)
        record = self.manager.store.read(loop_id)
        spec = ExecSpec(
            argv=tuple(request.argv),
            cwd=folder_inside(self.manager.workspace, loop_id, request.cwd),
            env=request.env,
            interactive=bool(request.stdin),
        )
        events = self.manager.exec(record, spec, stdin=request.stdin.encode(), timeout_s=request.timeout_s)
        sending = self.ends_with_client = self.service.spawn(self._send(events, request.timeout_s))
        await asyncio.wait((sending,))
        if not sending.cancelled():
            sending.result()
        elif not self.client_has_gone and not self._finished and not self._headers_written:
            raise ConflictError("The command was ended, because the server is stopping. Run it again later.")

    async def _send(self, events: AsyncGenerator[ExecEvent, None], timeout_s: float | None) -> None:
        lines = Lines()
        self.set_header("Content-Type", CONTENT_TYPE)
        async with contextlib.aclosing(events):
            try:
                async for event in events:
                    self.write(lines.of(event))
                    # Returns when the client has taken it, so that a slow reader slows the command down.
                    await self.flush()
            except iostream.StreamClosedError:
                return
            except TimeoutError:
                message = f"The command was ended after {timeout_s:g} s. Give it a longer timeout_s, or none."
                self.write(lines.failed(Problem(message=message, reason="command_timeout", code=504)))
            except LoopatError as error:
                if not self._headers_written:
                    raise
                self.write(lines.failed(problem_of(self.explain(error))))
        self.finish(set_content_type=CONTENT_TYPE)
