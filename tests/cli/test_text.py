from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from loopat_jupyter.cli.text import ago, changed_text, duration, parse_size, shared_warnings, size
from tests.cli.test_views import LOOP

NOW = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1500, "1.5 KiB"),
        (10_239, "10 KiB"),
        (2**20 - 1, "1 MiB"),
        (4 * 2**30, "4 GiB"),
        (4_000_000_000, "3.7 GiB"),
        (2**53, "8192 TiB"),
    ],
)
def test_a_size_is_short(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("4096", 4096),
        ("512 B", 512),
        ("4GB", 4_000_000_000),
        ("1.5gib", 3 * 2**29),
        (" 64 MiB ", 64 * 2**20),
        ("1kB", 1000),
    ],
)
def test_a_size_is_read(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["٣GB", "", "4G", "4g", "GB", "-1GB", "4 GB 2", "1e9", "4PB", "iB", "4iB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size such as 4GiB or 512MiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("past", "text"),
    [
        (dt.timedelta(seconds=-5), "just now"),
        (dt.timedelta(seconds=59), "just now"),
        (dt.timedelta(seconds=60), "1 min ago"),
        (dt.timedelta(minutes=59, seconds=59), "59 min ago"),
        (dt.timedelta(hours=1), "1 hour ago"),
        (dt.timedelta(hours=23), "23 hours ago"),
        (dt.timedelta(days=1), "1 day ago"),
        (dt.timedelta(days=13), "1 week ago"),
        (dt.timedelta(days=60), "2 months ago"),
        (dt.timedelta(days=800), "2 years ago"),
    ],
)
def test_a_time_is_told_as_people_do(past: dt.timedelta, text: str) -> None:
    assert ago(NOW - past, NOW) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.9, "59 s"), (80, "1 min 20 s")])
def test_a_duration_is_as_exact_as_it_matters(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_change_says_when_it_counts() -> None:
    assert changed_text(LOOP, at_start=True) == "Changed Sales [red]in[/] May (0123abcd)."
    stopped = msgspec.structs.replace(LOOP, state="stopped")
    said = changed_text(stopped, at_start=True)
    assert said == "Changed Sales [red]in[/] May (0123abcd). The new settings count from the next start on."
    assert changed_text(stopped, at_start=False) == changed_text(LOOP, at_start=True)
    waiting = changed_text(msgspec.structs.replace(LOOP, restart_needed=True), at_start=True)
    assert waiting.endswith("and ends what runs in it: jupyter loopat recreate 0123abcd")
    assert changed_text(LOOP, said="It has files.") == "It has files."


def test_what_is_told_of_several_loops_is_told_once() -> None:
    loops = [
        msgspec.structs.replace(LOOP, id=f"{number}{LOOP.id[1:]}", warnings=("no keys", *extra))
        for number, extra in enumerate(((), ("no disk",), (), (), ()))
    ]
    assert shared_warnings(loops[:2]) == ["0123abcd and 1123abcd: no keys", "1123abcd: no disk"]
    assert shared_warnings(loops)[0] == "0123abcd, 1123abcd, 2123abcd and 2 more: no keys"
    long = msgspec.structs.replace(LOOP, warnings=(f"There are no files. {'Long. ' * 50}",))
    assert shared_warnings([long]) == ["0123abcd: There are no files. More: jupyter loopat show 0123abcd"]
