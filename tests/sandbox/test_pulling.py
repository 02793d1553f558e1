from __future__ import annotations

import pytest

from loopat_jupyter.errors import EngineError, EngineTimeoutError, StorageFullError
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sandbox.pulling import pull
from tests.fakes import FakeEngine


async def test_a_name_is_no_option_and_what_is_there_is_not_told():
    engine = FakeEngine(lambda _: Completed(0, b"", ""))
    assert await pull(engine, "example/one") == ""
    assert engine.calls == [("pull", "--quiet", "--", "example/one")]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EngineError("Podman failed.", stderr="no such host"), "no such host"),
        (EngineError("Podman failed."), "Podman failed."),
        (EngineTimeoutError("Too long."), "Too long."),
    ],
)
async def test_why_it_cannot_be_had_is_told(error: Exception, said: str):
    def answers(_: tuple[str, ...]) -> Completed:
        raise error

    assert await pull(FakeEngine(answers), "example/one") == said


async def test_a_full_disk_is_no_reason_to_go_on():
    def answers(_: tuple[str, ...]) -> Completed:
        raise StorageFullError("No space.")

    with pytest.raises(StorageFullError):
        await pull(FakeEngine(answers), "example/one")
