"""Figures that tests come by while they show something else, as a pytest plugin: printed, never asserted on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest.terminal import TerminalReporter

KIND = "measure"


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Keeps what was measured and how much it was, with its unit, for the end of the run."""

    def keep(what: str, figure: str) -> None:
        # The properties of a test are what travels from a worker to the process that prints.
        request.node.user_properties.append((KIND, [what, figure]))

    return keep


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    figures = sorted(
        tuple(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == KIND
    )
    if not figures:
        return
    width = max(len(what) for what, _ in figures)
    terminalreporter.section("measured on the way")
    for what, figure in figures:
        terminalreporter.write_line(f"{what:<{width}}  {figure}")
