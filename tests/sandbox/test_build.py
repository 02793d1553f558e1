"""What a person is told of a build that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopat_jupyter.sandbox.build import BuildLog, build_failure, without_mark


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
