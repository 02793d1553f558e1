from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click
import pytest

from loopat_jupyter.cli.references import complete_loop, find_loop, near_misses
from loopat_jupyter.errors import BadInputError, NotFoundError
from loopat_jupyter.workspace.records import new_record

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from tests.cli.conftest import FakeCommandLine


def record(title: str) -> LoopRecord:
    return new_record(title=title, created_by="ada", now=dt.datetime(2026, 5, 1, tzinfo=dt.UTC))


@pytest.mark.parametrize(
    ("reference", "near"),
    [
        ("sales-in-mai", ["sales-in-may"]),
        ("SALES", ["sales-in-may", "sales-in-june"]),
        ("Weather repot", ["weather-report"]),
        ("zzz", []),
    ],
)
def test_slips_and_beginnings_are_near(reference: str, near: list[str]) -> None:
    records = [record("Sales in May"), record("Sales in June"), record("Weather report")]
    assert near_misses(reference, records)[: len(near) or None] == near


def test_a_loop_is_found_by_id_beginning_short_name_and_title(fake: FakeCommandLine) -> None:
    made = fake.manager.create(title="Sales in May")
    for reference in (made.id, made.id[:8], "sales-in-may", "Sales in May"):
        assert find_loop(fake.manager, reference) == made


def test_a_dot_is_the_loop_of_the_current_folder(
    fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = fake.manager.create(title="Sales in May")
    below = fake.manager.workspace.workdir(made.id) / "notes"
    below.mkdir()
    monkeypatch.chdir(below)
    assert find_loop(fake.manager, ".") == made
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError, match="current folder belongs to no loop"):
        find_loop(fake.manager, ".")


def test_an_unknown_loop_comes_with_a_suggestion(fake: FakeCommandLine) -> None:
    fake.manager.create(title="Sales in May")
    with pytest.raises(NotFoundError, match=r"There is no loop 'sales'.* Did you mean 'sales-in-may'\?"):
        find_loop(fake.manager, "sales")
    with pytest.raises(NotFoundError) as caught:
        find_loop(fake.manager, "zzz")
    assert "Did you mean" not in caught.value.message


def test_an_ambiguous_name_is_refused_with_the_ids(fake: FakeCommandLine) -> None:
    made = {fake.manager.create(title="Twin").id for _ in range(11)}
    with pytest.raises(BadInputError) as raised:
        find_loop(fake.manager, "Twin")
    told, *candidates, rest = str(raised.value).splitlines()
    assert (told, rest) == ("loop: 'Twin' could be any of these. Name one by its id:", "  and 1 more")
    ids = [candidate.split()[0] for candidate in candidates]
    assert candidates == [f"  {loop_id} Twin, made just now" for loop_id in ids]
    assert len(made & {*ids}) == 10
    assert find_loop(fake.manager, ids[0]).id == ids[0]


def test_names_and_ids_are_completed_without_podman(fake: FakeCommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake.manager.create(title="Sales in May")
    fake.manager.create(title="Weather")
    monkeypatch.setenv("LOOPAT_HOME", str(fake.manager.workspace.home))
    argument = click.Argument(["loop"])
    context = click.Context(click.Command("show"))
    assert [item.value for item in complete_loop(context, argument, "sa")] == ["sales-in-may"]
    assert [item.value for item in complete_loop(context, argument, made.id[:5])] == [made.id]
    monkeypatch.setenv("LOOPAT_HOME", "relative")
    assert complete_loop(context, argument, "") == []
    assert fake.engine.calls == []
