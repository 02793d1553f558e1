from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import BadInputError, EngineError
from loopat_jupyter.project import bases
from loopat_jupyter.project.bases import look_at_images
from loopat_jupyter.project.references import Reference
from loopat_jupyter.sandbox.images import Images
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sandbox.project_images import LABEL_OF_WORKSPACE, LABEL_PROJECT
from loopat_jupyter.workspace.config import Config
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace

LOOP = "0123456789ab-cdef"
MISSING = Completed(125, b"", "Error: inspecting object: x: image not known")


class Store(FakeEngine):
    """A podman with images, and others that it can pull."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(self._answer)
        self.workspace = workspace
        self.labels: dict[str, dict[str, str] | None] = {}
        self.elsewhere: set[str] = set()
        self.lines: list[str] = []

    def _answer(self, arguments: tuple[str, ...]) -> Completed:
        name = arguments[-1]
        if arguments[0] == "pull":
            if name not in self.elsewhere:
                raise EngineError("Podman failed.", stderr="one\nno such repository")
            self.labels[name] = None
            return Completed(0, b"", "")
        if arguments[2] == "--format={{.Id}}":
            return Completed(0, f"id-{name}\n".encode(), "") if name in self.labels else MISSING
        return Completed(0, json.dumps(self.labels[name.removeprefix("id-")]).encode(), "")

    @property
    def pulled(self) -> list[str]:
        return [call[-1] for call in self.calls if call[0] == "pull"]

    async def look_at(self, *references: Reference, networked: bool = True) -> None:
        images = Images(self.workspace, self, Config())
        await look_at_images(
            self, images, self.workspace, LOOP, references, networked=networked, on_line=self.lines.append
        )


@pytest.fixture
def store(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty one, in which no image brings instructions along."""

    async def has_triggers(_: object, image_id: str) -> bool | None:
        return {"id-triggers": True, "id-unknown": None}.get(image_id, False)

    monkeypatch.setattr(bases, "has_triggers", has_triggers)
    return Store(workspace)


def source(name: str, *, base: bool = False, optional: bool = False) -> Reference:
    return Reference(name, base, optional)


async def test_what_is_missing_is_pulled_before_it_is_looked_at(store: Store):
    store.labels = {"there": {"x": "y"}}
    store.elsewhere = {"triggers", "python:3.13"}
    await store.look_at(source("there", base=True), source("python:3.13"), source("stage", optional=True))
    assert (store.pulled, store.lines) == (["python:3.13"], ["Pulling python:3.13"])
    with pytest.raises(BadInputError, match="'triggers' brings instructions along"):
        await store.look_at(source("triggers", base=True))


async def test_what_cannot_be_pulled_is_told_by_the_build(store: Store):
    await store.look_at(source("none", base=True))
    assert store.lines == ["Pulling none", "one", "no such repository"]


async def test_nothing_is_pulled_for_a_loop_without_network(store: Store):
    store.labels, store.elsewhere = {"there": None}, {"other"}
    await store.look_at(source("there", base=True), networked=False)
    with pytest.raises(BadInputError, match="without network. Run `podman pull other`"):
        await store.look_at(source("other", base=True), networked=False)
    assert store.pulled == []


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "a.localhost:80", "127.0.0.1", "10.0.0.1:80"])
async def test_no_registry_of_this_machine_is_asked(store: Store, host: str):
    with pytest.raises(BadInputError, match="not pulled from this machine"):
        await store.look_at(source(f"{host}/x"))
    assert store.pulled == []


@pytest.mark.parametrize("loop_id", [LOOP, "another-loop"])
@pytest.mark.parametrize("own", [True, False])
async def test_an_image_with_files_of_another_loop_s_project_is_refused(store: Store, loop_id: str, own: bool):
    workspace = store.workspace.key if own else "another"
    store.labels = {"tagged": {LABEL_PROJECT: loop_id, LABEL_OF_WORKSPACE: workspace}}
    if own and loop_id == LOOP:
        await store.look_at(source("tagged"))
        return
    with pytest.raises(BadInputError, match="'tagged' has files of another loop's project"):
        await store.look_at(source("tagged"))


async def test_instructions_that_an_image_brings_along_are_refused(store: Store):
    store.labels = {"triggers": None, "unknown": None}
    # Only what is built upon it runs them.
    await store.look_at(source("triggers"), source("unknown"))
    with pytest.raises(BadInputError, match="'triggers' brings instructions along"):
        await store.look_at(source("triggers", base=True))
    with pytest.raises(BadInputError, match="does not tell whether 'unknown' brings"):
        await store.look_at(source("unknown", base=True))
