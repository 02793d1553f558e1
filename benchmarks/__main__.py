"""`python -m benchmarks`: one run, one table."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
from pathlib import Path

from benchmarks import kernels, sandboxes, shares, terminals
from benchmarks.report import Row, table
from benchmarks.scene import scene


async def measure(rounds: int) -> list[Row]:
    """Every row, each with its floor in the same run."""

    def say(what: str) -> None:
        print(f"measuring {what} …", file=sys.stderr, flush=True)

    async with scene() as made:
        say("kernels")
        rows = [
            await kernels.start(made, rounds),
            await kernels.start_with_spare(made, rounds),
            await kernels.round_trip(made, rounds),
            await kernels.memory(made),
        ]
        say("sandboxes")
        rows += [
            await sandboxes.start(made, rounds),
            await sandboxes.ensure(made, rounds),
            await sandboxes.command(made, rounds),
            await sandboxes.memory(made),
        ]
        say("terminals")
        rows += [await terminals.first_prompt(made, rounds), await terminals.throughput(made, rounds)]
        say("a shared port")
        rows += [await shares.requests(made, rounds), *await shares.through_jupyter(made, rounds)]
        say("a long list")
        rows.append(await sandboxes.first_page(made, rounds))
    return rows


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="samples of the slow figures; the fast ones take more")
    parser.add_argument("--output", type=Path, help="write the table to this file as well")
    arguments = parser.parse_args()
    text = table(asyncio.run(measure(arguments.rounds)))
    cores = len(os.sched_getaffinity(0))
    text += f"\n\nMedians of one run; Python {platform.python_version()}, {cores} cores.\n"
    print(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
