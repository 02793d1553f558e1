"""How a shell in a loop is described and started; the waiting program itself is driven in tests/terminals."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.attach import Screen, client_argv, shell_spec
from loopat_jupyter.errors import EngineUnavailableError
from loopat_jupyter.models import ExecSpec, Progress
from loopat_jupyter.sandbox.plan import LAUNCHER
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.sandbox.process import Stem
from loopat_jupyter.workspace.config import Config

if TYPE_CHECKING:
    from pathlib import Path


LOOP = "01234567-89ab-cdef-0123-456789abcdef"


def test_a_shell_is_the_configured_one_in_the_workdir():
    assert shell_spec(Config(shell="fish"), LOOP) == ExecSpec(
        argv=("fish",),
        cwd=f"/loopat/loop/{LOOP}/workdir",
        env={"TERM": "xterm-256color", "COLORTERM": "truecolor", "PROMPT_DIRTRIM": "2"},
        tty=True,
        interactive=True,
    )


def test_program_folder_and_variables_can_be_named():
    spec = shell_spec(Config(), LOOP, cwd="/a", argv=["top"], env={"TERM": "dumb", "A": "b"}, term="vt100")
    assert (spec.argv, spec.cwd) == (("top",), "/a")
    assert spec.env == {"TERM": "dumb", "COLORTERM": "truecolor", "PROMPT_DIRTRIM": "2", "A": "b"}


def test_the_client_is_podman_by_its_path_and_carries_no_variable(tmp_path: Path):
    podman = tmp_path / "podman"
    podman.write_text("#!/bin/sh\n")
    podman.chmod(0o755)
    spec = shell_spec(Config(), LOOP, cwd="/a", env={"TOKEN": "canary"})
    argv = client_argv(Podman("podman", {"PATH": str(tmp_path)}), "box", Stem(tmp_path, "t1"), spec)
    assert argv == (
        str(podman), "exec", "--interactive", "--tty", "--detach-keys=", "box", LAUNCHER, "t1", "/a", "bash",
    )  # fmt: skip


def test_a_missing_podman_is_told(tmp_path: Path):
    with pytest.raises(EngineUnavailableError, match="loopat doctor"):
        client_argv(Podman("podman", {"PATH": str(tmp_path)}), "box", Stem(tmp_path, "t1"), shell_spec(Config(), LOOP))


def test_progress_is_one_line_that_changes_and_a_failure_stays():
    out = io.StringIO()
    screen = Screen(out)
    screen.progress(Progress(label="system packages", step=2, steps=5))
    screen.progress(Progress(label="mise", step=3, steps=5))
    screen.clear()
    screen.fail("Free some space.")
    assert out.getvalue() == (
        "\r\x1b[2Ksystem packages (2 of 5) …\r\x1b[2Kmise (3 of 5) …\r\x1b[2K\r\x1b[2K\x1b[31mFree some space.\x1b[0m\n"
    )
