from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopat_jupyter.workspace.tiers import (
    EMPTY,
    Section,
    Tier,
    TierFile,
    compose,
    merge_tables,
    toolchain,
    written,
)

WORKSPACE = Tier(
    mise={"tools": {"python": "3.12", "jq": "1.7"}, "env": {"A": "1"}},
    settings={"model": "small", "permissions": {"allow": ["ls"], "deny": ["rm"]}},
    instructions=(Section("Workspace", "Be brief.\n"),),
    files={"skills/pdf/SKILL.md": TierFile(b"old"), "skills/pdf/run.sh": TierFile(b"#!", executable=True)},
)
PROFILE = Tier(
    mise={"tools": {"jq": {"version": "1.8"}}, "settings": {"jobs": 2}},
    settings={"permissions": {"allow": ["cat"]}},
    files={"agents/review.md": TierFile(b"review"), "skills/pdf/SKILL.md": TierFile(b"new")},
)
PERSONAL = Tier(settings={"model": "large"}, instructions=(Section("Personal", "Call me Ada."),))


def test_three_tiers_as_one():
    assert compose([WORKSPACE, PROFILE, PERSONAL]) == Tier(
        mise={
            "tools": {"python": "3.12", "jq": {"version": "1.8"}},
            "env": {"A": "1"},
            "settings": {"jobs": 2},
        },
        settings={"model": "large", "permissions": {"allow": ["cat"], "deny": ["rm"]}},
        instructions=(Section("Workspace", "Be brief.\n"), Section("Personal", "Call me Ada.")),
        # A skill of the later tier replaces the whole skill, so that no two versions are mixed.
        files={"skills/pdf/SKILL.md": TierFile(b"new"), "agents/review.md": TierFile(b"review")},
    )


def test_what_is_written_into_a_loop():
    composed = compose([WORKSPACE, PERSONAL])
    files = written(composed)
    assert sorted(files) == ["CLAUDE.md", "settings.json", "skills/pdf/SKILL.md", "skills/pdf/run.sh"]
    assert files["CLAUDE.md"].data.decode() == "# Workspace\n\nBe brief.\n\n# Personal\n\nCall me Ada.\n"
    assert json.loads(files["settings.json"].data) == composed.settings
    assert files["skills/pdf/run.sh"].executable
    assert tomllib.loads(toolchain(composed).decode()) == composed.mise


@pytest.mark.parametrize("mise", [{}, {"tools": {}}])
def test_a_toolchain_that_says_nothing_is_none(mise: dict[str, Any]):
    assert toolchain(Tier(mise=mise)) == b""


def test_nothing_composes_to_nothing():
    assert compose([]) == EMPTY
    assert written(EMPTY) == {}


def test_tools_are_not_merged_deeper_than_by_name():
    assert merge_tables({"tools": {"a": {"version": "1", "os": "linux"}}}, {"tools": {"a": {"version": "2"}}}) == {
        "tools": {"a": {"version": "2"}}
    }


def test_the_later_kind_of_a_value_counts():
    assert merge_tables({"a": {"b": 1}}, {"a": 2}) == {"a": 2}
    assert merge_tables({"a": 2}, {"a": {"b": 1}}) == {"a": {"b": 1}}


KEYS = st.sampled_from("abc")
SCALARS = st.integers(0, 9) | st.text(max_size=3)
# A key is a table in every tier or in none: upper case ones are tables.
TABLES = st.fixed_dictionaries(
    {}, optional={**dict.fromkeys("abc", SCALARS), **dict.fromkeys("ABC", st.dictionaries(KEYS, SCALARS, max_size=2))}
)
PATHS = st.sampled_from(["skills/a/SKILL.md", "skills/a/x/y", "skills/b/SKILL.md", "agents/a.md", "agents/b.md"])
TIERS = st.builds(
    Tier,
    mise=TABLES,
    settings=TABLES,
    instructions=st.lists(st.builds(Section, KEYS, st.text(max_size=3)), max_size=2).map(tuple),
    files=st.dictionaries(PATHS, st.builds(TierFile, st.binary(max_size=3), st.booleans()), max_size=3),
)


@settings(max_examples=50)
@given(TIERS, TIERS, TIERS)
def test_composing_is_associative(first: Tier, second: Tier, third: Tier):
    left = compose([compose([first, second]), third])
    assert left == compose([first, compose([second, third])]) == compose([first, second, third])


@settings(max_examples=20)
@given(TIERS)
def test_the_empty_tier_changes_nothing(tier: Tier):
    assert compose([EMPTY, tier]) == compose([tier, EMPTY]) == tier


@settings(max_examples=50)
@given(TIERS, TIERS)
def test_the_later_tier_wins(lower: Tier, higher: Tier):
    both = compose([lower, higher])
    for name in ("mise", "settings"):
        for key, value in getattr(higher, name).items():
            merged = getattr(both, name)[key]
            assert merged == value if not isinstance(value, dict) else value.items() <= merged.items()
    assert higher.files.items() <= both.files.items()
    assert both.instructions == (*lower.instructions, *higher.instructions)


@given(TABLES)
def test_a_written_toolchain_reads_back(table: dict[str, Any]):
    assert tomllib.loads(toolchain(Tier(mise=table)).decode()) == (table if any(table.values()) else {})
