from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.loops import LoopManager
from loopat_jupyter.sandbox.images import StoredImage
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sandbox.project_images import lost_project_images, project_labels
from loopat_jupyter.workspace.config import Config, ImageConfig
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace


def image(image_id: str, loop_id: str) -> dict[str, object]:
    names = [f"localhost/{image_id}:latest"]
    return {"Id": image_id, "Names": names, "Labels": {"loopat.project": loop_id}, "Size": 7}


async def test_an_image_is_lost_once_its_loop_is_gone_and_nothing_uses_it(workspace: Workspace):
    answers: dict[str, list[dict[str, object]]] = {"images": [], "ps": [{"ImageID": "used"}]}
    engine = FakeEngine(lambda arguments: Completed(0, json.dumps(answers[arguments[0]]).encode(), ""))
    manager = LoopManager(workspace, Config(image=ImageConfig(use="x")), engine, member="ada")
    kept, other = manager.create(title="Kept"), manager.create(title="Other")
    manager.store.write(msgspec.structs.replace(other, image="localhost/wanted:latest"))
    gone = "9876fedc-0000-4000-8000-000000000000"
    answers["images"] = [image("kept", kept.id), *(image(name, gone) for name in ("lost", "used", "wanted"))]
    lost = [StoredImage("lost", ("localhost/lost:latest",), 7)]
    assert await lost_project_images(engine, workspace) == lost
    assert f"--filter=label=loopat.project-workspace={workspace.key}" in engine.calls[0]
    # What a loop uses whose record cannot be read, nobody knows.
    workspace.record(kept.id).write_bytes(b"{")
    assert await lost_project_images(engine, workspace) == []


@pytest.mark.podman
@pytest.mark.lonely
async def test_the_image_of_a_deleted_loops_project_is_removed(manager: LoopManager, small_image: str):
    record = manager.create(title="Project")
    workdir = manager.workspace.workdir(record.id)
    (workdir / "Containerfile").write_text(f"FROM {small_image}\nENV PROJECT={record.id}\n")
    name = f"localhost/loopat-project-{record.id}:latest"
    labels = project_labels(manager.workspace, record.id)
    await manager.engine.run("build", f"--tag={name}", "--tag=" + name.replace("latest", "x"), *labels, str(workdir))
    assert await lost_project_images(manager.engine, manager.workspace) == []
    await manager.delete(record.id)
    removed = [left for left in await manager.upkeep.gc(remove=True) if left.reason == "its project's loop is gone"]
    assert [left.names for left in removed] == [(name, name.replace("latest", "x"))]
    assert await manager.images.find(name) is None
    assert await lost_project_images(manager.engine, manager.workspace) == []
