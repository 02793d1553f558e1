"""A process of the host in place of what `inside/attach` is in a sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.sandbox.helpers import INSIDE
from loopat_jupyter.sandbox.process import Stem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from typing import TypeAlias

    Start: TypeAlias = Callable[..., Awaitable[asyncio.subprocess.Process]]

STEM = "x0123456789ab"


@pytest.fixture
def stem(tmp_path: Path) -> Stem:
    (tmp_path / "run").mkdir()
    return Stem(tmp_path / "run", STEM)


@pytest.fixture
async def attach(tmp_path: Path, stem: Stem) -> AsyncIterator[Start]:
    """Starts `inside/attach` with a command; its files lie where they are told to."""
    text = (INSIDE / "attach").read_text().replace('"/loopat/run/', f'"{stem.folder}/')
    script = tmp_path / "attach-0"
    script.write_text(text.replace("#!/usr/bin/python3", f"#!{sys.executable}"))
    script.chmod(0o755)
    (tmp_path / "waiting-0").mkdir()
    started: list[asyncio.subprocess.Process] = []

    async def start(*command: str) -> asyncio.subprocess.Process:
        stem.file("argv").write_bytes(b"".join(word.encode() + b"\0" for word in command))
        process = await asyncio.create_subprocess_exec(str(script), STEM, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
