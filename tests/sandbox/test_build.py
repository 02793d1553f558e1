"""What a person is told of a build that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopat_jupyter.sandbox.build import LARGEST_LOG_BYTES, BuildLog, build_failure, without_mark


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["STEP 2/3: RUN make", "make: no rule", 'Error: building at STEP "RUN make": exit status 2'], "make: no rule"),
        (
            [
                "error running container: executable file `/bin/sh` not found in $PATH",
                'time="2026-01-01T00:00:00Z" level=error msg="did not get container start message from parent: EOF"',
                'Error: building at STEP "RUN true": while running runtime: exit status 1',
            ],
            "error running container: executable file `/bin/sh` not found in $PATH",
        ),
        (['time="2026-01-01T00:00:00Z" level=error msg="alone"', ""], 'time="2026-01-01T00:00:00Z" level=error msg='),
        ([], "it said nothing"),
    ],
)
def test_the_reason_is_what_was_said_last_before_podman_gave_up(lines: list[str], reason: str, tmp_path: Path) -> None:
    log = BuildLog(tmp_path / "log", None)
    for line in lines:
        log.add(line)
    log.close()
    assert f"at the step 'tools': {reason}" in build_failure(log, "tools", Path("/templates")).message


def test_of_what_a_build_says_the_beginning_and_the_end_are_kept(tmp_path: Path) -> None:
    log = BuildLog(tmp_path / "log", None)
    lines = [f"{number:04} {'ä' * 30_000}" for number in range(700)]
    for line in lines:
        log.add(line)
        assert log.path.stat().st_size <= LARGEST_LOG_BYTES
    kept = log.path.read_text().splitlines()
    log.close()
    (middle,) = (number for number, line in enumerate(kept) if line not in lines)
    assert 2 * middle * 30_000 > LARGEST_LOG_BYTES / 8
    assert 2 * (len(kept) - middle) * 30_000 > LARGEST_LOG_BYTES / 8
    assert kept[:middle] == lines[:middle]
    assert kept[middle + 1 :] == lines[middle + 1 - len(kept) :]
    left_out = sum(len(line.encode()) + 1 for line in lines[middle : middle + 1 - len(kept)])
    assert kept[middle] == f"[{left_out} bytes are left out here: of a long build, the beginning and the end are kept]"


def test_a_build_that_says_little_is_kept_whole(tmp_path: Path) -> None:
    log = BuildLog(tmp_path / "log", None)
    lines = [str(number) for number in range(1000)]
    for number, line in enumerate(lines):
        log.add(line)
        assert log.path.read_text().splitlines() == lines[: number + 1]
    log.add("\udcff")
    log.close()
    assert log.path.read_bytes().endswith(b"999\n?\n")


@pytest.mark.parametrize(
    ("names", "left"),
    [("LOOPAT_BUILD", None), ("BASE LOOPAT_BUILD", "BASE"), ("LOOPAT_BUILD Z", "Z"), ("A LOOPAT_BUILD Z", "A Z")],
)
def test_of_arguments_that_no_step_asks_for_all_but_the_mark_are_told(names: str, left: str | None) -> None:
    warning = "[Warning] one or more build args were not consumed: [{}]"
    assert without_mark(warning.format(names)) == (left and warning.format(left))


@pytest.mark.parametrize("line", ["", "no LOOPAT_BUILD here", "[Warning] build args were not consumed: [BASE]"])
def test_all_other_lines_are_told_as_they_are(line: str) -> None:
    assert without_mark(line) == line
