from __future__ import annotations

import json
import os
import stat
import tomllib
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.workspace import tier_files
from loopat_jupyter.workspace.tier_files import TierReader, lay
from loopat_jupyter.workspace.tiers import Section, Tier, TierFile

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Nest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tier with one of everything."""
    made = tmp_path / "tier"
    (made / "skills" / "pdf" / "more").mkdir(parents=True)
    (made / "agents").mkdir()
    (made / "mise.toml").write_text('[tools]\njq = "1.7"\n')
    (made / "settings.json").write_text('{"model": "small"}')
    (made / "CLAUDE.md").write_text("Be brief.")
    (made / "skills" / "pdf" / "SKILL.md").write_text("a skill")
    (made / "skills" / "pdf" / "more" / "run").write_text("#!/bin/sh")
    (made / "skills" / "pdf" / "more" / "run").chmod(0o755)
    (made / "agents" / "review.md").write_text("an agent")
    (made / "profile.toml").write_text('description = "not part of it"')
    return made


def read(folder: Path) -> tuple[Tier, list[str]]:
    reader = TierReader(folder, "Heading", "The tier")
    return reader.read(), reader.problems


def test_what_is_nested_deeply_or_has_a_long_path_is_left_out(folder: Path, nest: Nest):
    nest(folder / "skills", "d", 3000)
    nest(folder / "agents", "x" * 250, 5)
    tier, problems = read(folder)
    assert "skills/pdf/SKILL.md" in tier.files
    assert sum("nested too deeply" in problem for problem in problems) == 1
    assert sum("has too long a path" in problem for problem in problems) == 2


def test_a_whole_tier(folder: Path):
    assert read(folder) == (
        Tier(
            mise={"tools": {"jq": "1.7"}},
            settings={"model": "small"},
            instructions=(Section("Heading", "Be brief."),),
            files={
                "skills/pdf/SKILL.md": TierFile(b"a skill"),
                "skills/pdf/more/run": TierFile(b"#!/bin/sh", executable=True),
                "agents/review.md": TierFile(b"an agent"),
            },
        ),
        [],
    )


def test_a_tier_that_is_not_there_is_empty(tmp_path: Path):
    assert read(tmp_path / "none") == (Tier(), [])
    (tmp_path / "none").mkdir()
    assert read(tmp_path / "none") == (Tier(), [])


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("mise.toml", "[tools", "is broken"),
        ("mise.toml", "a = 1\xff".encode("latin-1"), "is not UTF-8 text"),
        ("mise.toml", "a = " + "[" * 300 + "]" * 300, "is broken"),
        ("mise.toml", "a = " + "[" * 100_000, "is broken"),
        ("mise.toml", "a = " + "9" * 5000, "is broken"),
        ("mise.toml", "a = 0x" + "f" * 5000, "is broken"),
        ("settings.json", "{", "is broken"),
        ("settings.json", '{"a": "\\ud800"}', "is broken"),
        ("settings.json", "[" * 100_000, "is broken"),
        ("settings.json", "[1]", "is not an object"),
        ("CLAUDE.md", b"\xff", "is not UTF-8 text"),
        ("agents/review.md", b"x" * (tier_files.LARGEST_FILE_BYTES + 1), "is too large"),
    ],
)
def test_a_broken_file_is_left_out_and_named(folder: Path, name: str, content: str | bytes, problem: str):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    tier, problems = read(folder)
    assert len(problems) == 1
    assert problems[0].startswith(f"The tier: {name} {problem}")
    assert "skills/pdf/SKILL.md" in tier.files


def test_no_symbolic_link_is_followed(folder: Path, tmp_path: Path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "SKILL.md").write_text("secret")
    (folder / "skills" / "out").symlink_to(tmp_path / "secret")
    (folder / "agents" / "out.md").symlink_to(tmp_path / "secret" / "SKILL.md")
    (folder / "CLAUDE.md").unlink()
    (folder / "CLAUDE.md").symlink_to(tmp_path / "secret" / "SKILL.md")
    tier, problems = read(folder)
    assert b"secret" not in b"".join(file.data for file in tier.files.values())
    assert tier.instructions == ()
    assert sorted(problem.split(" ")[2] for problem in problems) == ["CLAUDE.md", "agents/out.md", "skills/out"]
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert read(link)[0] == Tier()
    assert len(read(link)[1]) == 1


def test_folders_that_are_links_hold_nothing(folder: Path, tmp_path: Path):
    (folder / "agents").rename(tmp_path / "elsewhere")
    (folder / "agents").symlink_to(tmp_path / "elsewhere")
    tier, problems = read(folder)
    assert "agents/review.md" not in tier.files
    assert problems[0].startswith("The tier: agents is not a folder")


def test_what_is_no_plain_file_is_left_out_without_waiting(folder: Path):
    os.mkfifo(folder / "agents" / "fifo.md")
    tier, problems = read(folder)
    assert "agents/fifo.md" not in tier.files
    assert [problem.split(" is ")[0] for problem in problems] == ["The tier: agents/fifo.md"]


def test_a_tier_has_a_limit(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tier_files, "MOST_FILES", 2)
    tier, problems = read(folder)
    assert len(tier.files) == 2
    assert "more than 2 files" in problems[0]
    monkeypatch.setattr(tier_files, "LARGEST_TIER_BYTES", 10)
    assert any("too large" in problem for problem in read(folder)[1])


def test_what_was_composed_is_laid_into_a_loop(folder: Path, tmp_path: Path):
    tier, _ = read(folder)
    config, mise = tmp_path / "loop" / ".claude", tmp_path / "loop" / "mise.toml"
    config.mkdir(parents=True)
    lay(tier, config, mise)
    assert json.loads((config / "settings.json").read_text()) == {"model": "small"}
    assert (config / "CLAUDE.md").read_text() == "# Heading\n\nBe brief.\n"
    assert tomllib.loads(mise.read_text()) == {"tools": {"jq": "1.7"}}
    assert stat.S_IMODE((config / "skills/pdf/more/run").stat().st_mode) == 0o755
    assert not any(path.is_symlink() for path in config.rglob("*"))


def test_a_loop_without_tools_has_no_toolchain(tmp_path: Path):
    lay(Tier(settings={"a": 1}), tmp_path, tmp_path / "mise.toml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["settings.json"]
