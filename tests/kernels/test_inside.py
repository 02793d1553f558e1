"""Processes that the host cannot see; those of a real sandbox are driven in test_transports and test_provisioner."""

from __future__ import annotations

import pytest

from loopat_jupyter.errors import EngineTimeoutError, EngineUnavailableError, LoopatError
from loopat_jupyter.kernels.inside import ExecProcess
from loopat_jupyter.sandbox.podman import Completed
from tests.fakes import FakeEngine, inspected


def container(*, running: bool) -> dict[str, object]:
    state = {"Running": running, "Pid": 0}
    return {"Id": "1", "Name": "box", "Image": "2", "State": state, "Config": {}}


@pytest.mark.parametrize(
    ("code", "box", "alive"),
    [
        (0, None, True),
        (1, None, False),
        (125, inspected(container(running=True)), True),
        (255, inspected(container(running=True)), True),
        (255, inspected(container(running=False)), False),
        (125, inspected(missing=True), False),
        (125, Completed(125, b"", "Cannot connect to Podman"), True),
    ],
)
async def test_a_failure_of_podman_is_no_death(code: int, box: Completed | None, alive: bool) -> None:
    def answer(arguments: tuple[str, ...]) -> Completed:
        if arguments[0] == "exec":
            return Completed(code, b"", "")
        assert box is not None
        return box

    assert await ExecProcess(FakeEngine(answer), "box", 7).alive() is alive


@pytest.mark.parametrize("failure", [EngineTimeoutError("late"), EngineUnavailableError("none")])
async def test_a_podman_out_of_reach_is_no_death(failure: LoopatError) -> None:
    def answer(_: tuple[str, ...]) -> Completed:
        raise failure

    assert await ExecProcess(FakeEngine(answer), "box", 7).alive()
