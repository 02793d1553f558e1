"""A program that starts a kernel, as any does that knows nothing of loops."""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

from jupyter_client.manager import start_new_kernel

if TYPE_CHECKING:
    from pathlib import Path


def run_endlessly(kernel_name: str, begun: Path, environ: dict[str, str]) -> None:
    """Have a kernel at work, and stay."""
    os.environ.clear()
    os.environ.update(environ)
    tempfile.tempdir = None
    _kernel, client = start_new_kernel(kernel_name=kernel_name)
    client.execute("import time\nwhile True: time.sleep(0.1)")
    while client.get_iopub_msg(timeout=60)["content"].get("execution_state") != "busy":
        pass
    begun.touch()
    time.sleep(600)
