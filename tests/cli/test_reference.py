from __future__ import annotations

from pathlib import Path

from loopat_jupyter.cli import reference

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_is_what_the_verbs_say() -> None:
    """Write it anew with `python -m loopat_jupyter.cli.reference > docs/cli.md`."""
    assert PAGE.read_text(encoding="utf-8") == reference.reference()
