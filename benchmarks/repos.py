"""What a second loop on a large repo costs, in time and on the disk, beside git's own clone that shares objects.

python -m benchmarks.repos                    a repo of 1 GiB (about a minute, and 3 GiB of disk)
python -m benchmarks.repos --size-mib 100      a quick look
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Row, table
from benchmarks.scene import timed
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import NewLoop
from loopat_jupyter.workspace.walking import entries_below

COMMITS = 16
FILES = 64
"""Files in each commit: all of them change each time, so that most of the repo is history."""

_KEEP_AS_IS = ("-c", "core.compression=0", "-c", "core.bigFileThreshold=1k")


def make_repo(path: Path, size_mib: int) -> None:
    """A bare repo of about this size: random files, each of which changes in each commit."""
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)], check=True)
    file_bytes = size_mib * 2**20 // COMMITS // FILES
    writer = subprocess.Popen(["git", *_KEEP_AS_IS, "fast-import", "--quiet"], cwd=path, stdin=subprocess.PIPE)
    stream = writer.stdin
    if stream is None:
        raise RuntimeError("no pipe")
    for number in range(COMMITS):
        stream.write(
            f"commit refs/heads/main\ncommitter A <a@example.org> {number} +0000\ndata 1\n{number % 10}".encode()
        )
        for file in range(FILES):
            stream.write(f"\nM 644 inline folder{file % 8}/file{file}.bin\ndata {file_bytes}\n".encode())
            stream.write(os.urandom(file_bytes))
        stream.write(b"\n\n")
    stream.close()
    if writer.wait():
        raise RuntimeError("git fast-import failed")


def disk_mib(folder: Path) -> float:
    """What a folder takes of the disk, in MiB."""
    return sum(entry.stat(follow_symlinks=False).st_blocks for entry in entries_below(folder)) * 512 / 2**20


async def measure(size_mib: int, rounds: int) -> list[Row]:
    """Time and disk of further loops on one repo, each beside a plain clone in the same folder."""
    with tempfile.TemporaryDirectory(prefix="loopat-bench-") as folder:
        repo, outside = Path(folder) / "large.git", Path(folder) / "outside"
        outside.mkdir()
        print(f"making a repo of {size_mib} MiB …", file=sys.stderr, flush=True)
        make_repo(repo, size_mib)
        os.environ["JUPYTER_DATA_DIR"] = str(Path(folder) / "jupyter-data")
        manager = LoopManager.from_environment({**os.environ, "LOOPAT_HOME": str(Path(folder) / "bench")})
        started = time.perf_counter()
        first = await manager.make(NewLoop(title="first", repo=str(repo)))
        if first.warnings:
            raise RuntimeError(first.warnings[0])
        print(f"the first loop took {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
        mirror = manager.workspace.mirrors / str(first.mirror)
        times_ms: tuple[list[float], list[float]] = ([], [])
        sizes_mib: tuple[list[float], list[float]] = ([], [])
        for number in range(rounds):
            clone = outside / str(number)
            with timed(times_ms[0]):
                command = ("git", "clone", "--quiet", "--shared", str(mirror), str(clone))
                await asyncio.to_thread(subprocess.run, command, check=True)
            sizes_mib[0].append(disk_mib(clone))
            with timed(times_ms[1]):
                record = await manager.make(NewLoop(title=f"loop {number}", repo=str(repo)))
            sizes_mib[1].append(disk_mib(manager.workspace.loop(record.id)))
        working_mib = disk_mib(outside / "0") - disk_mib(outside / "0" / ".git")
        shutil.rmtree(manager.workspace.runtime, ignore_errors=True)
    what = f"repo of {size_mib} MiB"
    return [
        Row(f"a second loop on a {what}", "`git clone --shared`", *times_ms, "ms", "< 2000 ms"),
        Row(
            "what it takes of the disk",
            "`git clone --shared`",
            *sizes_mib,
            "MiB",
            f"{working_mib:.0f} MiB are its files",
        ),
    ]


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repos", description=__doc__)
    parser.add_argument("--size-mib", type=int, default=1024, help="size of the repo in MiB")
    parser.add_argument("--rounds", type=int, default=5, help="loops to make")
    options = parser.parse_args()
    print(table(asyncio.run(measure(options.size_mib, options.rounds))))


if __name__ == "__main__":
    main()
