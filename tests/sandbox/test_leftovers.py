from __future__ import annotations

from loopat_jupyter.sandbox.images import StoredImage
from loopat_jupyter.sandbox.leftovers import LOG_KEPT_S, Findings, Leftover, find_leftovers
from loopat_jupyter.workspace.paths import runtime_key

KEPT = "0123abcd-0000-4000-8000-000000000000"
GONE = "9876fedc-0000-4000-8000-000000000000"


def test_what_nothing_needs_is_found_and_the_rest_is_left() -> None:
    findings = Findings(
        loops=frozenset([KEPT]),
        containers={KEPT: "loopat-w-kept", GONE: "loopat-w-gone"},
        images=(
            StoredImage("f00", ("localhost/loopat-sandbox-old:latest", "localhost/second"), 7),
            StoredImage("bar", (), 5),
        ),
        project_images=(StoredImage("baz", ("localhost/loopat-project-9876fedc:latest",), 3),),
        runtime={runtime_key(KEPT): "/run/kept", runtime_key(GONE): "/run/gone"},
        logs=(("/run/build-new.log", LOG_KEPT_S, 5), ("/run/build-old.log", LOG_KEPT_S + 1, 6)),
    )
    assert find_leftovers(findings) == (
        Leftover(kind="container", name="loopat-w-gone", reason="its loop is gone", key=GONE),
        Leftover(
            kind="image",
            name="localhost/loopat-sandbox-old:latest",
            reason="made from an older template",
            key="f00",
            names=("localhost/loopat-sandbox-old:latest", "localhost/second"),
            size_bytes=7,
        ),
        Leftover(
            kind="image",
            name="bar (an unfinished build)",
            reason="made from an older template",
            key="bar",
            size_bytes=5,
        ),
        Leftover(
            kind="image",
            name="localhost/loopat-project-9876fedc:latest",
            reason="its project's loop is gone",
            key="baz",
            names=("localhost/loopat-project-9876fedc:latest",),
            size_bytes=3,
        ),
        Leftover(kind="runtime", name="/run/gone", reason="sockets and notes of a loop that is gone", key="/run/gone"),
        Leftover(
            kind="log",
            name="/run/build-old.log",
            reason="a build log older than a week",
            key="/run/build-old.log",
            size_bytes=6,
        ),
    )


def test_a_tidy_workspace_has_none() -> None:
    findings = Findings(
        loops=frozenset([KEPT]),
        containers={KEPT: "loopat-w-kept"},
        images=(),
        runtime={runtime_key(KEPT): "/run/kept"},
        logs=(("/run/build-new.log", 0.0, 5),),
    )
    assert find_leftovers(findings) == ()


def test_the_key_is_the_name_of_the_runtime_folder() -> None:
    assert runtime_key(KEPT) == "0123abcd0000"
