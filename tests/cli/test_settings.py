from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from loopat_jupyter.cli import settings
from loopat_jupyter.cli.settings import type_text
from loopat_jupyter.errors import BadInputError
from loopat_jupyter.models import LoopConfig
from loopat_jupyter.workspace.config import OVERRIDES, load_config
from loopat_jupyter.workspace.fixed import check_first_choices

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
    assert (config.shell, config.image.use) == ("fish", "registry.example.org/sandbox:bookworm")


@pytest.mark.parametrize(
    ("own", "image", "field"),
    [(LoopConfig(), "x/y:1", "image"), (LoopConfig(network="none"), None, "config.network")],
)
def test_the_example_keeps_loops_to_what_it_fixes(
    tmp_path: Path, own: LoopConfig, image: str | None, field: str
) -> None:
    site = tmp_path / "site.toml"
    site.write_text(settings.reference().split("```toml\n")[1].split("```")[0])
    config = load_config(tmp_path / "none.toml", {"LOOPAT_SANDBOX_IMAGE": "x/y:1"}, site)
    assert config.image.use == "registry.example.org/sandbox:bookworm"
    with pytest.raises(BadInputError, match="is fixed by the site") as refused:
        check_first_choices(own, image, config)
    assert refused.value.field == field


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
