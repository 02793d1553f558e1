from __future__ import annotations

import pytest

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.project.containerfile import read_containerfile
from loopat_jupyter.project.references import Reference, named_images

OWN = "0123456789ab-cdef"


def base(name: str) -> Reference:
    return Reference(name, True, False)


def source(name: str, *, optional: bool = False) -> Reference:
    return Reference(name, False, optional)


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("FROM scratch", []),
        ("FROM python:3.13", [base("python:3.13")]),
        (
            "from --platform=$BUILDPLATFORM host:80/a/b@sha256:" + "0" * 64 + " as x",
            [base("host:80/a/b@sha256:" + "0" * 64)],
        ),
        ("FROM a:1 AS one\nFROM one AS b\nCOPY --from=one x y\nCOPY --from=0 x y\nRUN --mount=from=b x", [base("a:1")]),
        (
            "FROM a:1\nCOPY --from=a:2 x y\nRUN --mount=type=bind,from=a:3 x",
            [base("a:1"), source("a:2"), source("a:3")],
        ),
        ("FROM one AS one\nONBUILD COPY --from=one x y", [base("one")]),
        ("FROM x:1\nONBUILD COPY --from=y x y", [base("x:1"), source("y", optional=True)]),
        (
            "FROM a:1 AS one\nRUN <<E\nfrom x import y\nfrom y\nE\nFROM one",
            [base("a:1"), base("y"), Reference("one", True, True)],
        ),
        ('ARG V=3 \nARG W="$V-slim"\nARG X\nFROM a:${W}\nARG V\nARG Z=$Y', [base("a:3-slim")]),
        (f"FROM localhost/loopat-project-{OWN[:12]}:latest", [base("localhost/loopat-project-0123456789ab:latest")]),
        ("RUN a && \\\n from '$x'", []),
    ],
)
def test_what_is_named_are_images_and_stages(written: str, named: list[Reference]) -> None:
    assert named_images(read_containerfile(written.encode()), OWN) == named


@pytest.mark.parametrize(
    "written",
    [
        "FROM docker-archive:/x.tar",
        "FROM oci:x",
        "FROM dir:5000/x",
        "FROM DIR:x",
        "FROM tarball:x",
        "FROM docker://a",
        "FROM containers-storage:[overlay@/x]a",
        "FROM http://a/b",
        "FROM 'a'",
        "FROM a\\b",
        "FROM $A",
        "ARG A\nFROM z$A",
        "ARG A=1\nARG A=2\nFROM a:$A",
        "ARG A=1\nARG B=1 A=2\nFROM a:$A",
        "ARG N=A\nARG A=1\nARG $N=2\nFROM a:$A",
        "ARG A='1'\nFROM a:$A",
        "ARG TARGETOS=x\nFROM a:$TARGETOS",
        "ARG A=1\nFROM a:$A\nARG A=2\nFROM a:$A",
        "ARG A=1\nFROM a:${A:-2}",
        "FROM z\nCOPY --from=$A x y",
        "FROM z\nCOPY --from=oci:x y z",
        "FROM z\nCOPY --from=Upper y z",
        "FROM z\nRUN --mount=type=bind,from=dir:x y",
        "FROM z\nRUN --mount=from=../x y",
        "FROM z\nONBUILD COPY --from=oci:x y z",
        "FROM z\nRUN <<E\nFROM oci:x\nE",
    ],
)
def test_what_is_no_plain_name_is_refused(written: str) -> None:
    with pytest.raises(BadInputError, match="is no image such as"):
        named_images(read_containerfile(written.encode()), OWN)


@pytest.mark.parametrize(
    "written",
    [
        "FROM 3",
        "FROM " + "0" * 64,
        "FROM sha256:" + "0" * 64,
        "FROM a AS x\nCOPY --from=1 x y",
        "FROM a AS x\nONBUILD COPY --from=0 x y",
        "FROM a AS x\nCOPY --from=00 x y",
        "FROM a:1\nRUN --mount=from=cafe x",
        # To a parser with here-documents there are fewer stages.
        "FROM a:1\nRUN <<E\nFROM b:1 AS cafe\nE\nCOPY --from=cafe x y",
        "FROM a:1\nRUN <<E\nFROM b:1\nE\nCOPY --from=1 x y",
    ],
)
def test_what_may_be_the_id_of_an_image_is_refused(written: str) -> None:
    with pytest.raises(BadInputError, match="may be the id of any image of yours"):
        named_images(read_containerfile(written.encode()), OWN)


@pytest.mark.parametrize("tail", ["", ":latest", ":x", "@sha256:" + "0" * 64])
@pytest.mark.parametrize("place", ["", "localhost/", "example.org/a/"])
@pytest.mark.parametrize("written", ["FROM {}", "FROM a:1\nCOPY --from={} x y", "FROM a:1\nRUN --mount=from={} x"])
def test_the_image_of_another_loop_is_refused(place: str, tail: str, written: str) -> None:
    name = f"{place}loopat-project-0123456789ac{tail}"
    with pytest.raises(BadInputError, match="the image of another loop's project"):
        named_images(read_containerfile(written.format(name).encode()), OWN)
