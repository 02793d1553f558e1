"""A shell on a real terminal, in a real loop."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import ptyprocess
import pytest

from loopat_jupyter.cli.app import run
from loopat_jupyter.cli.session import Session
from tests.cli.conftest import forking
from tests.conftest import add_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psutil

    from loopat_jupyter.workspace.paths import Workspace
    from tests.cli.conftest import RealCommandLine

pytestmark = [pytest.mark.podman, pytest.mark.lonely]


TERM = {"TERM": "xterm-256color"}


class Terminal:
    """A person's terminal: types, and reads until something shows.

    Args:
        real: The command line.
        arguments: As typed there.
        typed: Start it as a person does, rather than fork it.
    """

    def __init__(self, real: RealCommandLine, *arguments: str, typed: bool = False) -> None:
        # A terminal window heeds hang-ups, whoever started the tests and how.
        argv = ["env", "--default-signal=HUP,INT,QUIT", real.program, *arguments]
        with forking():
            self.process = ptyprocess.PtyProcess.spawn(
                argv,
                env={**real.environ, **TERM},
                dimensions=(30, 100),
                preexec_fn=None if typed else real.forked(*arguments, **TERM),
            )
        self.seen = ""

    def type(self, line: str) -> None:
        self.process.write(f"{line}\r".encode())

    def until(self, pattern: str) -> re.Match[str]:
        """Read until the pattern shows; the timeout of the test is its deadline."""
        while not (found := re.search(pattern, self.seen)):
            self.seen += self.process.read(4096).decode("utf-8", "replace")
        self.seen = self.seen[found.end() :]
        return found

    def rest(self) -> str:
        """Everything until the end."""
        try:
            while True:
                self.seen += self.process.read(4096).decode("utf-8", "replace")
        except EOFError:
            return self.seen

    def end(self) -> int | None:
        """Its exit code."""
        self.rest()
        self.process.wait()
        return self.process.exitstatus


@pytest.fixture
def shell(shared: RealCommandLine, loop_id: str) -> Iterator[Terminal]:
    terminal = Terminal(shared, "shell", loop_id)
    yield terminal
    terminal.process.close(force=True)


def test_a_shell_is_inside_has_the_right_size_and_passes_its_code_on(
    shared: RealCommandLine, workspace_of_module: Workspace
) -> None:
    loop_id = add_loop(workspace_of_module, "New").id
    shell = Terminal(shared, "shell", loop_id, typed=True)
    shell.until(r"Sandbox of New ready in .* s")
    shell.type("echo host=$(hostname) at=$PWD term=$TERM size=$(stty size)")
    shell.until(rf"host=loop-{loop_id[:8]} at=/loopat/loop/{loop_id}/workdir term=xterm-256color size=30 100\b")
    # A program that follows the size. Not the shell itself: what it hears just before its prompt waits for a line.
    shell.type(
        "sh -c 'trap \"echo now=\\$(stty size); exit\" WINCH; echo trapped=$((40+2)); while :; do sleep 0.1; done'"
    )
    shell.until(r"trapped=42")
    shell.process.setwinsize(41, 132)
    shell.until(r"now=41 132\b")
    shell.type("exit 7")
    assert shell.end() == 7


def test_keys_go_to_the_program_inside(shell: Terminal) -> None:
    shell.type("sh -c 'trap \"echo caught=\\$((40+2)); exit\" INT; echo ready=$((1+1)); while :; do sleep 0.1; done'")
    shell.until(r"ready=2")
    shell.process.sendintr()
    shell.until(r"caught=42")
    shell.type("exit")
    assert shell.end() is not None


def test_a_closed_terminal_leaves_nothing_inside(shell: Terminal, staying: Callable[[], list[psutil.Process]]) -> None:
    shell.type("echo ready=$((1+1)); tail -f /dev/null")
    shell.until(r"ready=2")
    os.kill(shell.process.pid, signal.SIGHUP)
    assert shell.end() == 128 + signal.SIGHUP
    assert staying() == []


def test_the_terminal_is_left_as_it_was(shared: RealCommandLine, loop_id: str) -> None:
    terminal = Terminal(shared, "exec", loop_id, "-t", "--", "sh", "-c", "stty raw -echo; tty; exit 3")
    before = terminal.process.getecho()
    terminal.until(r"/dev/pts/\d+")
    assert terminal.end() == 3
    assert before is True


def test_deleting_asks_on_a_terminal(shared: RealCommandLine, workspace_of_module: Workspace) -> None:
    loop_id = add_loop(workspace_of_module, "Old").id
    terminal = Terminal(shared, "rm", loop_id)
    terminal.until(r"Delete loop Old .* with \d+ files?, .*\[y/N\]: ")
    terminal.type("n")
    assert terminal.end() == 130
    assert workspace_of_module.loop(loop_id).exists()
    terminal = Terminal(shared, "rm", loop_id)
    terminal.until(r"\[y/N\]: ")
    terminal.type("y")
    assert terminal.end() == 0
    assert not workspace_of_module.loop(loop_id).exists()


def test_errors_are_red_on_a_terminal_and_plain_when_asked(
    shared: RealCommandLine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b[31mThere is no loop 'none'" in Terminal(shared, "show", "none").rest()

    def said(*arguments: str) -> str:
        assert run(arguments, Session(shared.environ)) == 1
        return capsys.readouterr().err

    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[31mThere is no loop 'none'" in said("show", "none")
    assert "\x1b[3" not in said("--no-color", "show", "none")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in said("show", "none")
