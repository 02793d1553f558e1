"""Looks at the images that a project's build takes something of, before it does; those that are missing are pulled."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.project.containerfile import refused
from loopat_jupyter.sandbox.project_images import is_of_other_project
from loopat_jupyter.sandbox.pulling import pull
from loopat_jupyter.sandbox.triggers import has_triggers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loopat_jupyter.project.references import Reference
    from loopat_jupyter.sandbox.images import Images
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.paths import Workspace

_OF_THIS_MACHINE = re.compile(r"(?:localhost|[\w.-]*\.localhost|[\d.]+)(?::\d+)?/", re.IGNORECASE | re.ASCII)
"""A registry by its number, or on this machine. Only a local image may be called so."""


async def look_at_images(
    engine: Engine,
    images: Images,
    workspace: Workspace,
    loop_id: str,
    references: Iterable[Reference],
    *,
    networked: bool,
    on_line: Callable[[str], None],
) -> None:
    """See to it that a build upon images takes nothing that is not its loop's, and does what was read and no more.

    The build that follows must pull none: it takes what was looked at.

    Args:
        engine: Runs podman.
        images: Find images.
        workspace: Where the loop is.
        loop_id: The loop of the project.
        references: What its Containerfile names.
        networked: Whether what is missing may be pulled.
        on_line: Told of each pull; where one fails, the build says what it lacks.

    Raises:
        BadInputError: An image is missing and must not be pulled, holds files of another loop's project, or has
            instructions of its own for builds upon it.
        EngineError: Podman could not say.
        StorageFullError: No space for an image.
    """
    for reference in references:
        image_id = await images.find(reference.name)
        if image_id is None and not reference.optional:
            await _pull(engine, reference.name, networked=networked, on_line=on_line)
            image_id = await images.find(reference.name)
        if image_id is None:
            continue
        labels = await engine.run("image", "inspect", "--format={{json .Labels}}", image_id, doing="inspect the image")
        if is_of_other_project(msgspec.json.decode(labels.stdout), workspace, loop_id):
            raise refused(f"{reference.name!r} has files of another loop's project. Name another image")
        triggers = await has_triggers(engine, image_id) if reference.base else False
        if triggers is None:
            raise refused(
                f"podman's own storage does not tell whether {reference.name!r} brings instructions along (ONBUILD). "
                "Remove that image and pull it anew, or name another one"
            )
        if triggers:
            raise refused(
                f"{reference.name!r} brings instructions along (ONBUILD), which podman would run for you too. Name "
                "another image, and write down what you need of them"
            )


async def _pull(engine: Engine, name: str, *, networked: bool, on_line: Callable[[str], None]) -> None:
    if not networked:
        raise refused(
            f"the image {name!r} is not there, and is not pulled for a loop without network. Run `podman pull {name}`, "
            "then try again"
        )
    if _OF_THIS_MACHINE.match(name):
        raise refused(
            f"the image {name!r} is not there, and is not pulled from this machine or from a number. Build, load or "
            "pull it under this name, then try again"
        )
    on_line(f"Pulling {name}")
    for line in (await pull(engine, name)).splitlines():
        on_line(line)
