"""Tools of a loop's toolchain, as its kernels find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.kernels.test_clients import BIN, printed, run

if TYPE_CHECKING:
    from tests.kernels.conftest import Place

TOOLS = b'[tools]\n"pipx:cowsay" = "6.1"\n'
"""The same as in the tests of the images: it is built once on a machine."""


@pytest.mark.podman
def test_a_kernel_finds_the_tools_of_its_loop(place: Place) -> None:
    place.manager.workspace.toolchain(place.record.id).write_bytes(TOOLS)
    notebook = place.workdir / "in.ipynb"
    cell = nbformat.v4.new_code_cell("import shutil; print(shutil.which('cowsay'))")
    kernelspec = {"name": place.kernel_name, "display_name": "x", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernelspec}), notebook)
    done = run(str(BIN / "jupyter-nbconvert"), "--execute", "--to=notebook", "--inplace", str(notebook), place=place)
    assert done.returncode == 0, done.stderr
    assert printed(notebook) == "/opt/loopat-mise/shims/cowsay"
