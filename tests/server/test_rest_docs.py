from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from loopat_jupyter.server.handlers.health import OPENAPI_FILE
from loopat_jupyter.server.rest_docs import VERBS, render

PAGE = Path(__file__).parents[2] / "docs" / "rest.md"


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return yaml.safe_load(OPENAPI_FILE.read_text(encoding="utf-8"))


def test_the_page_is_current(described: dict[str, Any]) -> None:
    made = render(described)
    assert PAGE.read_text(encoding="utf-8") == made, "Run `python -m loopat_jupyter.server.rest_docs > docs/rest.md`."


def test_every_operation_has_an_example(described: dict[str, Any]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for path, item in described["paths"].items():
        for verb in VERBS:
            if verb in item:
                assert f"`{verb.upper()} {path}`" in page
                assert f"curl {item[verb]['x-curl']}" in page
