from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.project import find_project
from loopat_jupyter.project.files import LARGEST_FILE_BYTES, read_inside

if TYPE_CHECKING:
    from pathlib import Path

LOOP = "0a1b2c3d-0000-4000-8000-000000000000"


def commands(workdir: Path) -> dict[str, str | None]:
    return {entry.file: entry.command for entry in find_project(workdir, LOOP)}


def test_an_empty_project_asks_for_nothing(tmp_path: Path):
    assert find_project(tmp_path, LOOP) == ()
    assert find_project(tmp_path / "none", LOOP) == ()


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (
            {"requirements.txt": "x", "environment.yml": "x", "mise.toml": "", ".tool-versions": ""},
            {
                "requirements.txt": "pip install --user -r requirements.txt",
                "environment.yml": "micromamba create --yes --name project --file environment.yml",
                "mise.toml": "mise trust --yes && mise install --yes",
            },
        ),
        ({"pyproject.toml": "[project]"}, {"pyproject.toml": "pip install --user --editable ."}),
        ({"pyproject.toml": "[tool.ruff]"}, {}),
        ({".tool-versions": "jq 1"}, {".tool-versions": "mise trust --yes && mise install --yes"}),
        ({"pyproject.toml": "[a]\n\n [ build-system ]"}, {"pyproject.toml": "pip install --user --editable ."}),
        ({"pyproject.toml": "[project.urls]"}, {"pyproject.toml": "pip install --user --editable ."}),
        ({"pyproject.toml": "[projects]\n[tool.project]\n#[project]"}, {}),
    ],
)
def test_what_lies_in_the_top_folder(tmp_path: Path, files: dict[str, str], wanted: dict[str, str | None]):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert commands(tmp_path) == wanted


def test_a_locked_project_is_installed_as_it_is_locked(tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text("[project]")
    (tmp_path / "uv.lock").write_text("")
    found = commands(tmp_path)
    assert list(found) == ["uv.lock"]
    assert found["uv.lock"].startswith("uv sync --frozen")


def test_no_symbolic_link_is_followed(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "devcontainer.json").write_text('{"image": "secret"}')
    workdir = tmp_path / "workdir"
    workdir.mkdir()
    (workdir / "requirements.txt").symlink_to(secret / "devcontainer.json")
    (workdir / ".devcontainer").symlink_to(secret)
    (workdir / ".devcontainer.json").symlink_to(secret / "devcontainer.json")
    assert find_project(workdir, LOOP) == ()


def test_what_is_no_plain_file_or_too_large_is_not_read(tmp_path: Path):
    os.mkfifo(tmp_path / "requirements.txt")
    (tmp_path / "environment.yml").mkdir()
    (tmp_path / "pyproject.toml").write_bytes(b"x" * (LARGEST_FILE_BYTES + 1))
    assert find_project(tmp_path, LOOP) == ()
    assert read_inside(tmp_path, "pyproject.toml") is None
    assert read_inside(tmp_path, "") is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pyproject.toml", b"a." * 500_000 + b"a = 1"),
        ("pyproject.toml", b"[" * LARGEST_FILE_BYTES),
        ("pyproject.toml", b"[\t" * 500_000),
        (".devcontainer.json", b'"\\' * 500_000),
        (".devcontainer.json", b"/*" * 500_000),
        (".devcontainer.json", b"[" * LARGEST_FILE_BYTES),
        (".devcontainer.json", b"{" + (b"," + b" " * 1000) * 1000),
    ],
)
def test_what_is_made_to_keep_a_reader_busy_does_not(tmp_path: Path, name: str, data: bytes):
    (tmp_path / name).write_bytes(data)
    assert [entry.honoured for entry in find_project(tmp_path, LOOP)] == ([] if name == "pyproject.toml" else [False])


def test_the_usual_place_of_a_devcontainer_goes_first(tmp_path: Path):
    (tmp_path / ".devcontainer").mkdir()
    (tmp_path / ".devcontainer.json").write_text('{"image": "second"}')
    (tmp_path / ".devcontainer" / "devcontainer.json").write_text('{"image": "first"}')
    assert [entry.value for entry in find_project(tmp_path, LOOP)] == ["first"]
