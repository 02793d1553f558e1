from __future__ import annotations

import asyncio
import os
import signal

import pytest

from loopat_jupyter.cli.app import Interrupted
from loopat_jupyter.cli.session import Session


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_and_lets_work_clean_up(signum: int, capsys: pytest.CaptureFixture[str]) -> None:
    cleaned = []

    async def work() -> None:
        try:
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signum)
            await asyncio.Event().wait()
        finally:
            # A second signal while cleaning up changes nothing.
            os.kill(os.getpid(), signum)
            await asyncio.sleep(0.05)
            cleaned.append(True)

    with pytest.raises(Interrupted) as caught:
        Session({}).run(work())
    assert (caught.value.signum, cleaned) == (signum, [True])
    assert capsys.readouterr().err == "Cancelling …\n"


def test_without_a_signal_the_answer_comes_back() -> None:
    async def work() -> int:
        return 7

    before = signal.getsignal(signal.SIGINT)
    assert Session({}).run(work()) == 7
    assert signal.getsignal(signal.SIGINT) is before


def test_cancellation_from_within_is_not_taken_for_a_signal() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        Session({}).run(work())
