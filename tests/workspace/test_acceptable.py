from __future__ import annotations

import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.workspace.acceptable import MAX_METADATA_DEPTH, check_image, check_metadata, check_title


@pytest.mark.parametrize("image", ["", "-v", "--privileged", "a b", "a\nb", "x" * 300, "../x", "docker://x", "oci:x"])
def test_a_bad_image_is_refused(image: str):
    with pytest.raises(BadInputError, match="^image: "):
        check_image(image)


@pytest.mark.parametrize("title", ["a\u202eb", "a\u2066b", "a\nb"])
def test_a_title_that_turns_lists_round_is_refused(title: str):
    with pytest.raises(BadInputError, match="^title: must be one line"):
        check_title(title)


def test_too_much_metadata_is_refused():
    check_metadata({"a": "x" * 16000})
    with pytest.raises(BadInputError, match="^metadata: "):
        check_metadata({"a": "x" * 17000})


def test_metadata_that_is_nested_too_deeply_is_refused():
    def nested(levels: int) -> dict[str, object]:
        return {} if levels == 1 else {"a": [nested(levels - 2)]}

    check_metadata(nested(MAX_METADATA_DEPTH - 1))
    with pytest.raises(BadInputError, match="^metadata: must not be nested"):
        check_metadata(nested(MAX_METADATA_DEPTH + 1))
