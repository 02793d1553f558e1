from __future__ import annotations

import pytest

from loopat_jupyter.project import ProjectFile, as_allowed
from loopat_jupyter.workspace.config import Config, ImageConfig

LOOP = "3f2a9c1e-0000-4000-8000-000000000000"
IMAGE = ProjectFile(file="d", kind="image", honoured=True, note="It can.", value="site:1")
OTHER_IMAGE = ProjectFile(file="d", kind="image", honoured=True, note="It can.", value="x/y:1")
BUILD = ProjectFile(file="d", kind="build", honoured=True, note="It can.", value={"dockerfile": "D", "context": "."})
VARIABLES = ProjectFile(file="d", kind="variables", honoured=True, note="It can.", value={"A": "1"})
WISHES = (IMAGE, OTHER_IMAGE, BUILD, VARIABLES)


@pytest.mark.parametrize("fixed", [(), ("image.base",), ("network",)])
def test_what_the_site_leaves_to_loops_is_honoured(fixed: tuple[str, ...]):
    assert as_allowed(WISHES, Config(fixed=fixed, image=ImageConfig(use="site:1")), LOOP) == WISHES


@pytest.mark.parametrize("fixed", ["image", "image.use"])
def test_an_image_that_the_site_has_fixed_is_the_only_one(fixed: str):
    allowed = as_allowed(WISHES, Config(fixed=(fixed,), image=ImageConfig(use="site:1")), LOOP)
    assert [entry.honoured for entry in allowed] == [True, False, False, True]
    assert {entry.note for entry in allowed if not entry.honoured} == {
        "Not honoured: the image is fixed by the site, for all loops. Ask who set 'image.use'."
    }
    assert [entry.value for entry in allowed] == [entry.value for entry in WISHES]
