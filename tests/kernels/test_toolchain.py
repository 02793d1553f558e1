"""Tools of a loop's toolchain, as its kernels find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.conftest import LONELY
from tests.kernels.conftest import running_place
from tests.kernels.test_clients import BIN, printed, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernels.conftest import Place

TOOLS = b'[tools]\n"pipx:cowsay" = "6.1"\n'
"""The same as in the tests of the images: it is built once on a machine."""


@pytest.fixture(scope="module")
def shared_place(sandbox_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running_place(tmp_path_factory.mktemp("tools"), sandbox_image, config=LONELY, tools=TOOLS) as place:
        yield place


@pytest.mark.podman
def test_a_kernel_finds_the_tools_of_its_loop(place: Place) -> None:
    notebook = place.workdir / "in.ipynb"
    cell = nbformat.v4.new_code_cell("import shutil; print(shutil.which('cowsay'))")
    kernelspec = {"name": place.kernel_name, "display_name": "x", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernelspec}), notebook)
    done = run(str(BIN / "jupyter-execute"), "--inplace", str(notebook), place=place)
    assert done.returncode == 0, done.stderr
    assert printed(notebook) == "/opt/loopat-mise/shims/cowsay"
