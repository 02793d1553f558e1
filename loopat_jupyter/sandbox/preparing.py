"""Podman's copy of an image with shifted owners, which the first container made from it would wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.models import SANDBOX_UID
from loopat_jupyter.workspace.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.paths import Workspace

PREPARE_TIMEOUT_S = 1800.0
"""The copy takes as long as the disk needs for the whole image, and images of 20 GB are about."""
_QUICK_TIMEOUT_S = 30.0
_KEY_LENGTH = 24


def is_prepared(workspace: Workspace, image_id: str) -> bool:
    """Whether the copy of an image was made since the machine was started. Asks no podman.

    Args:
        workspace: Whose runtime directory holds the notes.
        image_id: The image.
    """
    return _note(workspace, image_id).exists()


def forget_prepared(workspace: Workspace, image_id: str) -> None:
    """Have the copy of an image made sure of again: it may have gone with the image, which came back.

    Args:
        workspace: Whose runtime directory holds the notes.
        image_id: The image.
    """
    _note(workspace, image_id).unlink(missing_ok=True)


async def prepare(engine: Engine, workspace: Workspace, image_id: str) -> None:
    """Make the copy of an image; soon done where it is there. Only under the lock of one of the image's names.

    Args:
        engine: Runs podman.
        workspace: Whose runtime directory holds the notes.
        image_id: The image.

    Raises:
        EngineError: Podman refused.
        EngineTimeoutError: Podman took too long.
        StorageFullError: No space.
    """
    name = f"loopat-prepare-{image_id[:_KEY_LENGTH]}"
    try:
        await engine.run(
            "create",
            f"--name={name}",
            # One may be left over.
            "--replace",
            f"--userns=keep-id:uid={SANDBOX_UID},gid={SANDBOX_UID}",
            "--network=none",
            # A password in a proxy's address is not written into a container, for however short a time.
            "--http-proxy=false",
            "--pull=never",
            # Else each would be made, and nobody would remove them.
            "--image-volume=ignore",
            "--entrypoint=true",
            image_id,
            timeout_s=PREPARE_TIMEOUT_S,
            doing="prepare the image",
        )
    finally:
        remove = ("rm", "--force", "--ignore", "--time=0", "--volumes", name)
        await engine.run(*remove, timeout_s=_QUICK_TIMEOUT_S, doing="remove a left-over container")
    write_atomic(_note(workspace, image_id), b"")


def _note(workspace: Workspace, image_id: str) -> Path:
    return workspace.image_locks / f"{image_id[:_KEY_LENGTH]}.prepared"
