from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.errors import EngineError, KernelStartError
from loopat_jupyter.kernels.meanwhile import Launchpad, undisturbed
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import ContainerFacts
from loopat_jupyter.sandbox import state
from loopat_jupyter.sandbox.state import Stamp
from loopat_jupyter.workspace.config import Config, TrustConfig
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace


class Scene:
    """A loop whose sandbox runs, or so its notes say: its init process is this very one."""

    def __init__(self, workspace: Workspace) -> None:
        engine = FakeEngine(lambda _: pytest.fail("podman was asked"))
        self.manager = LoopManager(workspace, Config(trust=TrustConfig(ca_bundle="")), engine, member="ada")
        self.record = self.manager.create(title="A loop")
        self.files = self.manager.sandboxes.state_files(self.record.id)
        self.tries = 0
        self.start()

    def start(self) -> None:
        facts = ContainerFacts(
            id="c", name="box", loop_id=self.record.id, config_hash="", image_id="", running=True, pid=os.getpid(),
            alive=True,
        )  # fmt: skip
        self.files.stamp(Stamp.of(self.record.id, facts, "image"))

    def stop(self) -> None:
        with self.files.ending():
            pass

    def archive(self) -> None:
        self.stop()
        self.manager.store.write(msgspec.structs.replace(self.record, archived=True))

    def delete(self) -> None:
        self.stop()
        self.manager.workspace.record(self.record.id).unlink()

    async def launch(self, *, started_in: int, works_at: int | None = None) -> str:
        """Launch a kernel in the sandbox of an init process; works at which try."""

        async def step(again: bool) -> str:
            self.tries += 1
            if self.tries == works_at:
                return "again" if again else "at once"
            raise EngineError("container state improper")

        return await undisturbed(step, lambda: Launchpad(self.manager, self.record, started_in))


@pytest.fixture
def scene(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(state, "is_init", lambda pid: pid == os.getpid())
    return Scene(workspace)


async def test_a_kernel_is_started_once_more_in_a_new_sandbox_and_not_without_end(scene: Scene) -> None:
    assert await scene.launch(started_in=1, works_at=1) == "at once"
    scene.tries = 0
    assert await scene.launch(started_in=1, works_at=2) == "again"
    scene.tries = 0
    with pytest.raises(KernelStartError, match=r"its loop 'A loop' was recreated meanwhile\. Start the kernel again\."):
        await scene.launch(started_in=1)
    assert scene.tries == 2


@pytest.mark.parametrize(("end", "change"), [("stop", "stopped"), ("archive", "archived"), ("delete", "deleted")])
async def test_an_end_of_the_loop_is_told_and_nothing_is_started_again(scene: Scene, end: str, change: str) -> None:
    getattr(scene, end)()
    with pytest.raises(KernelStartError, match=rf"because its loop 'A loop' was {change} meanwhile\. [A-Z].+\."):
        await scene.launch(started_in=os.getpid())
    assert scene.tries == 1


async def test_what_has_nothing_to_do_with_the_sandbox_is_told_as_it_is(scene: Scene) -> None:
    with pytest.raises(EngineError, match="container state improper"):
        await scene.launch(started_in=os.getpid())
    assert scene.tries == 1
