"""Temporary folders of tests in memory, as a pytest plugin: on a disk, tests wait for it most of the time.

`.setup/machine test` makes that memory on machines without a service manager. Elsewhere, and where it does not offer
what tests need, they stay where pytest puts them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/tmp/loopat-tests")
LEAST_BYTES = 4 * 2**30


def offers(folder: Path) -> bool:
    """Whether a folder is memory with room, in which podman in a sandbox can keep images."""
    try:
        if not folder.is_mount() or shutil.disk_usage(folder).free < LEAST_BYTES:
            return False
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            # Linux has these in memory since 6.6; podman's layers need them.
            os.setxattr(file.name, "user.loopat", b"")
    except OSError:
        return False
    return True


def pytest_configure() -> None:
    # Workers are told the folder of the whole run.
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ and "PYTEST_XDIST_WORKER" not in os.environ and offers(MEMORY):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)
