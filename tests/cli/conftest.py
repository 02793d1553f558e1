"""A command line on a fake podman, and one on the real one."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import logging
import os
import signal
import subprocess
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import msgspec
import psutil
import pytest

from loopat_jupyter.cli.app import run
from loopat_jupyter.cli.session import Session
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.workspace.config import Config, ContextConfig, ImageConfig
from tests.conftest import add_loop, end_all, processes_inside, real_manager
from tests.fakes import FakeEngine
from tests.kernels.conftest import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace


class Answer(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """A command line is the only one in its process and keeps the package's log; here others follow."""
    log = logging.getLogger("loopat_jupyter")
    before = log.handlers, log.propagate, log.level
    yield
    log.handlers, log.propagate = before[:2]
    log.setLevel(before[2])


class FakeCommandLine:
    """`jupyter loopat` in this process, on an engine that says: there is nothing."""

    def __init__(self, workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
        self.engine = FakeEngine(
            lambda call: Completed(int(call[:2] in (("container", "exists"), ("network", "exists"))), b"[]", "")
        )
        self.manager = LoopManager(
            workspace, Config(image=ImageConfig(use="x"), context=ContextConfig(use=False)), self.engine, member="ada"
        )
        self._capsys = capsys

    def __call__(self, *arguments: str, environ: dict[str, str] | None = None) -> Answer:
        code = run(arguments, Session(environ or {}, lambda _: self.manager))
        captured = self._capsys.readouterr()
        return Answer(code, captured.out, captured.err)


@pytest.fixture
def fake(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> FakeCommandLine:
    return FakeCommandLine(workspace, capsys)


def run_forked(environ: Mapping[str, str], *arguments: str) -> NoReturn:
    """Be `jupyter-loopat`, in a process that was just forked from this one, which has imported it.

    Args:
        environ: All its variables.
        arguments: As a person types them.
    """
    code = 1
    try:
        gc.freeze()
        # Among them is the one by which the parent learns that a program is started.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(environ)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
        # A terminal window heeds hang-ups, whoever started the tests and how.
        for signum in (signal.SIGHUP, signal.SIGQUIT):
            signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # As a Python that starts sets it; `subprocess` has just undone that.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        code = run(arguments, Session(os.environ))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - the process ends, whatever it is
        traceback.print_exc()
    finally:
        os._exit(code)


@contextlib.contextmanager
def forking() -> Iterator[None]:
    """Newer Pythons warn where a process with threads is forked: none of them holds what the command line needs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


class RealCommandLine:
    """`jupyter-loopat` on the real podman: as a person types it, forked from this process, and within it.

    Most of a short command is that Python starts and imports, so what is not about that is forked.
    """

    def __init__(self, workspace: Workspace, image: str) -> None:
        self.program = str(Path(sys.executable).parent / "jupyter-loopat")
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LOOPAT_")},
            "LOOPAT_HOME": str(workspace.home),
            "LOOPAT_SANDBOX_IMAGE": image,
        }

    def typed(self, *arguments: str, stdin: bytes = b"", code: int = 0) -> subprocess.CompletedProcess[bytes]:
        """A process of its own, from its start on."""
        return self._ran(*arguments, stdin=stdin, code=code)

    def __call__(self, *arguments: str, stdin: bytes = b"", code: int = 0) -> subprocess.CompletedProcess[bytes]:
        """A process with streams of its own, forked from this one."""
        with forking():
            return self._ran(*arguments, stdin=stdin, code=code, instead=self.forked(*arguments))

    def _ran(
        self, *arguments: str, stdin: bytes, code: int, instead: Callable[[], NoReturn] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        ran = subprocess.run(
            [self.program, *arguments],
            input=stdin,
            capture_output=True,
            env=self.environ,
            timeout=120,
            check=False,
            preexec_fn=instead,
        )
        assert ran.returncode == code, ran
        return ran

    def forked(self, *arguments: str, **environ: str) -> Callable[[], NoReturn]:
        """What a forked process does in place of starting a program."""
        return functools.partial(run_forked, {**self.environ, **environ}, *arguments)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """As typed; it runs."""
        return subprocess.Popen(
            [self.program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environ,
        )

    def json(self, *arguments: str) -> dict[str, object]:
        return msgspec.json.decode(self.typed(*arguments, "--json").stdout)

    def here(self, *arguments: str, code: int = 0) -> Answer:
        """In this process: for what is no claim about processes, nor about the streams of commands inside."""
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            answer = Answer(run(arguments, Session(self.environ)), out.getvalue(), err.getvalue())
        assert answer.code == code, answer
        return answer

    def look(self, *arguments: str) -> dict[str, object]:
        """As `json`, in this process."""
        return msgspec.json.decode(self.here(*arguments, "--json").out)


@pytest.fixture
def real(workspace: Workspace, sandbox_image: str) -> RealCommandLine:
    return RealCommandLine(workspace, sandbox_image)


@pytest.fixture
def shared(workspace_of_module: Workspace, sandbox_image: str) -> RealCommandLine:
    """The real command line in the workspace of the module."""
    return RealCommandLine(workspace_of_module, sandbox_image)


@pytest.fixture(scope="module")
def shared_loop(workspace_of_module: Workspace) -> LoopRecord:
    return add_loop(workspace_of_module, "Sales in May")


@pytest.fixture
def shared_manager(workspace_of_module: Workspace, sandbox_image: str) -> LoopManager:
    return real_manager(workspace_of_module, sandbox_image)


@pytest.fixture
def loop_id(shared_manager: LoopManager, shared_loop: LoopRecord) -> str:
    """The loop that the tests of the module share; it runs, and nothing in it."""
    in_thread(shared_manager.use(shared_loop))
    end_all(shared_manager, shared_loop)
    return shared_loop.id


@pytest.fixture
def inside(shared_manager: LoopManager, shared_loop: LoopRecord) -> Callable[[], list[psutil.Process]]:
    """Tells what runs in the loop that the tests of the module share."""
    return functools.partial(processes_inside, shared_manager, shared_loop)


@pytest.fixture
def staying(inside: Callable[[], list[psutil.Process]]) -> Callable[[], list[psutil.Process]]:
    """Tells what goes on inside. Who was killed may take a moment to end."""
    return lambda: psutil.wait_procs(inside(), timeout=30)[1]
