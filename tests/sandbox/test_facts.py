from __future__ import annotations

import pytest

from loopat_jupyter.errors import EngineError
from loopat_jupyter.sandbox.facts import find_container, list_containers, look
from loopat_jupyter.sandbox.podman import Completed
from tests.fakes import FakeEngine

NONSENSE = [b"", b"<html>", b"[1]", b"[null]", b'[{"State": 1}]', b'[{"State": {}, "Name": 1}]', b"\xff\xfe", b"[{}]"]


@pytest.mark.parametrize("answer", NONSENSE)
async def test_an_answer_that_is_not_podmans_is_told(answer: bytes) -> None:
    engine = FakeEngine(lambda _: Completed(0, answer, ""))
    for asking in (look(engine, "box", "image"), find_container(engine, "box"), list_containers(engine, "loopat")):
        with pytest.raises(EngineError, match="really podman"):
            await asking


async def test_nothing_is_there() -> None:
    engine = FakeEngine(lambda _: Completed(125, b"[]", 'Error: no such object: "box"'))
    assert await look(engine, "box", "image") == (None, None)
    engine = FakeEngine(lambda _: Completed(0, b"[]", ""))
    assert await list_containers(engine, "loopat") == {}
