"""A folder that is swapped for a link, as what runs in a loop does it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_EXCHANGE = """
import ctypes, os, sys
rename, here, (one, other) = ctypes.CDLL(None).renameat2, -100, map(os.fsencode, sys.argv[1:])
print(flush=True)
while rename(here, one, here, other, 2) == 0:
    pass
"""


@contextlib.contextmanager
def exchanged(one: Path, other: Path) -> Iterator[None]:
    """Exchange the names of two things in one step, again and again while the block runs."""
    command = [sys.executable, "-c", _EXCHANGE, str(one), str(other)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()
