from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from loopat_jupyter.loops import LoopManager
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.welcome import find_welcome, make_welcome, welcome_files
from loopat_jupyter.workspace.config import Config, ContextConfig
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace


@pytest.fixture
def manager(workspace: Workspace) -> LoopManager:
    engine = FakeEngine(lambda arguments: Completed(0, b"[]", ""))
    return LoopManager(workspace, Config(context=ContextConfig(use=False)), engine, member="ada")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_the_first_loop_holds_the_welcome_files(manager: LoopManager):
    record = await make_welcome(manager)
    assert (record.title, record.created_by) == ("welcome", "ada")
    expected = {path.name: path.read_bytes() for path in welcome_files()}
    assert contents(manager.workspace.workdir(record.id)) == expected
    assert "welcome.ipynb" in expected


async def test_it_is_made_once(manager: LoopManager):
    records = await asyncio.gather(*(make_welcome(manager) for _ in range(5)))
    assert len({record.id for record in records}) == 1
    assert [record.id for record in manager.store.readable()] == [records[0].id]


async def test_what_a_person_changed_stays_and_what_is_missing_comes_back(manager: LoopManager):
    folder = manager.workspace.workdir((await make_welcome(manager)).id)
    original = contents(folder)
    (folder / "welcome.ipynb").write_bytes(b"mine")
    (folder / "harbour.csv").unlink()
    await make_welcome(manager)
    assert contents(folder) == original | {"welcome.ipynb": b"mine"}


async def test_a_planted_symlink_is_not_written_through(manager: LoopManager, tmp_path: Path):
    folder = manager.workspace.workdir((await make_welcome(manager)).id)
    (folder / "harbour.csv").unlink()
    (folder / "harbour.csv").symlink_to(tmp_path / "outside")
    await make_welcome(manager)
    assert not (tmp_path / "outside").exists()


async def test_a_loop_with_the_same_title_is_somebody_elses(manager: LoopManager):
    other = manager.create(title="welcome")
    assert find_welcome(manager) is None
    assert (await make_welcome(manager)).id != other.id


async def test_a_deleted_one_is_made_again(manager: LoopManager):
    first = await make_welcome(manager)
    shutil.rmtree(manager.workspace.loop(first.id))
    assert (await make_welcome(manager)).id != first.id


def test_the_command_prints_the_folder_twice_the_same(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOOPAT_HOME", str(workspace.home))
    command = [sys.executable, "-m", "loopat_jupyter.welcome"]
    printed = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(printed) == 1
    assert (Path(printed.pop().strip()) / "welcome.ipynb").is_file()


def test_the_command_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOOPAT_HOME", "not/absolute")
    command = [sys.executable, "-m", "loopat_jupyter.welcome"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("LOOPAT_HOME: ")


def test_the_notebook_is_valid_and_has_no_output():
    notebook_file = next(path for path in welcome_files() if path.name == "welcome.ipynb")
    notebook = nbformat.read(notebook_file, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.metadata.kernelspec.name == "python3"
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
