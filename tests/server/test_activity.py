from __future__ import annotations

import datetime as dt

from loopat_jupyter.server.activity import latest

NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


def test_the_latest_of_everything_in_a_loop_counts_and_nothing_from_before_the_server_began() -> None:
    used = [("a", NOON + MINUTE), ("a", NOON + 2 * MINUTE), ("a", NOON), ("b", NOON), ("c", NOON - MINUTE)]
    assert latest(used, NOON) == {"a": NOON + 2 * MINUTE, "b": NOON}
