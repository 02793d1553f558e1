"""What of the image that a project asks for the site leaves to loops. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.sandbox.project_images import project_image
from loopat_jupyter.workspace.fixed import is_image_allowed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopat_jupyter.project.wishes import ProjectFile
    from loopat_jupyter.workspace.config import Config

FIXED_IMAGE = "the image is fixed by the site, for all loops. Ask who set 'image.use'"


def as_allowed(found: Iterable[ProjectFile], config: Config, loop_id: str) -> tuple[ProjectFile, ...]:
    """What a project asks for, in which an image that the site does not allow is not honoured.

    Args:
        found: What it asks for.
        config: The settings, with what the site has fixed.
        loop_id: The loop.
    """
    return tuple(
        msgspec.structs.replace(entry, honoured=False, note=f"Not honoured: {FIXED_IMAGE}.")
        if (image := _image_of(entry, loop_id)) is not None and not is_image_allowed(image, config)
        else entry
        for entry in found
    )


def _image_of(entry: ProjectFile, loop_id: str) -> str | None:
    """The image that the loop would run; None where it is not about that."""
    if entry.kind == "image" and isinstance(entry.value, str):
        return entry.value
    return project_image(loop_id) if entry.kind == "build" else None
