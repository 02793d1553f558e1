from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import pytest
from click.testing import CliRunner

from loopat_jupyter import __version__
from loopat_jupyter.cli.app import VERBS, Interrupted, app, exit_code_of, run
from loopat_jupyter.cli.session import Session
from loopat_jupyter.errors import (
    BadInputError,
    ConflictError,
    EngineError,
    EngineTimeoutError,
    EngineUnavailableError,
    LoopatError,
    NotFoundError,
)
from tests.conftest import add_loop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.workspace.paths import Workspace
    from tests.cli.conftest import FakeCommandLine


@pytest.mark.parametrize(
    ("error", "code", "code_of_exec"),
    [
        (BadInputError("title", "must not be empty"), 2, 125),
        (NotFoundError("no loop"), 1, 125),
        (ConflictError("busy"), 1, 125),
        (EngineError("no"), 1, 125),
        (EngineUnavailableError("no podman"), 3, 125),
        (EngineTimeoutError("late"), 124, 124),
        (TimeoutError("late"), 124, 124),
    ],
)
def test_each_error_has_its_exit_code(error: LoopatError | TimeoutError, code: int, code_of_exec: int) -> None:
    assert exit_code_of(error, verb="show") == code
    assert exit_code_of(error, verb="exec") == code_of_exec


def raising(error: BaseException) -> Session:
    def manager(environ: Mapping[str, str]) -> LoopManager:
        raise error

    return Session({}, manager)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (EngineUnavailableError("There is no podman."), 3, "There is no podman.\n"),
        (BadInputError("image.base", "is\x1b[2J wrong"), 2, "image.base: is�[2J wrong\n"),
        (TimeoutError(), 124, "That took too long.\n"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/locks/x.lock"),
            1,
            "/locks/x.lock: Permission denied. Make it yours to read and write, and try again.\n",
        ),
        (
            OSError(errno.EMFILE, "Too many open files"),
            1,
            "Too many open files: this login may have no more of them open. Allow more (`ulimit -n`), and try again.\n",
        ),
        (KeyboardInterrupt(), 130, "\nCancelled.\n"),
        (Interrupted(15), 143, ""),
    ],
)
def test_an_error_is_a_plain_line_and_a_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["list"], raising(error)) == code
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize("arguments", [["list"], ["--help"]])
@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        ("<&- >&-", 0, b""),
        (">/dev/full", 1, b"The result could not be written: No space left on device.\n"),
        (">/dev/full 2>&1", 1, b""),
        ("| true; exit ${PIPESTATUS[0]}", 128 + signal.SIGPIPE, b""),
        ("no 2>&1 | true; exit ${PIPESTATUS[0]}", 128 + signal.SIGPIPE, b""),
    ],
)
def test_a_result_that_nobody_can_take_is_a_plain_line(
    tmp_path: Path, arguments: list[str], streams: str, code: int, said: bytes
) -> None:
    argv = ("bash", "-c", f'"$@" {streams}', "", Path(sys.executable).parent / "jupyter-loopat", *arguments)
    environ = {**os.environ, "LOOPAT_HOME": str(tmp_path)}
    ran = subprocess.run(argv, env=environ, check=False, timeout=60, capture_output=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, b"", said)


EARLY = """
import signal, sys

awaited = sys.argv.pop(1)

class Finder:
    def find_spec(self, name, path, target=None):
        if name == awaited:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
from loopat_jupyter.cli import main
main()
"""


@pytest.mark.parametrize("module", ["click", "loopat_jupyter.cli.session", "loopat_jupyter.cli.looking"])
def test_ctrl_c_while_modules_are_imported_is_a_plain_line(tmp_path: Path, module: str) -> None:
    argv = (sys.executable, "-c", EARLY, module, "list")
    environ = {**os.environ, "LOOPAT_HOME": str(tmp_path)}
    ran = subprocess.run(argv, env=environ, check=False, timeout=60, capture_output=True)
    assert (ran.returncode, ran.stdout, ran.stderr.strip()) == (130, b"", b"Cancelled.")


