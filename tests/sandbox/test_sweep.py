from __future__ import annotations

import os
import subprocess
import uuid
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.loops import LoopManager
from loopat_jupyter.sandbox import sweep as sweep_module
from loopat_jupyter.sandbox.images import StoredImage
from loopat_jupyter.sandbox.leftovers import LOG_KEPT_S, Leftover
from loopat_jupyter.sandbox.network import was_ensured
from loopat_jupyter.sandbox.plan import LABEL_LOOP, LABEL_WORKSPACE, container_name, network_name, sandbox_workdir
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sandbox.sweep import Sweeper
from loopat_jupyter.sandbox.unfinished import Unfinished
from loopat_jupyter.workspace.config import Config, ImageConfig
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopat_jupyter.workspace.paths import Workspace


class FakeStore:
    """Images of ours; other tests share the real store, so nothing is removed from that."""

    def __init__(self, *images: StoredImage) -> None:
        self.images = images
        self.removed: list[StoredImage] = []
        self.stays = ""

    async def obsolete(self) -> list[StoredImage]:
        return list(self.images)

    async def remove(self, images: Iterable[StoredImage]) -> tuple[StoredImage, ...]:
        gone = tuple(image for image in images if image.id != self.stays)
        self.removed += gone
        return gone


def sweeper(manager: LoopManager, *images: StoredImage) -> tuple[Sweeper, FakeStore]:
    store = FakeStore(*images)
    return Sweeper(manager.workspace, manager.engine, manager.sandboxes, store), store  # type: ignore[arg-type]


def no_network(arguments: tuple[str, ...]) -> Completed:
    return Completed(1 if arguments[:2] == ("network", "exists") else 0, b"[]", "")


@pytest.mark.podman
async def test_the_container_of_a_vanished_loop_goes_and_with_the_last_one_the_network(manager: LoopManager) -> None:
    workspace = manager.workspace
    kept, gone = manager.create(title="Kept"), manager.create(title="Gone")
    for record in (kept, gone):
        await manager.start(record)
    await manager.sandboxes.folders.remove(workspace.loop(gone.id))
    sweep, _ = sweeper(manager)
    name, runtime = container_name(workspace.name, gone.id), str(workspace.host(gone.id).parent)
    expected = (
        Leftover(kind="container", name=name, reason="its loop is gone", key=gone.id),
        Leftover(kind="runtime", name=runtime, reason="sockets and notes of a loop that is gone", key=runtime),
    )
    assert await sweep.sweep(remove=False) == expected
    assert await sweep.sweep(remove=True) == expected
    assert set(await manager.sandboxes.containers()) == {kept.id}
    assert workspace.host(kept.id).exists()
    assert not workspace.host(gone.id).parent.exists()
    assert await sweep.find() == ()
    # F6, for the network: what was on it goes with it, and both are made again.
    name = network_name(workspace.name)
    await manager.engine.run("network", "rm", "--force", name)
    assert await manager.sandboxes.containers() == {}
    await manager.start(kept)
    # The network goes when no sandbox needs it.
    await manager.delete(kept.id, force=True)
    assert await sweep.sweep(remove=True) == (
        Leftover(kind="network", name=name, reason="no loop has a sandbox", key=name),
    )
    # The next start makes it before anything else.
    assert not was_ensured(workspace)
    assert await sweep.find() == ()


@pytest.mark.podman
@pytest.mark.lonely
async def test_a_container_with_our_label_that_does_not_mount_our_files_stays(
    manager: LoopManager, sandbox_image: str
) -> None:
    """A workspace of the same name in another folder has the same label."""
    loop_id, name = str(uuid.uuid4()), manager.workspace.name
    labels = (f"--label={LABEL_WORKSPACE}={name}", f"--label={LABEL_LOOP}={loop_id}")
    mount = f"--volume=/usr/share:{sandbox_workdir(loop_id)}:ro"
    container = container_name(name, loop_id)
    create = ["podman", "create", f"--name={container}", *labels, mount, "--network=none", sandbox_image]
    subprocess.run(create, check=True, capture_output=True, timeout=120)
    sweep, _ = sweeper(manager)
    assert await sweep.sweep(remove=True) == ()
    assert loop_id in await manager.sandboxes.containers()


async def test_images_logs_and_runtime_folders_go(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    async def of_a_killed_build(_: object) -> list[Unfinished]:
        return [Unfinished("id-of-it", "x-working-container")]

    monkeypatch.setattr(sweep_module, "find_unfinished", of_a_killed_build)
    engine = FakeEngine(no_network)
    manager = LoopManager(workspace, Config(image=ImageConfig(use="x")), engine, member="ada")
    kept = manager.create(title="Kept")
    for folder in (workspace.host(kept.id), workspace.runtime / "0123456789ab" / "host", workspace.runtime / "other"):
        folder.mkdir(parents=True)
    old, new = workspace.runtime / "build-old.log", workspace.runtime / "build-new.log"
    for log in (old, new):
        log.write_text("STEP 1\n")
    os.utime(old, (1, old.stat().st_mtime - LOG_KEPT_S - 60))
    images = (StoredImage("f00", ("localhost/old:latest", "localhost/x"), 7), StoredImage("bar", (), 5))
    in_use = StoredImage("baz", ("localhost/in-use:latest",), 5)
    sweep, store = sweeper(manager, *images, in_use)
    store.stays = in_use.id
    found = await sweep.sweep(remove=True)
    assert [(leftover.kind, leftover.name) for leftover in found] == [
        ("build", "x-working-container"),
        ("image", "localhost/old:latest"),
        ("image", "bar (an unfinished build)"),
        ("runtime", str(workspace.runtime / "0123456789ab")),
        ("log", str(old)),
    ]
    assert ("rm", "--force", "--ignore", "id-of-it") in engine.calls
    assert store.removed == list(images)
    assert {entry.name for entry in workspace.runtime.iterdir()} == {
        "changes",
        "locks",
        "other",
        "build-new.log",
        workspace.host(kept.id).parent.name,
    }


async def test_a_workspace_that_was_never_used_has_nothing(workspace: Workspace) -> None:
    engine = FakeEngine(no_network)
    manager = LoopManager(workspace, Config(image=ImageConfig(use="x")), engine, member="ada")
    workspace.loops.rmdir()
    sweep, _ = sweeper(manager)
    assert await sweep.find() == ()
