"""What runs in sandboxes and what it takes, read from the processes themselves: no podman, and right after any crash.

Where the engine's cgroups are not to be had, as in a rootless container of cgroup version 1, this works all the same.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from loopat_jupyter.models import InUse, Usage
from loopat_jupyter.sandbox.process import all_pids, innermost_pid, pid_namespace, roots_of, stat_fields
from loopat_jupyter.wording import count, listing
from loopat_jupyter.workspace.files import read_untrusted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_Kind: TypeAlias = Literal["kernels", "terminals", "commands"]

_KINDS: Mapping[str, _Kind] = {"k": "kernels", "t": "terminals"}
"""By the letter that the files of a start begin with (`loopat_jupyter.sandbox.process.Stem`)."""

_PID_BYTES = 16
_MOST_FILES = 10_000


def in_use(run_folders: Mapping[int, Path]) -> dict[int, InUse]:
    """What somebody outside runs in each of several sandboxes; one pass over the host's processes.

    Args:
        run_folders: The runtime folders that sandboxes see, by the sandbox's init process on the host.

    Returns:
        What runs, by the same init processes; those in which nothing runs are left out.
    """
    found: dict[int, InUse] = {}
    kinds: dict[int, dict[int, _Kind]] = {}
    for pid, init in roots_of(list(run_folders)):
        if init not in kinds:
            kinds[init] = _started(run_folders[init])
        inside = innermost_pid(pid) or 0
        kind = kinds[init].get(inside, "commands")
        counts = found.get(init, InUse())
        stopped = (inside,) if kind == "kernels" and is_stopped(pid) else ()
        found[init] = msgspec.structs.replace(
            counts, **{kind: getattr(counts, kind) + 1}, unresponsive=counts.unresponsive + stopped
        )
    return found


def in_words(used: InUse) -> str:
    """What runs in a sandbox, such as "2 kernels and 1 terminal"; empty for nothing."""
    counts = {"kernel": used.kernels, "terminal": used.terminals, "command": used.commands}
    return listing([count(number, noun) for noun, number in counts.items() if number])


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped (`kill -STOP`): it lives and answers nothing.

    Args:
        pid: Its id on the host.
    """
    return stat_fields(pid)[:1] == [b"T"]


def unresponsive(pid_inside: int) -> str:
    """What to tell of a kernel that was stopped.

    Args:
        pid_inside: Its id as seen inside.
    """
    return (
        f"A kernel was stopped and answers nothing: process {pid_inside}. Restart it, or let it go on with "
        f"`kill -CONT {pid_inside}` in a terminal of the loop."
    )


def _started(run_folder: Path) -> dict[int, _Kind]:
    """Kinds of what was started through a launcher, by process id as seen inside."""
    kinds: dict[int, _Kind] = {}
    with contextlib.suppress(OSError):
        # What runs inside can make any number of files there.
        for entry in itertools.islice(os.scandir(run_folder), _MOST_FILES):
            if entry.name.endswith(".pid"):
                with contextlib.suppress(OSError, ValueError):
                    pid = int(read_untrusted(run_folder / entry.name, limit_bytes=_PID_BYTES))
                    kinds[pid] = _KINDS.get(entry.name[0], "commands")
    return kinds


def usage(init_pid: int) -> Usage:
    """What all processes of a sandbox take together.

    Args:
        init_pid: The sandbox's init process on the host.
    """
    namespace = pid_namespace(init_pid)
    pids = [pid for pid in all_pids() if namespace is not None and pid_namespace(pid) == namespace]
    ticks = os.sysconf("SC_CLK_TCK")
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    cpu_ticks = resident_pages = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            # utime and stime are fields 14 and 15.
            fields = stat_fields(pid)
            with open(f"/proc/{pid}/statm", "rb") as file:
                resident = int(file.read().split()[1])
            cpu_ticks += int(fields[11]) + int(fields[12])
            resident_pages += resident
    return Usage(cpu_s=cpu_ticks / ticks, memory_bytes=resident_pages * page_bytes, processes=len(pids))
