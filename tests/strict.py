"""What every run of the tests insists on, as a pytest plugin.

Nothing is skipped silently: a skipped test fails, and so does a podman test where there is no rootless podman; no two
tests have one name, for of those only one would run; no name holds a large value, for names go through pipes, into
the environment of processes and into reports.
A test marked `serial` runs while no other process of the same run is inside a test; its fixtures are made and cleared
away beside others.
"""

from __future__ import annotations

import collections
import fcntl
import functools
import os
import shutil
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

ROOM = pytest.StashKey[IO[str]]()

LONGEST_IN_NAME = 80
"""Characters of a parameter that the name of its test shows whole."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a test after the length of a large value."""
    if isinstance(val, str | bytes) and len(val) > LONGEST_IN_NAME:
        return f"{argname} of {len(val)}"
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure; an expected failure stays what it is."""
    report = yield
    return fail_if_skipped(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module into a failure."""
    report = yield
    return fail_if_skipped(report)


def fail_if_skipped(report: Any) -> Any:
    """The report, failed if it says "skipped"."""
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}\nNothing is skipped here: make the test run, or remove it."
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse tests of one name: where several workers share the tests out, only one of them would run."""
    counts = collections.Counter(item.nodeid for item in items)
    if doubled := sorted(name for name, count in counts.items() if count > 1):
        raise pytest.UsageError(
            f"Several tests have one name, so that workers would run one of them: {', '.join(doubled)}"
        )


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("podman") and (problem := podman_problem()):
        pytest.fail(f"{problem} Podman tests never pass without podman; `make unit` runs the others.", pytrace=False)


@functools.cache
def podman_problem() -> str | None:
    """Why podman tests cannot run here; None when they can."""
    if os.getuid() == 0:
        return "Root has no rootless podman: use `make test`, which changes to an ordinary user."
    if shutil.which("podman") is None:
        return "There is no podman: use `make test`, which installs it."
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hold the room that the processes of one run share while each is inside a test."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    # The workers' temporary folders lie in one folder of the whole run, which pytest removes in its time.
    with (item.config._tmp_path_factory.getbasetemp().parent / "room").open("w") as room:
        enter(room, alone=False)
        item.stash[ROOM] = room
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Let a serial test be alone."""
    room = item.stash.get(ROOM, None)
    if room is None or item.get_closest_marker("serial") is None:
        return (yield)
    enter(room, alone=True)
    try:
        return (yield)
    finally:
        enter(room, alone=False)


def enter(room: IO[str], *, alone: bool) -> None:
    """Take a lock that any number share, or one holds alone, in place of the one that is held.

    Everybody passes the door first, and whoever wants to be alone holds the door while the room empties; so nobody
    waits for ever.

    Args:
        room: The lock file; beside it is the one of the door.
        alone: Share it with nobody.
    """
    fcntl.flock(room, fcntl.LOCK_UN)
    with Path(room.name).with_name("door").open("w") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
