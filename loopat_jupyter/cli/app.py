"""The command group and its edge: errors become one or two plain lines and an exit code here, and nowhere else.

A verb's module is imported when that verb runs, so that `--help` and completion answer at once.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn, TextIO

import click

from loopat_jupyter import __version__
from loopat_jupyter.errors import (
    BadInputError,
    EngineTimeoutError,
    EngineUnavailableError,
    LoopatError,
    StorageRefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loopat_jupyter.cli.session import Session

PROGRAM = "jupyter loopat"
COMPLETION_VARIABLE = "_JUPYTER_LOOPAT_COMPLETE"

FAILED, BAD_INPUT, NO_ENGINE, TOO_LATE, ENGINE_FAILED = 1, 2, 3, 124, 125
"""Exit codes. 124 and 125 mean what they mean to timeout(1) and podman-exec(1)."""

_OUT_OF_REACH = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_MORE_FILES = (errno.EMFILE, errno.ENFILE)
_NO_OUTPUT = (errno.EBADF, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE)
"""How writing a result fails; a file that cannot be written would be named."""

VERBS: Mapping[str, tuple[str, str]] = {
    "doctor": ("machine", "Check that this machine can run loops."),
    "build": ("machine", "Build the sandbox image."),
    "create": ("making", "Make a loop."),
    "profiles": ("projects", "List profiles that a loop can be made with."),
    "project": ("projects", "Show or install what the project in a loop asks for."),
    "list": ("looking", "List loops, the last used first."),
    "show": ("looking", "Show everything about one loop."),
    "set": ("changing", "Change the title, vault, image or settings of a loop."),
    "start": ("sandboxes", "Start the sandboxes of loops."),
    "stop": ("sandboxes", "Stop the sandboxes of loops; files stay."),
    "recreate": ("sandboxes", "Recreate the sandbox of a loop, with new settings; files stay."),
    "shell": ("inside", "Open a shell in a loop."),
    "agent": ("inside", "Run an agent's command line in a loop."),
    "exec": ("inside", "Run a command in a loop."),
    "share": ("shares", "Show files or a port of a loop to others."),
    "kernelspecs": ("sandboxes", "List the kernels that a loop offers."),
    "archive": ("archiving", "Archive loops; files stay."),
    "unarchive": ("archiving", "Bring archived loops back."),
    "distill": ("making", "Make a loop that begins with what another one left behind."),
    "promote": ("contexts", "Give everybody what a loop changed in a context."),
    "fetch": ("repos", "Fetch the repo that could not be reached when a loop was made."),
    "push": ("contexts", "Push the branch that is checked out in a loop."),
    "context": ("contexts", "Knowledge, notes and personal files."),
    "repo": ("repos", "Repos that can be picked by name."),
    "vault": ("vaults", "Keep credentials for loops."),
    "rm": ("deleting", "Delete loops with all their files."),
    "gc": ("machine", "Show or remove what nothing needs any more."),
}
"""Each verb: the module that holds it, and what `--help` says of it."""


class Interrupted(Exception):  # noqa: N818 - a request of the person, not an error
    """A signal asked this process to end, and what it had started was ended.

    Args:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def exit_code_of(error: LoopatError | TimeoutError, *, verb: str | None = None) -> int:
    """The exit code that an error amounts to.

    Args:
        error: What went wrong.
        verb: What was asked for. `exec` has only two codes of its own, since all others belong to the command.
    """
    if isinstance(error, EngineTimeoutError | TimeoutError):
        return TOO_LATE
    if verb == "exec":
        return ENGINE_FAILED
    if isinstance(error, BadInputError):
        return BAD_INPUT
    return NO_ENGINE if isinstance(error, EngineUnavailableError) else FAILED


@contextlib.contextmanager
def _ended_by_closed_pipe() -> Iterator[None]:
    """Nobody reads any more: that ends other programs with a signal. Click and rich say 1, like a failure."""
    try:
        yield
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        raise Interrupted(signal.SIGPIPE) from error


_MEANT: Mapping[str, str] = {
    **dict.fromkeys(("add", "make", "new"), "create"),
    **dict.fromkeys(("delete", "remove"), "rm"),
    **dict.fromkeys(("ps", "status"), "list"),
    **dict.fromkeys(("info", "inspect"), "show"),
    **dict.fromkeys(("attach", "bash", "ssh", "terminal"), "shell"),
    **dict.fromkeys(("clean", "prune"), "gc"),
    "check": "doctor",
    "config": "set",
    "restart": "recreate",
    "run": "exec",
}
"""What other programs call some verbs; a person tries those names first."""


