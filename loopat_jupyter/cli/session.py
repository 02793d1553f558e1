"""What every verb shares: the manager, the consoles, and a way to wait for what takes time."""

from __future__ import annotations

import contextlib
import functools
import logging
import select
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

from loopat_jupyter.errors import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from rich.console import Console, RenderableType

    from loopat_jupyter.loops import LoopManager

_T = TypeVar("_T")
_PIPED_WIDTH = 1000
"""Columns where there is no terminal, whatever `COLUMNS` says: what a program reads must not be cut or wrapped."""


def make_manager(environ: Mapping[str, str]) -> LoopManager:
    """The manager of the workspace that the environment names."""
    from loopat_jupyter.loops import LoopManager  # noqa: PLC0415 - only verbs that need one wait for it

    return LoopManager.from_environment(environ)


class Session:
    """One run of the command line.

    Args:
        environ: Usually `os.environ`.
        manager: Makes the manager when a verb first needs it.
    """

    def __init__(
        self, environ: Mapping[str, str], manager: Callable[[Mapping[str, str]], LoopManager] = make_manager
    ) -> None:
        self.environ = environ
        self.debug = False
        self.verb: str | None = None
        self._no_color = False
        self._make_manager = manager

    def configure(self, *, debug: bool, no_color: bool, verb: str | None) -> None:
        """Take the options that stand before the verb."""
        self.debug, self._no_color, self.verb = debug, no_color, verb
        log = logging.getLogger("loopat_jupyter")
        log.handlers = [_Teller(self)]
        log.propagate = False
        log.setLevel(logging.DEBUG if debug else logging.WARNING)

    @functools.cached_property
    def manager(self) -> LoopManager:
        """Does what the verbs ask for.

        Raises:
            BadInputError: The configuration is wrong.
        """
        return self._make_manager(self.environ)

    @functools.cached_property
    def out(self) -> Console:
        """Results."""
        return self._console(stderr=False)

    @functools.cached_property
    def err(self) -> Console:
        """Progress, warnings, errors."""
        return self._console(stderr=True)

    @property
    def told_on_terminal(self) -> bool:
        """Whether progress, warnings and errors go to a terminal."""
        return sys.stderr.isatty()

    def _console(self, *, stderr: bool) -> Console:
        from rich.console import Console  # noqa: PLC0415 - plain answers do not wait for it

        stream = sys.stderr if stderr else sys.stdout
        width = None if stream.isatty() else _PIPED_WIDTH
        return Console(
            file=stream, no_color=self._no_color or None, highlight=False, markup=False, emoji=False, width=width
        )

    def show(self, *renderables: RenderableType) -> None:
        """Print a result; where no terminal is, without the blanks that fill up the lines of a table."""
        for renderable in renderables:
            # What may not be wrapped, because it is to be copied, may be longer than a line.
            if self.out.is_terminal:
                self.out.print(renderable, crop=False)
                continue
            with self.out.capture() as captured:
                self.out.print(renderable, crop=False)
            click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))

    def show_json(self, value: object) -> None:
        """Print a result for programs: JSON and nothing else."""
        import msgspec  # noqa: PLC0415

        click.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode())

    def tell(self, message: str, *, style: str = "") -> None:
        """Say something beside the result. The terminal wraps it: a command or a path in it stays one to be copied."""
        if self.told_on_terminal:
            self.err.print(plain(message), style=style or None, soft_wrap=True)
        else:
            click.echo(plain(message), err=True)

    def tell_at_once(self, message: str, *, style: str = "") -> None:
        """Say something, unless nobody keeps up with what is written there: that would wait for them."""
        poll = select.poll()
        # Where there is no descriptor, nobody waits.
        with contextlib.suppress(OSError, ValueError):
            poll.register(sys.stderr.fileno(), select.POLLOUT)
            if not poll.poll(0):
                return
        self.tell(message, style=style)

    def warn(self, problem: str) -> None:
        """Say what is amiss and stops nothing."""
        self.tell(f"! {problem}", style="yellow")

    def confirm(self, question: str, *, yes: bool, option: str = "--yes") -> None:
        """Ask, unless it was answered on the command line.

        Args:
            question: What is about to happen. It is made plain: the name of a file in a loop could forge it.
            yes: Whether the answer is already known.
            option: The option that answers, for those who cannot be asked.

        Raises:
            click.Abort: The answer is no.
            click.UsageError: Nobody is there to ask.
        """
        if yes:
            return
        self.need_person(option)
        click.confirm(plain(question, kept=""), abort=True, err=True)

    @property
    def has_person(self) -> bool:
        """Whether somebody is there to be asked."""
        return sys.stdin.isatty()

    def need_person(self, option: str) -> None:
        """Refuse where nobody can be asked.

        Args:
            option: The option that answers in place of a person.

        Raises:
            click.UsageError: Nobody is there to ask.
        """
        if not self.has_person:
            raise click.UsageError(f"Nobody is here to ask. Add {option} to do it without asking.")

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run something to its end.

        Ctrl-C, a closed terminal and a polite kill cancel it, and it gets the time to end what it started.

        Args:
            work: What to do.

        Raises:
            Interrupted: A signal came.
        """
        from loopat_jupyter.cli.waiting import run_to_end  # noqa: PLC0415 - `--help` waits for no event loop

        return run_to_end(work, lambda: self.tell_at_once("Cancelling …", style="yellow"))


class _Teller(logging.Handler):
    """Shows what managers log, as warnings to a person."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        self._session.tell(record.getMessage(), style=style)


pass_session = click.make_pass_decorator(Session)
