"""Pulls an image that somebody chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.errors import EngineError, EngineTimeoutError, StorageFullError
from loopat_jupyter.sandbox.builders import BUILD_TIMEOUT_S

if TYPE_CHECKING:
    from loopat_jupyter.sandbox.podman import Engine


async def pull(engine: Engine, reference: str) -> str:
    """Pull an image, which may take as long as a build.

    Args:
        engine: Runs podman.
        reference: The image.

    Returns:
        What podman said where it cannot be had; empty where it is there now.

    Raises:
        StorageFullError: No space.
    """
    try:
        await engine.run("pull", "--quiet", "--", reference, timeout_s=BUILD_TIMEOUT_S, doing=f"pull {reference}")
    except StorageFullError:
        raise
    except (EngineError, EngineTimeoutError) as error:
        return (isinstance(error, EngineError) and error.stderr) or error.message
    return ""
