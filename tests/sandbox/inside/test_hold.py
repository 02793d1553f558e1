"""How the holder of a terminal finds the program; that it holds it is tested with real terminals."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.sandbox.helpers import INSIDE

if TYPE_CHECKING:
    from pathlib import Path

BECOME = """
import runpy, sys
hold = runpy.run_path(sys.argv[1])
path = sys.argv[3].encode()
hold["become"](0, int(sys.argv[2]), b"", sys.argv[4:], {b"PATH": path} if path else {})
"""
ABSENT = "{}: there is no such command in this loop\r\n".format


@pytest.mark.parametrize(
    ("path", "command", "said"),
    [
        ("/nowhere:/bin", ("sh", "-c", "echo $PATH"), "/nowhere:/bin\r\n"),
        (":/bin", ("own",), "own\r\n"),
        ("/bin", ("./own",), "own\r\n"),
        ("", ("cat", "text"), "x"),
        ("/bin", ("own",), ABSENT("own")),
        ("/bin", ("./text",), ABSENT("./text")),
        ("/bin", ("no\udcff",), ABSENT("no\udcff")),
    ],
)
def test_the_program_is_found_as_a_shell_finds_it(tmp_path: Path, path: str, command: tuple[str, ...], said: str):
    (tmp_path / "own").write_text("#!/bin/sh\necho own\n")
    (tmp_path / "own").chmod(0o755)
    (tmp_path / "text").write_text("x")
    master, slave = os.openpty()
    become = (sys.executable, "-c", BECOME, str(INSIDE / "hold"), str(slave), path, *command)
    with subprocess.Popen(become, stdin=subprocess.DEVNULL, pass_fds=(slave,), cwd=tmp_path) as process:
        os.close(slave)
        shown = b""
        # A terminal that nobody has open any more is no longer to be read.
        while piece := read(master):
            shown += piece
    os.close(master)
    assert shown == os.fsencode(said)
    assert process.returncode == (127 if "no such" in said else 0)


def read(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:
        return b""
