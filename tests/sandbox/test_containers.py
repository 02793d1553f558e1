from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import EngineError
from loopat_jupyter.models import ContainerFacts
from loopat_jupyter.sandbox import state
from loopat_jupyter.sandbox.containers import Containers
from loopat_jupyter.sandbox.making import Maker
from loopat_jupyter.sandbox.plan import STOP_GRACE_S, HostFacts, container_name
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sandbox.state import Stamp, StateFiles
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from loopat_jupyter.workspace.paths import Workspace

LOOP = "0a1b2c3d-1111-2222-3333-444455556666"


class Forgotten:
    """A loop with a process that a note names as its init, over a podman that lists nothing and succeeds at all."""

    def __init__(self, workspace: Workspace, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.name = container_name(workspace.name, LOOP)
        self.engine = FakeEngine(self.answer)
        self.containers = Containers(workspace, self.engine, Maker(workspace, self.engine, HostFacts(None)))
        self.files = StateFiles(workspace.host(LOOP))
        self.lived: list[bool] = []
        """Whether the process did at each call of podman."""
        facts = ContainerFacts(
            id="",
            name=self.name,
            loop_id=LOOP,
            config_hash="h",
            image_id="i",
            running=True,
            pid=process.pid,
            alive=True,
        )
        self.files.stamp(Stamp.of(LOOP, facts, "image"))

    def answer(self, arguments: tuple[str, ...]) -> Completed:
        self.lived.append(Path(f"/proc/{self.process.pid}/exe").exists())
        return Completed(0, b"[]", "")


@pytest.fixture
async def loop(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Forgotten]:
    process = await asyncio.create_subprocess_exec("sleep", "600")
    monkeypatch.setattr(state, "is_init", lambda pid: pid == process.pid)
    yield Forgotten(workspace, process)
    if process.returncode is None:
        process.kill()
        await process.wait()


async def test_what_podman_does_not_stop_is_ended_after_it_was_asked(loop: Forgotten):
    await loop.containers.stop(LOOP)
    assert loop.engine.calls == [("stop", "--ignore", f"--time={STOP_GRACE_S}", loop.name)]
    assert loop.lived == [True]
    assert await loop.process.wait() == -15
    assert loop.files.running() is None
    assert loop.files.stopped_on_purpose()


@pytest.mark.parametrize("replaced", [True, False])
async def test_what_podman_does_not_remove_is_killed(loop: Forgotten, *, replaced: bool):
    await loop.containers.remove(LOOP, replaced=replaced)
    assert loop.engine.verbs == ["rm"]
    assert await loop.process.wait() == -9
    assert loop.files.replaced_on_purpose() is replaced
    assert loop.files.stopped_on_purpose() is not replaced


async def test_what_cannot_be_ended_still_runs(loop: Forgotten, monkeypatch: pytest.MonkeyPatch):
    async def refused(*_: object, **__: object) -> None:
        raise EngineError("it lives")

    monkeypatch.setattr("loopat_jupyter.sandbox.containers.end_init", refused)
    with pytest.raises(EngineError, match="it lives"):
        await loop.containers.stop(LOOP)
    running = loop.files.running()
    assert running is not None
    assert running.pid == loop.process.pid
    assert not loop.files.stopped_on_purpose()


async def test_a_container_is_listed_as_its_processes_say(loop: Forgotten):
    (facts,) = (await loop.containers.corrected({}, [LOOP])).values()
    assert (facts.pid, facts.running, facts.alive) == (loop.process.pid, True, True)
    listed = ContainerFacts(
        id="c", name=loop.name, loop_id=LOOP, config_hash="x", image_id="y", running=False, pid=0, alive=False
    )
    (facts,) = (await loop.containers.corrected({LOOP: listed}, [LOOP])).values()
    assert (facts.id, facts.config_hash, facts.pid, facts.alive) == ("c", "x", loop.process.pid, True)
    # Nobody asks for it.
    assert await loop.containers.corrected({LOOP: listed}, []) == {LOOP: listed}
