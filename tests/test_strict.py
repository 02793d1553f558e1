from __future__ import annotations

import fcntl
import textwrap
from pathlib import Path

import pytest

from tests.strict import enter

pytest_plugins = ["pytester"]


@pytest.fixture
def strict(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project of its own whose only plugins are the strict one and what it is run with."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    root = str(Path(__file__).parents[1])
    pytester.makeini(f"[pytest]\npythonpath = {root}\nmarkers =\n    podman: x\n    serial: x\n")
    pytester.makeconftest('pytest_plugins = ["tests.strict"]')
    return pytester


def run(strict: pytest.Pytester, code: str, *arguments: str) -> pytest.RunResult:
    strict.makepyfile(textwrap.dedent(code))
    return strict.runpytest_inprocess("-p", "no:cacheprovider", *arguments)


SKIPS = """
import pytest
def test_skips(): pytest.skip("no disk")
def test_passes(): pass
@pytest.mark.xfail(strict=True)
def test_is_known_to_fail(): assert False
"""


def test_a_skipped_test_fails(strict: pytest.Pytester):
    result = run(strict, SKIPS)
    result.assert_outcomes(failed=1, passed=1, xfailed=1)
    result.stdout.fnmatch_lines(["*no disk*", "*Nothing is skipped here*"])
    assert result.ret == 1


def test_a_skipped_module_fails(strict: pytest.Pytester):
    result = run(strict, 'import pytest\npytest.skip("no module", allow_module_level=True)')
    result.stdout.fnmatch_lines(["*no module*"])
    assert result.ret != 0


def test_a_podman_test_fails_without_podman(strict: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    strict.makepyfile("import pytest\n@pytest.mark.podman\ndef test_drives_podman(): pass")
    # What is found out of podman is known for as long as a process lives.
    result = strict.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*There is no podman*"])


def test_tests_of_one_name_are_refused(strict: pytest.Pytester):
    strict.makeconftest(
        """
        pytest_plugins = ["tests.strict"]
        def pytest_collection_modifyitems(items): items.append(items[0])
        """
    )
    result = run(strict, "def test_is_there_twice(): pass")
    result.stderr.fnmatch_lines(["*one name*test_is_there_twice*"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_no_name_holds_a_large_value(strict: pytest.Pytester):
    result = run(
        strict,
        """
        import pytest
        @pytest.mark.parametrize("value", ["x" * 81, b"x" * 1_000_000, "y" * 81, "z" * 80])
        def test_takes(value): pass
        """,
        "--collect-only",
        "--quiet",
    )
    names = [line.partition("::")[2] for line in result.outlines if "::" in line]
    assert names == [
        "test_takes[value of 81_0]",
        "test_takes[value of 1000000]",
        "test_takes[value of 81_1]",
        f"test_takes[{'z' * 80}]",
    ]


@pytest.mark.parametrize(("alone", "admits_others"), [(True, False), (False, True)])
def test_only_a_serial_test_is_alone(tmp_path: Path, *, alone: bool, admits_others: bool):
    with (tmp_path / "room").open("w") as held, (tmp_path / "room").open() as room:
        enter(held, alone=not alone)
        enter(held, alone=alone)
        try:
            fcntl.flock(room, fcntl.LOCK_SH | fcntl.LOCK_NB)
            admitted = True
        except BlockingIOError:
            admitted = False
    assert admitted is admits_others


def test_whoever_waits_to_be_alone_is_not_overtaken(tmp_path: Path):
    with (tmp_path / "room").open("w") as room:
        enter(room, alone=False)
        with (tmp_path / "door").open() as door:
            fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_with_workers_a_skipped_test_fails_and_serial_and_other_tests_finish_side_by_side(strict: pytest.Pytester):
    strict.makepyfile(
        SKIPS
        + textwrap.dedent(
            """
            @pytest.mark.parametrize("n", range(10))
            def test_shares(n): pass
            @pytest.mark.serial
            @pytest.mark.parametrize("n", range(4))
            def test_is_alone(n): pass
            """
        )
    )
    result = strict.runpytest_subprocess("-p", "no:cacheprovider", "-p", "xdist", "--numprocesses=2")
    result.assert_outcomes(failed=1, passed=15, xfailed=1)
    result.stdout.fnmatch_lines(["*no disk*", "*Nothing is skipped here*"])
    assert result.ret == 1
