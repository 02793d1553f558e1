"""Tools of a loop's toolchain, as its kernels find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import LONELY
from tests.kernels.conftest import running_place
from tests.kernels.test_provisioner import run, started

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
@pytest.mark.usefixtures("small_kernels")
async def test_a_kernel_finds_the_tools_of_its_loop(place: Place) -> None:
    async with started(kernel_name=place.kernel_name) as (_, client):
        assert await run(client, "import shutil; print(shutil.which('cowsay'))") == "/opt/loopat-mise/shims/cowsay"