def test_a_wrong_configuration_is_one_failed_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.toml").write_text("netwrok = 'none'\n")
    session = Session({"LOOPAT_HOME": str(tmp_path), "LOOPAT_PODMAN_BIN": "/nonexistent"})
    assert run(["doctor", "--json"], session) == 1
    answer = capsys.readouterr()
    wrong, *others = msgspec.json.decode(answer.out)["checks"]
    assert (wrong["name"], wrong["ok"], answer.err) == ("configuration", False, "")
    assert wrong["detail"].endswith("config.toml, line 1). Did you mean 'network'?")
    assert {"podman", "ordinary user", "free space"} <= {check["name"] for check in others}


def test_debug_shows_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--debug", "list"], raising(EngineError("It broke."))) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert said.endswith("It broke.\n")


def test_the_static_help_is_that_of_the_verbs() -> None:
    context = click.Context(app)
    for name, (_, about) in VERBS.items():
        command = app.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert about[:-1].split(";")[0].split(" ")[0] == (command.help or "").split(" ")[0]
        assert command.epilog is not None
        assert f"jupyter loopat {name}" in command.epilog


@pytest.mark.parametrize("name", VERBS)
def test_each_verb_has_help_with_an_example(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"], obj=Session({}), prog_name="jupyter loopat")
    assert result.exit_code == 0
    assert f"Usage: jupyter loopat {name} " in result.output
    assert "Example" in result.output


def test_the_version_is_told(fake: FakeCommandLine) -> None:
    assert fake("--version") == (0, f"jupyter loopat {__version__}\n", "")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("strat", "start"), ("delete", "rm"), ("status", "list"), ("vault delete", "rm"), ("repo lst", "list")],
)
def test_a_mistyped_verb_is_suggested(fake: FakeCommandLine, typed: str, meant: str) -> None:
    answer = fake(*typed.split())
    assert answer.code == 2
    assert f"No such command {typed.rsplit(maxsplit=1)[-1]!r}. Did you mean {meant!r}?" in answer.err


def test_a_verb_that_is_like_none_is_refused_without_a_guess(fake: FakeCommandLine) -> None:
    for typed in (("zzz",), ("vault", "terminal")):
        answer = fake(*typed)
        assert (answer.code, "No such command" in answer.err, "mean" in answer.err) == (2, True, False)


def test_nothing_asked_is_answered_with_the_verbs(fake: FakeCommandLine) -> None:
    answer = fake()
    assert answer.code == 2
    assert all(about in answer.out + answer.err for _, about in VERBS.values())


SERVER = {"jupyter_server", "zmq", "IPython", "tornado", "jupyter_client", "terminado", "jinja2", "yaml"}
BARS = {"rich.progress", "rich.live", "loopat_jupyter.cli.bars"}
TABLES = {"rich", "loopat_jupyter.cli.views"}
WORK = {"asyncio", "ssl", "msgspec", "jupyter_core", "loopat_jupyter.loops"}


@pytest.mark.parametrize(
    ("arguments", "unneeded", "code"),
    [
        (["--help"], SERVER | TABLES | WORK, 0),
        (["--version"], SERVER | TABLES | WORK, 0),
        (["list"], SERVER | BARS | {"loopat_jupyter.cli.making", "loopat_jupyter.cli.choices"}, 0),
        (["list", "--json"], SERVER | TABLES, 0),
        (["show", "a-loop", "--json"], SERVER | TABLES, 0),
        (["exec", "a-loop", "true"], SERVER | TABLES, 125),
        (["create", "Another"], SERVER | BARS, 0),
    ],
)
def test_an_answer_waits_for_no_module_that_it_does_not_need(
    workspace: Workspace, arguments: list[str], unneeded: set[str], code: int
) -> None:
    """There is no podman here: nothing but imports decides how soon the answer comes."""
    if "a-loop" in arguments:
        add_loop(workspace, "A loop")
    program = Path(sys.executable).parent / "jupyter-loopat"
    environ = {**os.environ, "LOOPAT_HOME": str(workspace.home), "LOOPAT_PODMAN_BIN": "/nonexistent"}
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", program, *arguments],
        env=environ,
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == code, ran.stderr
    # "import time: [us] self | cumulative | the module".
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if line.startswith("import time:")}
    assert "loopat_jupyter.cli.app" in imported
    assert imported & unneeded == set()
