from __future__ import annotations

import errno
import inspect
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tornado import web

from loopat_jupyter import errors
from loopat_jupyter.errors import BadInputError, LoopatError, NotFoundError
from loopat_jupyter.server.answers import Problem, encode, problem_of

TREE = [found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, LoopatError)]


@pytest.mark.parametrize("kind", [found for found in TREE if found is not BadInputError])
def test_each_error_keeps_status_reason_and_words(kind: type[LoopatError]) -> None:
    assert problem_of(kind("100 % full, do this.")) == Problem(
        message="100 % full, do this.", reason=kind.reason, code=kind.status
    )


def test_bad_input_names_the_field() -> None:
    assert problem_of(BadInputError("title", "is 100 % wrong")) == Problem(
        message="title: is 100 % wrong", reason="bad_input", code=400, field="title"
    )


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("no a\x1b[2J\u202eb\udcff"),
        BadInputError("a\x1b[2J\u202eb\udcff", "is not known"),
        web.HTTPError(404, "no %s", "a\x1b[2J\u202eb\udcff"),
        OSError(errno.ENOSPC, "No space left on device", "a\x1b[2J\u202eb\udcff"),
        OSError(errno.EIO, "Input/output error", "a\x1b[2J\u202eb\udcff"),
    ],
)
def test_names_in_errors_are_plain(error: BaseException) -> None:
    """Neither a terminal nor the JSON that they travel in takes them as they are."""
    problem = problem_of(error)
    assert "a�[2J�b�" in problem.message
    assert problem.field in (None, "a�[2J�b�")
    assert encode(problem)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (web.HTTPError(403, "not you, 100 %"), Problem(message="not you, 100 %", reason="forbidden", code=403)),
        (web.HTTPError(404, "no %s", "loop"), Problem(message="no loop", reason="not_found", code=404)),
        (web.HTTPError(405), Problem(message="Method Not Allowed", reason="method_not_allowed", code=405)),
        (web.HTTPError(418), Problem(message="I'm a Teapot", reason="http_error", code=418)),
        (web.HTTPError(499), Problem(message="Unknown error", reason="http_error", code=499)),
        (
            OSError(errno.ENOSPC, "No space left on device", "/w/meta.json"),
            Problem(
                message="No space left: /w/meta.json. Free some space and try again.", reason="storage_full", code=503
            ),
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/w"),
            Problem(message="Permission denied: /w. The server's log says more.", reason="internal", code=500),
        ),
        (
            ValueError("a secret"),
            Problem(
                message="Something unforeseen went wrong. The server's log says more.", reason="internal", code=500
            ),
        ),
    ],
)
def test_other_errors(error: BaseException, expected: Problem) -> None:
    assert problem_of(error) == expected


def test_ours_behind_an_http_error_is_found() -> None:
    outer = web.HTTPError(500, "wrapped")
    outer.__cause__ = NotFoundError("gone")
    assert problem_of(outer) == Problem(message="gone", reason="not_found", code=404)


def test_without_an_error_the_status_speaks() -> None:
    assert problem_of(None, 404) == Problem(message="Not Found", reason="not_found", code=404)
    assert problem_of(None).code == 500


def test_json() -> None:
    value: dict[str, Any] = {"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "in": Path("/w")}
    assert encode(value) == b'{"at":"2026-01-02T03:04:05Z","in":"/w"}'
    assert encode(Problem(message="m", reason="r", code=1)) == b'{"message":"m","reason":"r","code":1}'
    with pytest.raises(NotImplementedError):
        encode(object())
