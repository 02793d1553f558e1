"""shell, exec: verbs that run something in a loop on the streams of this very process."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from loopat_jupyter.agents import agent_environment, find_agent
from loopat_jupyter.attach import shell_spec, with_notice
from loopat_jupyter.cli.options import Number, examples
from loopat_jupyter.cli.progress import shown_progress
from loopat_jupyter.cli.references import find_loop, loop_argument
from loopat_jupyter.cli.session import Session, pass_session
from loopat_jupyter.cli.text import changes, short_id
from loopat_jupyter.cli.variables import collect_variables
from loopat_jupyter.folders import folder_inside
from loopat_jupyter.models import ExecSpec
from loopat_jupyter.sandbox.execution import run_inherited
from loopat_jupyter.sandbox.plan import inside_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord

_CWD_HELP = "Folder to be in, as seen inside, or relative to the loop's files."


class CommandLast(click.Command):
    """A verb whose arguments are a loop and a command: from its first word on all belongs to that, `--` or not."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the options before the loop and those before the command."""
        ctx.allow_interspersed_args = False
        before, behind = self._split(ctx, args)
        more, command = self._split(ctx, behind[1:])
        return super().parse_args(ctx, [*before, *more, "--", *behind[:1], *command])

    def _split(self, ctx: click.Context, args: list[str]) -> tuple[list[str], list[str]]:
        """Options at the beginning, and what comes behind them; a `--` between them is left out."""
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        _, behind, _ = (
            click.Command(None, params=[*options], add_help_option=False).make_parser(ctx).parse_args([*args])
        )
        before = args[: len(args) - len(behind)]
        return before[:-1] if before[-1:] == ["--"] else before, behind


@click.command("shell", epilog=examples('jupyter loopat shell "Sales in May"'))
@loop_argument()
@click.option("--cwd", metavar="FOLDER", help=_CWD_HELP)
@pass_session
def shell_verb(session: Session, *, loop: str, cwd: str | None) -> None:
    """Open a shell in a loop, starting the loop if need be. Ends with the shell's own exit code."""
    record = find_loop(session.manager, loop)
    spec = shell_spec(
        session.manager.config,
        record.id,
        cwd=asked_or_present_folder(session.manager, record, cwd),
        env=terminal_variables(session),
    )
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("A shell needs a terminal. For one command, use `jupyter loopat exec LOOP COMMAND`.")
    raise click.exceptions.Exit(_run(session, record, spec, timeout_s=None))


@click.command("agent", epilog=examples('jupyter loopat agent "Sales in May" claude'))
@loop_argument()
@click.argument("name")
@click.option("--cwd", metavar="FOLDER", help=_CWD_HELP)
@pass_session
def agent_verb(session: Session, *, loop: str, name: str, cwd: str | None) -> None:
    """Run an agent's command line in a loop; NAME is one of those that config.toml offers in `[[agents]]`.

    It starts with the loop's own configuration folder of agents. Ends with the agent's own exit code.
    """
    record = find_loop(session.manager, loop)
    agent = find_agent(session.manager.workspace, name)
    spec = shell_spec(
        session.manager.config,
        record.id,
        cwd=asked_or_present_folder(session.manager, record, cwd),
        argv=agent.command,
        env=terminal_variables(session) | agent_environment(agent, record),
    )
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("An agent needs a terminal. For one command, use `jupyter loopat exec LOOP COMMAND`.")
    raise click.exceptions.Exit(_run(session, record, spec, timeout_s=None))


