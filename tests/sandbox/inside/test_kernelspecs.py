from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from loopat_jupyter.models import Kernelspec
from loopat_jupyter.sandbox.helpers import INSIDE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = {"argv": ["kernel", "{connection_file}"], "display_name": "Good", "language": "x"}


def install(root: Path, name: str, spec: Any) -> Path:
    folder = root / "kernels" / name
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(spec if isinstance(spec, str) else json.dumps(spec))
    return folder


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a Python is that has no kernels of its own."""
    prefix = tmp_path_factory.mktemp("python") / "prefix"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(prefix)], check=True)
    return prefix / "bin"


def printed(python: Path, **env: str) -> dict[str, Kernelspec]:
    """What the script prints."""
    env = {"PATH": f"{python}:{os.defpath}", **env}
    run = subprocess.run([INSIDE / "kernelspecs"], env=env, stdout=subprocess.PIPE, check=True, timeout=30)
    return {spec.name: spec for spec in msgspec.json.decode(run.stdout, type=list[Kernelspec])}


@pytest.fixture(scope="module")
def machine(python: Path) -> dict[str, Kernelspec]:
    """Kernels of the machine that runs the tests."""
    return printed(python, HOME=str(python / "no-home"))


@pytest.fixture
def listed(python: Path, machine: dict[str, Kernelspec], tmp_path: Path) -> Callable[..., dict[str, Kernelspec]]:
    """What the script prints beside those."""

    def list_them(**env: str) -> dict[str, Kernelspec]:
        found = printed(python, HOME=str(tmp_path / "home"), **env)
        return {name: spec for name, spec in found.items() if machine.get(name) != spec}

    return list_them


def test_a_whole_spec_comes_through(tmp_path: Path, listed: Callable[..., dict[str, Kernelspec]]):
    spec = {
        "argv": ["{resource_dir}/run", "-f", "{connection_file}"],
        "display_name": "Wörter",
        "language": "r",
        "env": {"A": "b"},
        "interrupt_mode": "message",
        "metadata": {"debugger": True, "deep": [1, None]},
        "unknown": 1,
    }
    folder = install(tmp_path / "home/.local/share/jupyter", "IR", spec)
    assert listed() == {
        "ir": Kernelspec(
            name="ir",
            display_name="Wörter",
            language="r",
            argv=(f"{folder}/run", "-f", "{connection_file}"),
            env={"A": "b"},
            interrupt_mode="message",
            metadata={"debugger": True, "deep": [1, None]},
        )
    }


def test_the_first_place_wins_and_a_broken_one_does_not_count(
    tmp_path: Path, listed: Callable[..., dict[str, Kernelspec]]
):
    first, second, home = tmp_path / "first", tmp_path / "second", tmp_path / "home/.local/share/jupyter"
    install(first, "both", {**GOOD, "display_name": "first"})
    install(second, "BOTH", {**GOOD, "display_name": "second"})
    install(first, "mended", "no json")
    install(home, "mended", {**GOOD, "display_name": "home"})
    found = listed(JUPYTER_PATH=f"{first}:{second}:")
    assert {name: spec.display_name for name, spec in found.items()} == {"both": "first", "mended": "home"}


def test_what_is_left_out_gets_its_default(tmp_path: Path, listed: Callable[..., dict[str, Kernelspec]]):
    install(tmp_path / "home/.local/share/jupyter", "plain", {"argv": ["x"], "env": None, "interrupt_mode": None})
    assert listed() == {"plain": Kernelspec(name="plain", display_name="plain", language="", argv=("x",))}


BROKEN = (
    "",
    "[]",
    '{"argv": [NaN]}',
    "[" * 100_000,
    '{"argv": ["x"], "display_name": "\\ud800"}',
    {**GOOD, "argv": []},
    {**GOOD, "argv": "x"},
    {**GOOD, "argv": [1]},
    {**GOOD, "env": {"A": 1}},
    {**GOOD, "env": ["A"]},
    {**GOOD, "display_name": 1},
    {**GOOD, "language": None},
    {**GOOD, "interrupt_mode": "other"},
    {**GOOD, "metadata": [1]},
    {**GOOD, "argv": ["x\0y"]},
    {**GOOD, "env": {"A": "x\0y"}},
    {**GOOD, "env": {"A=B": "x"}},
    {**GOOD, "env": {"": "x"}},
)


def test_broken_specs_are_skipped_and_the_others_stay(tmp_path: Path, listed: Callable[..., dict[str, Kernelspec]]):
    home = tmp_path / "home/.local/share/jupyter"
    for number, spec in enumerate(BROKEN):
        install(home, f"broken-{number}", spec)
    install(home, "good", GOOD)
    install(home, "bad name", GOOD)
    (home / "kernels" / "file").write_text("x")
    (home / "kernels" / "empty").mkdir()
    assert list(listed()) == ["good"]