class Group(click.Group):
    """Verbs, of which near misses are named."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that was asked for."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches  # noqa: PLC0415 - only for a slip of the finger

            verbs = self.list_commands(ctx)
            meant = _MEANT.get(args[0])
            near = [meant] if meant in verbs else get_close_matches(args[0], verbs, n=1)
            if near:
                raise click.UsageError(f"No such command {args[0]!r}. Did you mean {near[0]!r}?", ctx) from error
            raise


class Edge(Group):
    """The group of verbs: loads them late and translates what they raise."""

    @_ended_by_closed_pipe()
    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        """Read the options; `--help` and `--version` are answered here."""
        return super().make_context(info_name, args, parent, **extra)

    @_ended_by_closed_pipe()
    def invoke(self, ctx: click.Context) -> object:
        """Run the verb."""
        return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all verbs, in the order a person meets them."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One verb; None when there is none of that name."""
        del ctx
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"loopat_jupyter.cli.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_verb")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs, without importing any of them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in VERBS.items()])


def run(arguments: Sequence[str], session: Session, *, program: str = PROGRAM) -> int:
    """Run one verb; says what went wrong in words.

    Args:
        arguments: As a person typed them, without the program's name.
        session: What the verb works with.
        program: The program's name, for its help.

    Returns:
        The exit code.
    """
    _open_missing_streams()
    try:
        return _run(arguments, session, program)
    except OSError as error:
        return _unwritten(session, error)


def _run(arguments: Sequence[str], session: Session, program: str) -> int:
    try:
        answer = app.main(
            args=list(arguments),
            prog_name=program,
            complete_var=COMPLETION_VARIABLE,
            standalone_mode=False,
            obj=session,
        )
    except (KeyboardInterrupt, click.Abort):
        session.tell("Cancelled.", style="yellow")
        return 128 + signal.SIGINT
    except Interrupted as interrupted:
        if interrupted.signum == signal.SIGPIPE:
            _drop_output(sys.stdout, sys.stderr)
        return 128 + interrupted.signum
    except click.ClickException as error:
        error.show()
        return _code(session, error.exit_code)
    except (LoopatError, TimeoutError) as error:
        if session.debug:
            _print_cause()
        session.tell(str(error) or "That took too long.", style="red")
        return exit_code_of(error, verb=session.verb)
    return int(answer or 0)


def _print_cause() -> None:
    import traceback  # noqa: PLC0415 - what goes well does not wait for it

    traceback.print_exc()


def _open_missing_streams() -> None:
    """Who starts a program may close its streams; what is opened takes their numbers, the lowest that are free."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 - until the process ends
            # As streams are: else a program that is started gets none, and takes files of its own for them.
            os.set_inheritable(stream.fileno(), True)  # noqa: FBT003
            setattr(sys, name, stream)


def _drop_output(*streams: TextIO) -> None:
    """Python must not complain about a closed pipe or a full disk when it flushes at exit."""
    for stream in streams:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _code(session: Session, usual: int = FAILED) -> int:
    """The exit code of what failed before a verb could say so: all codes of `exec` but its own are the command's."""
    return ENGINE_FAILED if session.verb == "exec" else usual


def _refused(session: Session, error: OSError) -> int:
    """What the system refuses in a place where nobody expects it, as in folders of ours that somebody else changed."""
    if error.errno not in _OUT_OF_REACH:
        raise error
    if session.debug:
        _print_cause()
    refused = StorageRefusedError(
        f"{error.filename}: {error.strerror}. Make it yours to read and write, and try again."
    )
    session.tell(refused.message, style="red")
    return exit_code_of(refused, verb=session.verb)


def _unwritten(session: Session, error: OSError) -> int:
    if error.errno in _NO_MORE_FILES:
        told = f"{error.strerror}: this login may have no more of them open. Allow more (`ulimit -n`), and try again."
        session.tell(told, style="red")
        return _code(session)
    if error.filename is not None:
        return _refused(session, error)
    if error.errno not in _NO_OUTPUT:
        raise error
    if error.errno == errno.EPIPE:
        _drop_output(sys.stdout, sys.stderr)
        return 128 + signal.SIGPIPE
    _drop_output(sys.stdout)
    try:
        session.tell(f"The result could not be written: {error.strerror}.", style="red")
    except OSError:
        _drop_output(sys.stderr)
    return _code(session)


@click.group(
    cls=Edge,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`jupyter loopat COMMAND --help` shows one command with an example.",
)
@click.option("--debug", is_flag=True, help="Show where an error comes from, and what is being done.")
@click.option("--no-color", is_flag=True, help="No colours; the variable NO_COLOR does the same.")
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def app(context: click.Context, *, debug: bool, no_color: bool) -> None:
    """Loops: units of work, each with its own folder and one container for its notebooks, terminals and commands.

    That container is the sandbox of the loop. It is made at the first use.

    A LOOP is named by its id, the first characters of it, its short name or its title; "." is the loop of the
    current folder.
    """
    session: Session = context.obj
    session.configure(debug=debug, no_color=no_color, verb=context.invoked_subcommand)


def main() -> NoReturn:
    """The `jupyter-loopat` program."""
    from loopat_jupyter.cli.session import Session  # noqa: PLC0415 - which needs this module

    # A shell's completion knows commands by the name of their file.
    program = "jupyter-loopat" if COMPLETION_VARIABLE in os.environ else PROGRAM
    sys.exit(run(sys.argv[1:], Session(os.environ), program=program))
