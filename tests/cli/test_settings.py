from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from loopat_jupyter.cli import settings
from loopat_jupyter.cli.settings import type_text
from loopat_jupyter.workspace.config import OVERRIDES, load_config

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_what_the_schema_says() -> None:
    """Write it anew with `python -m loopat_jupyter.cli.settings > docs/configuration.md`."""
    assert PAGE.read_text(encoding="utf-8") == settings.reference()


def test_each_override_is_on_the_page() -> None:
    page = settings.reference()
    assert all(f"`{path[-1]}`" in page and f"`{variable}`" in page for variable, path in OVERRIDES.items())


def test_the_examples_are_valid(tmp_path: Path) -> None:
    blocks = [part.split("```")[0] for part in settings.reference().split("```toml\n")[1:]]
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        assert tomllib.loads(block)
    config = load_config(tmp_path / "1.toml", {}, tmp_path / "0.toml")
    assert (config.shell, config.image.base) == ("fish", "registry.example.org/debian:bookworm")


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 64}, "whole number, 1 to 64"),
        ({"type": "number", "minimum": 0}, "number, 0 or more"),
        ({"type": "boolean"}, "`true` or `false`"),
        ({"enum": ["keep", "stop"]}, '`"keep"` or `"stop"`'),
        ({"type": "string"}, "text"),
        ({"anyOf": [{"type": "integer", "minimum": 6}, {"type": "null"}]}, "whole number, 6 or more"),
        ({"type": "number", "exclusiveMinimum": 0}, "number, more than 0"),
        ({"type": "array", "items": {"type": "string"}}, "list of text"),
    ],
)
def test_types_are_told_in_words(schema: dict[str, object], text: str) -> None:
    assert type_text(schema) == text
