from __future__ import annotations

from pathlib import Path

import yaml

from loopat_jupyter.server.handlers.health import OPENAPI_FILE
from loopat_jupyter.server.rest_docs import VERBS, render

PAGE = Path(__file__).parents[2] / "docs" / "rest.md"


def test_the_page_is_current() -> None:
    made = render(yaml.safe_load(OPENAPI_FILE.read_text(encoding="utf-8")))
    assert PAGE.read_text(encoding="utf-8") == made, "Run `python -m loopat_jupyter.server.rest_docs > docs/rest.md`."


def test_every_operation_has_an_example() -> None:
    paths = yaml.safe_load(OPENAPI_FILE.read_text(encoding="utf-8"))["paths"]
    page = PAGE.read_text(encoding="utf-8")
    for path, item in paths.items():
        for verb in VERBS:
            if verb in item:
                assert f"`{verb.upper()} {path}`" in page
                assert f"curl {item[verb]['x-curl']}" in page
