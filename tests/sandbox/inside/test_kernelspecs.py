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
    from pathlib import Path

GOOD = {"argv": ["kernel", "{connection_file}"], "display_name": "Good", "language": "x"}


def install(root: Path, name: str, spec: Any) -> Path:
    folder = root / "kernels" / name
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(spec if isinstance(spec, str) else json.dumps(spec))
    return folder


def listed(tmp_path: Path, **env: str) -> dict[str, Kernelspec]:
    """What the script prints; kernels of the machine that runs the tests are left out."""
    prefix = tmp_path / "prefix"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(prefix)], check=True)
    found = []
    for variables in ({"HOME": str(tmp_path / "empty")}, {"HOME": str(tmp_path / "home"), **env}):
        path = f"{prefix}/bin:{os.defpath}"
        run = subprocess.run(
            [INSIDE / "kernelspecs"], env={"PATH": path, **variables}, capture_output=True, check=True, timeout=30
        )
        found.append({spec.name: spec for spec in msgspec.json.decode(run.stdout, type=list[Kernelspec])})
    return {name: spec for name, spec in found[1].items() if found[0].get(name) != spec}


def test_a_whole_spec_comes_through(tmp_path: Path):
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
    assert listed(tmp_path) == {
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


def test_the_first_place_wins_and_a_broken_one_does_not_count(tmp_path: Path):
    first, second, home = tmp_path / "first", tmp_path / "second", tmp_path / "home/.local/share/jupyter"
    install(first, "both", {**GOOD, "display_name": "first"})
    install(second, "BOTH", {**GOOD, "display_name": "second"})
    install(first, "mended", "no json")
    install(home, "mended", {**GOOD, "display_name": "home"})
    found = listed(tmp_path, JUPYTER_PATH=f"{first}:{second}:")
    assert {name: spec.display_name for name, spec in found.items()} == {"both": "first", "mended": "home"}


def test_what_is_left_out_gets_its_default(tmp_path: Path):
    install(tmp_path / "home/.local/share/jupyter", "plain", {"argv": ["x"], "env": None, "interrupt_mode": None})
    assert listed(tmp_path) == {"plain": Kernelspec(name="plain", display_name="plain", language="", argv=("x",))}


@pytest.mark.parametrize(
    "spec",
    [
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
    ],
)
def test_broken_specs_are_skipped_and_the_others_stay(tmp_path: Path, spec: Any):
    home = tmp_path / "home/.local/share/jupyter"
    install(home, "broken", spec)
    install(home, "good", GOOD)
    install(home, "bad name", GOOD)
    (home / "kernels" / "file").write_text("x")
    (home / "kernels" / "empty").mkdir()
    assert list(listed(tmp_path)) == ["good"]


@pytest.mark.podman
def test_the_image_has_its_python_kernel(sandbox_image: str):
    run = subprocess.run(
        [
            *("podman", "run", "--rm", "--network=none", "--userns=keep-id:uid=2000,gid=2000"),
            *(f"--volume={INSIDE}:/loopat/lib:ro", sandbox_image, "/loopat/lib/kernelspecs"),
        ],
        capture_output=True,
        check=True,
        timeout=120,
    )
    (spec,) = msgspec.json.decode(run.stdout, type=list[Kernelspec])
    assert (spec.name, spec.display_name, spec.language) == ("python3", "Python 3", "python")
    assert spec.argv[0] == "/usr/bin/python3"
