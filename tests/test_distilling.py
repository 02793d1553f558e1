"""A loop that begins with what another one left behind; the other one may be hostile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter import distilling
from loopat_jupyter.errors import BadInputError, NotFoundError
from loopat_jupyter.models import NewLoop

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord
    from tests.conftest import Nest


@pytest.fixture
def worked(plain: LoopManager) -> LoopRecord:
    """A loop in which somebody worked."""
    record = plain.create(title="Sales in May")
    workdir, home = plain.workspace.workdir(record.id), plain.workspace.loop_home(record.id)
    (workdir / "deep/er").mkdir(parents=True)
    (workdir / "deep/er/b.ipynb").write_text("b")
    (workdir / "a.ipynb").write_text("a")
    (workdir / "data.csv").write_text("1")
    (workdir / ".ipynb_checkpoints").mkdir()
    (workdir / ".ipynb_checkpoints/a-checkpoint.ipynb").write_text("old")
    (home / ".bash_history").write_text("ls\n")
    (home / ".ipython/profile_default").mkdir(parents=True)
    (home / ".ipython/profile_default/history.sqlite").write_bytes(b"db")
    (plain.workspace.agent_config(record.id) / "projects/x").mkdir(parents=True)
    (plain.workspace.agent_config(record.id) / "projects/x/1.jsonl").write_text("{}")
    return record


def files(workdir: Path) -> dict[str, str]:
    return {str(path.relative_to(workdir)): path.read_text() for path in workdir.rglob("*") if path.is_file()}


async def test_notebooks_and_history_are_there_with_instructions(plain: LoopManager, worked: LoopRecord):
    record = await plain.make(NewLoop(title="Distill", distill=worked.id))
    found = files(plain.workspace.workdir(record.id))
    instructions = found.pop("CLAUDE.md")
    assert found.pop("INSTRUCTIONS.md") == instructions
    assert f'the loop "Sales in May" ({worked.id})' in instructions
    assert found == {
        "notebooks/a.ipynb": "a",
        "notebooks/deep/er/b.ipynb": "b",
        "history/bash_history": "ls\n",
        "history/history.sqlite": "db",
        "history/agents/x/1.jsonl": "{}",
    }
    assert record.warnings == ()


async def test_what_is_nested_deeply_or_has_a_long_path_is_left_out(plain: LoopManager, worked: LoopRecord, nest: Nest):
    workdir = plain.workspace.workdir(worked.id)
    nest(workdir, "d", 3000)
    nest(workdir, "x" * 250, 17)
    (workdir / ("y" * 249 + ".ipynb")).write_text("long")
    record = await plain.make(NewLoop(title="Distill", distill=worked.id))
    [warning] = record.warnings
    assert warning.startswith("The snapshot holds a part of 'Sales in May' only")
    assert "notebooks/a.ipynb" in files(plain.workspace.workdir(record.id))
    assert f"notebooks/{'y' * 249}.ipynb" in files(plain.workspace.workdir(record.id))


async def test_what_was_locked_from_inside_is_left_out_and_told(plain: LoopManager, worked: LoopRecord):
    workdir = plain.workspace.workdir(worked.id)
    workdir.chmod(0)
    try:
        record = await plain.make(NewLoop(title="Distill", distill=worked.id))
    finally:
        workdir.chmod(0o700)
    [warning] = record.warnings
    assert warning.startswith("The snapshot holds a part of 'Sales in May' only")
    assert "history/bash_history" in files(plain.workspace.workdir(record.id))


async def test_nothing_planted_is_followed(plain: LoopManager, worked: LoopRecord, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.ipynb").write_text("secret")
    (outside / ".bash_history").write_text("secret")
    workdir, home = plain.workspace.workdir(worked.id), plain.workspace.loop_home(worked.id)
    (workdir / "link.ipynb").symlink_to(outside / "secret.ipynb")
    (workdir / "folder").symlink_to(outside)
    os.mkfifo(workdir / "fifo.ipynb")
    (home / ".bash_history").unlink()
    (home / ".bash_history").symlink_to(outside / ".bash_history")
    (home / ".local/share").mkdir(parents=True)
    (home / ".local/share/fish").symlink_to(outside)
    record = await plain.make(NewLoop(title="Distill", distill=worked.id))
    assert "secret" not in str(files(plain.workspace.workdir(record.id)))


async def test_what_does_not_fit_is_told(plain: LoopManager, worked: LoopRecord, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distilling, "MOST_FILES", 2)
    record = await plain.make(NewLoop(title="Distill", distill=worked.id))
    [warning] = record.warnings
    assert "'Sales in May' only" in warning


async def test_a_loop_that_is_not_there_makes_nothing(plain: LoopManager):
    with pytest.raises(NotFoundError):
        await plain.make(NewLoop(title="Distill", distill="0" * 8))
    assert not plain.workspace.loops.exists() or not list(plain.workspace.loops.iterdir())


async def test_a_loop_in_which_nobody_worked_has_instructions_all_the_same(plain: LoopManager):
    other = plain.create(title="Fresh")
    record = await plain.make(NewLoop(title="Distill", distill=other.id))
    assert set(files(plain.workspace.workdir(record.id))) == {"CLAUDE.md", "INSTRUCTIONS.md"}


async def test_a_linked_folder_of_agents_is_not_followed(plain: LoopManager, tmp_path: Path):
    other = plain.create(title="Fresh")
    (tmp_path / "secret.jsonl").write_text("secret")
    (plain.workspace.agent_config(other.id) / "projects").symlink_to(tmp_path)
    record = await plain.make(NewLoop(title="Distill", distill=other.id))
    assert "secret" not in str(files(plain.workspace.workdir(record.id)))


async def test_a_snapshot_is_not_laid_over_a_repo(plain: LoopManager, worked: LoopRecord):
    """Files of the repo could be links out of the loop, and the snapshot would be written through them."""
    with pytest.raises(BadInputError) as caught:
        await plain.make(NewLoop(title="Distill", distill=worked.id, repo="/srv/git/any.git"))
    assert caught.value.field == "distill"


async def test_a_notebook_that_grows_while_it_is_copied_is_copied_as_it_was(
    plain: LoopManager, monkeypatch: pytest.MonkeyPatch
):
    other = plain.create(title="Growing")
    source = plain.workspace.workdir(other.id) / "a.ipynb"
    source.write_bytes(b"123")
    told = distilling.full_disk_told

    def growing(path: Path):
        source.write_bytes(b"123" * 1000)
        return told(path)

    monkeypatch.setattr(distilling, "full_disk_told", growing)
    record = await plain.make(NewLoop(title="Distill", distill=other.id))
    assert (plain.workspace.workdir(record.id) / "notebooks" / "a.ipynb").read_bytes() == b"123"
