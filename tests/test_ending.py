from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from loopat_jupyter.ending import end, exited

if TYPE_CHECKING:
    from pathlib import Path


async def test_an_end_is_noticed_although_nobody_reads_the_output() -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("head", "-c", "60000", "/dev/zero", stdout=pipe, limit=1024)
    async with asyncio.timeout(60):
        await exited(process, 1000)
    assert process.returncode == 0
    process._transport.close()


async def test_an_end_is_not_waited_for_longer_than_it_may_take() -> None:
    process = await asyncio.create_subprocess_exec("sleep", "1000")
    await exited(process, 0)
    assert process.returncode is None
    process.kill()
    await process.wait()


HELPED = """
(trap 'sleep 0.2; echo late >written; exit' TERM; touch up; while :; do sleep 0.02; done) &
[ -z "$1" ] || (trap '' TERM; echo $BASHPID >stubborn; while :; do sleep 0.02; done) &
trap exit TERM
wait
"""
"""A program with a helper that is not done when it goes itself, and perhaps with one that never goes."""


async def helped(folder: Path, *arguments: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", HELPED, "bash", *arguments, cwd=folder, start_new_session=True
    )
    while not all((folder / name).exists() for name in ("up", *(["stubborn"] if arguments else []))):
        await asyncio.sleep(0.01)
    return process


async def test_whoever_ends_a_program_finds_its_helpers_done(tmp_path: Path) -> None:
    process = await helped(tmp_path)
    await end(process, 30)
    assert (tmp_path / "written").read_text() == "late\n"


async def test_a_helper_that_ignores_term_is_killed(tmp_path: Path) -> None:
    process = await helped(tmp_path, "stubborn")
    await end(process, 0.3)
    assert await exited(process, 30, group=True)