@click.command(
    "exec",
    cls=CommandLast,
    epilog=examples(
        'jupyter loopat exec "Sales in May" python3 report.py --month 5',
        'jupyter loopat exec --env API_TOKEN --timeout 60 "Sales in May" ./fetch < list.txt > out.bin',
    ),
)
@loop_argument()
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--cwd", metavar="FOLDER", help=_CWD_HELP)
@click.option(
    "--env", "variables", multiple=True, metavar="NAME[=VALUE]", help="A variable; NAME alone passes yours on."
)
@click.option("--env-file", "files", multiple=True, type=click.Path(path_type=Path), help="A file of NAME=VALUE lines.")
@click.option(
    "--timeout",
    "timeout_s",
    type=Number(min=0, min_open=True),
    metavar="SECONDS",
    help="End it after this time.",
)
@click.option("-i", "--interactive", is_flag=True, help="Forward standard input; automatic when it is piped.")
@click.option("-n", "--no-stdin", is_flag=True, help="Give it no input: what is piped is left for the next command.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal, when this runs in one.")
@pass_session
def exec_verb(
    session: Session,
    *,
    loop: str,
    command: tuple[str, ...],
    cwd: str | None,
    variables: tuple[str, ...],
    files: tuple[Path, ...],
    timeout_s: float | None,
    interactive: bool,
    no_stdin: bool,
    tty: bool,
) -> None:
    """Run a command in a loop, starting the loop if need be.

    What follows the first word of the command belongs to the command; options of `exec` stand before it.

    Standard input, output and error are the command's own, and so is the exit code; 124 means that --timeout
    passed, 125 that the command could not be run at all, 127 that the loop has no such command. Ctrl-C ends the
    command and what it started.

    Variables reach the command in a private file, never on a command line inside. To keep a secret off this
    command line too, export it here and give its name alone, or use --env-file.
    """
    if no_stdin and (interactive or tty):
        raise click.UsageError("--no-stdin goes with neither --interactive nor --tty.")
    record = find_loop(session.manager, loop)
    on_terminal = sys.stdin is not None and sys.stdin.isatty()
    with_tty = tty and on_terminal and sys.stdout.isatty()
    spec = ExecSpec(
        argv=command,
        cwd=asked_or_present_folder(session.manager, record, cwd),
        env=(terminal_variables(session) if with_tty else {}) | collect_variables(variables, files, session.environ),
        tty=with_tty,
        interactive=sys.stdin is not None and not no_stdin and (interactive or with_tty or not on_terminal),
    )
    raise click.exceptions.Exit(_run(session, record, spec, timeout_s=timeout_s))


def _run(session: Session, record: LoopRecord, spec: ExecSpec, *, timeout_s: float | None) -> int:
    manager = session.manager
    open_vault(session, record)

    async def work() -> int:
        with shown_progress(session, f"Sandbox of {record.title}", quiet_when_piped=True) as tell:
            running = await manager.use(record, tell)
        if (session.told_on_terminal or running.replaced) and (told := changes(record, running)):
            session.tell(told, style="yellow")
        if not spec.tty and manager.toolchains.problem(record):
            why = f"`jupyter loopat show {short_id(record.id)}` says why"
            session.tell(f"The toolchain of this loop could not be built: {why}.", style="yellow")
        sized = msgspec.structs.replace(spec, size=_terminal_size()) if spec.tty else spec
        sized = with_notice(manager, record, sized) if spec.tty else sized
        run_folder = manager.workspace.run(record.id)
        equipped = await manager.vaults.equipped(record, sized)
        return await run_inherited(manager.engine, running, run_folder, equipped, timeout_s=timeout_s)

    with _terminal_restored():
        try:
            return session.run(work())
        except TimeoutError:
            raise TimeoutError(f"{spec.argv[0]} did not end within {timeout_s:g} s and was ended.") from None


def open_vault(session: Session, record: LoopRecord) -> None:
    """Ask for the passphrase of a loop's vault, if one would open it and somebody is there to ask.

    Args:
        session: Where the person is.
        record: The loop.

    Raises:
        LockedVaultError: It is another passphrase.
    """
    vaults = session.manager.vaults
    if not (session.told_on_terminal and sys.stdin is not None and sys.stdin.isatty()):
        return
    if vaults.asks_passphrase(record.vault, record.created_by):
        question = f"Passphrase of vault {record.vault!r} (Enter to go on without its variables)"
        passphrase = click.prompt(question, hide_input=True, default="", show_default=False, err=True)
        if passphrase:
            vaults.open(record.vault, passphrase, record.created_by)


def asked_or_present_folder(manager: LoopManager, record: LoopRecord, cwd: str | None) -> str:
    """Where a command runs: where it was asked to, else the counterpart of the folder that it is called in.

    Args:
        manager: Knows where the loop's files are.
        record: The loop.
        cwd: As a person wrote it.

    Raises:
        BadInputError: The loop has no such folder.
    """
    here = manager.workspace.loop_of(Path.cwd()) if cwd is None else None
    if here is not None and here[0] == record.id:
        return inside_path(record.id, here[1])
    return folder_inside(manager.workspace, record.id, cwd)


def terminal_variables(session: Session) -> dict[str, str]:
    """What a program must know of the terminal it runs in."""
    return {name: session.environ.get(name, "") for name in ("TERM", "COLORTERM")}


def _terminal_size() -> tuple[int, int]:
    size = os.get_terminal_size(sys.stdin.fileno())
    return size.lines, size.columns


@contextlib.contextmanager
def _terminal_restored() -> Iterator[None]:
    """Leave the terminal as it was, also when podman was ended before it could."""
    if sys.stdin is None or not sys.stdin.isatty():
        yield
        return
    saved = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
