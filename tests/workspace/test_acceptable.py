from __future__ import annotations

import subprocess

import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.workspace.acceptable import MAX_METADATA_DEPTH, check_image, check_metadata, check_title

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    "image", ["", "-v", "--privileged", "a b", "a\nb", "a\n", "x" * 300, "../x", "docker://x", "oci:x", "tarball:x"]
)
def test_a_bad_image_is_refused(image: str):
    with pytest.raises(BadInputError, match="^image: "):
        check_image(image)


@pytest.mark.podman
def test_what_podman_cannot_read_as_an_image_is_refused_and_nothing_else():
    def readable(image: str) -> bool:
        # 0 and 1: it is there, or not. 125: that is none.
        return (
            subprocess.run(("podman", "image", "exists", "--", image), capture_output=True, check=False).returncode < 2
        )

    def taken(image: str) -> bool:
        try:
            return bool(check_image(image))
        except BadInputError:
            return False

    good = "python:3.13 localhost/a__b:_T example.org/team Example.org/a host:80/a/b.c-d:v1.2-x"
    bad = "a..b a___b a- a: a//b x/./y a:b:c a@sha256:abc Python a.org/Team -a.org/b ä"
    for image in (*good.split(), DIGEST, f"python:3.13@{DIGEST}"):
        assert (image, readable(image), taken(image)) == (image, True, True)
    for image in (*bad.split(), f"a:{'x' * 129}"):
        assert (image, readable(image), taken(image)) == (image, False, False)


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
