from __future__ import annotations

import pytest

from loopat_jupyter.sandbox.activity import pause_s, verdict


@pytest.mark.parametrize(
    ("active", "used_at_s", "now_s", "idle_timeout_s", "wanted"),
    [
        (True, 0, 10_000, 60, "in-use"),
        (False, 100, 159, 60, "idle"),
        (False, 100, 160, 60, "stop"),
        (False, 100, 10_000, 0, "idle"),
        (True, 100, 10_000, 0, "in-use"),
        # The machine was restarted: its monotonic clock began again.
        (False, 5000, 10, 60, "idle"),
    ],
)
def test_what_happens_to_a_running_sandbox(
    active: bool, used_at_s: float, now_s: float, idle_timeout_s: float, wanted: str
):
    assert verdict(active=active, used_at_s=used_at_s, now_s=now_s, idle_timeout_s=idle_timeout_s) == wanted


def test_looks_are_frequent_enough_and_never_busy():
    assert pause_s(1800) == 30
    assert pause_s(60) == 6
    assert pause_s(0.1) == 0.2


def test_where_nothing_ever_stops_looks_are_rare():
    assert pause_s(0) == 30
