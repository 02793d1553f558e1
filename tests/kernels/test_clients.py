"""Other Jupyter programs, as a person types them, with no server running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

if TYPE_CHECKING:
    from tests.kernels.conftest import Place

pytestmark = pytest.mark.podman

BIN = Path(sys.executable).parent


@pytest.fixture
def notebook(place: Place, tmp_path: Path) -> Path:
    """A notebook outside every loop that says where it runs."""
    path = tmp_path / "in.ipynb"
    cell = nbformat.v4.new_code_cell("import os; print(os.uname().nodename, os.environ.get('CANARY'))")
    kernelspec = {"name": place.kernel_name, "display_name": "x", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernelspec}), path)
    return path


def run(*argv: str, place: Place) -> subprocess.CompletedProcess[str]:
    # Only the kernelspec says which workspace it is.
    environ = {name: value for name, value in place.environ.items() if name != "LOOPAT_HOME"}
    env = {**os.environ, **environ, "CANARY": "sings"}
    env.pop("LOOPAT_HOME", None)
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)


def printed(path: Path) -> str:
    return nbformat.read(path, as_version=4).cells[-1].outputs[0].text.strip()


def test_nbconvert(place: Place, notebook: Path) -> None:
    done = run(str(BIN / "jupyter-nbconvert"), "--execute", "--to=notebook", "--inplace", str(notebook), place=place)
    assert done.returncode == 0, done.stderr
    assert printed(notebook) == f"loop-{place.record.id[:8]} None"


def test_papermill(place: Place, notebook: Path) -> None:
    out = notebook.with_name("out.ipynb")
    done = run(str(BIN / "papermill"), str(notebook), str(out), place=place)
    assert done.returncode == 0, done.stderr
    assert printed(out) == f"loop-{place.record.id[:8]} None"


def test_a_failure_is_printed_in_words_last(place: Place, notebook: Path) -> None:
    read = nbformat.read(notebook, as_version=4)
    read.metadata.kernelspec.name = "python3"
    inside = place.workdir / "in.ipynb"
    read.metadata.kernelspec.name = place.kernel_name
    nbformat.write(read, inside)
    spec = Path(place.environ["JUPYTER_DATA_DIR"]) / "kernels" / place.kernel_name / "kernel.json"
    whole = spec.read_text()
    spec.write_text(whole.replace('"kernel": "python3"', '"kernel": "python9"'))
    try:
        done = run(str(BIN / "jupyter-nbconvert"), "--execute", "--to=notebook", "--stdout", str(inside), place=place)
    finally:
        spec.write_text(whole)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "Loop 'A loop' has no kernel 'python9'. It has: python3. Choose one of these, or install" in last


def test_a_kernel_has_the_variables_of_the_vault(place: Place, notebook: Path) -> None:
    place.manager.vaults.set("default", "CANARY", b"of the vault")
    try:
        out = notebook.with_name("out.ipynb")
        done = run(str(BIN / "papermill"), str(notebook), str(out), place=place)
        assert done.returncode == 0, done.stderr
        assert printed(out) == f"loop-{place.record.id[:8]} of the vault"
    finally:
        place.manager.vaults.unset("default", "CANARY")
