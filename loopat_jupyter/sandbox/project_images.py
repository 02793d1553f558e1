"""Images that were built for the project in one loop: names, labels, and which of them nobody needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.errors import LoopatError
from loopat_jupyter.sandbox.images import StoredImage, images_in_use
from loopat_jupyter.workspace.records import LoopStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.paths import Workspace

LABEL_PROJECT = "loopat.project"
"""The loop whose project an image was built for."""
LABEL_OF_WORKSPACE = "loopat.project-workspace"
"""The workspace of that loop: images belong to the user, and other workspaces have other loops."""


PROJECT_IMAGE = "loopat-project-"
"""How the names of these images begin, behind `localhost/`."""


def project_image(loop_id: str) -> str:
    """The name of the image of a loop's project.

    Args:
        loop_id: The loop.
    """
    return f"localhost/{PROJECT_IMAGE}{loop_id[:12].rstrip('-')}:latest"


def project_labels(workspace: Workspace, loop_id: str) -> tuple[str, ...]:
    """Arguments of `podman build` by which an image is known as that of a loop's project.

    Args:
        workspace: Where the loop is.
        loop_id: The loop.
    """
    return (f"--label={LABEL_PROJECT}={loop_id}", f"--label={LABEL_OF_WORKSPACE}={workspace.key}")


def is_of_other_project(labels: Mapping[str, str] | None, workspace: Workspace, loop_id: str) -> bool:
    """Whether an image was built for the project of another loop, or upon such an image: labels are handed on.

    Args:
        labels: Of the image.
        workspace: Where the loop is.
        loop_id: The loop.
    """
    labels = labels or {}
    named = labels.get(LABEL_PROJECT) or labels.get(LABEL_OF_WORKSPACE)
    own = labels.get(LABEL_PROJECT) == loop_id and labels.get(LABEL_OF_WORKSPACE) == workspace.key
    return bool(named) and not own


async def lost_project_images(engine: Engine, workspace: Workspace) -> list[StoredImage]:
    """Images of projects whose loop is gone, and that no container and no other loop of the workspace uses.

    None at all while a record cannot be read: nobody knows what image that loop uses.

    Args:
        engine: Runs podman.
        workspace: Whose projects.

    Raises:
        EngineError: Podman could not say.
    """
    label = f"--filter=label={LABEL_OF_WORKSPACE}={workspace.key}"
    listed = await engine.run("images", label, "--format=json", doing="list images of projects")
    # Loops are looked at after the images: one whose image is listed is there by then.
    entries = {entry["Id"]: entry for entry in msgspec.json.decode(listed.stdout or b"[]")}
    loops = workspace.loop_ids()
    lost = [
        StoredImage(image_id, tuple(sorted(entry.get("Names") or ())), int(entry["Size"]))
        for image_id, entry in entries.items()
        if (entry.get("Labels") or {}).get(LABEL_PROJECT) not in loops
    ]
    if not lost:
        return []
    wanted, store = set(), LoopStore(workspace)
    for stamp in store.stamps():
        try:
            wanted.add(store.read(stamp.loop_id).image)
        except LoopatError:
            return []
    in_use = await images_in_use(engine)
    return [image for image in lost if image.id not in in_use and wanted.isdisjoint(image.names)]
