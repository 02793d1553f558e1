"""Whether an image brings instructions along that podman runs in every build upon it (`ONBUILD`).

`podman image inspect` does not tell them, whatever the format of the image. So its configuration is read where podman
keeps it. Go takes names in JSON in capitals and in small letters, and the last of several or parts of all.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from typing import TYPE_CHECKING

from loopat_jupyter.sandbox.unfinished import storage_folder

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.sandbox.podman import Engine

LARGEST_CONFIG_BYTES = 4 * 2**20
_TRIGGERS = "onbuild"


async def has_triggers(engine: Engine, image_id: str) -> bool | None:
    """Whether podman runs instructions of an image in builds upon it.

    Args:
        engine: Runs podman.
        image_id: The image, by its whole id.

    Returns:
        None where podman's storage does not tell.

    Raises:
        EngineError: Podman could not say where its storage is.
    """
    return await asyncio.to_thread(_read, await storage_folder(engine), image_id)


def _read(storage: Path, image_id: str) -> bool | None:
    # The folder is called after the driver, each file in it after what it holds.
    answers = [_has_triggers(file) for file in storage.glob(f"*-images/{image_id}/=*") if _is_config(file.name)]
    return None if None in answers or not answers else True in answers


def _is_config(name: str) -> bool:
    try:
        return base64.b64decode(name.removeprefix("="), validate=True).startswith(b"sha256:")
    except binascii.Error:
        return False


def _has_triggers(file: Path) -> bool | None:
    found = False

    def look(pairs: list[tuple[str, object]]) -> None:
        nonlocal found
        found = found or any(
            name.casefold() == _TRIGGERS and isinstance(value, list) and value for name, value in pairs
        )

    try:
        with file.open("rb") as stored:
            data = stored.read(LARGEST_CONFIG_BYTES + 1)
        if len(data) <= LARGEST_CONFIG_BYTES:
            json.loads(data, object_pairs_hook=look)
            return found
    except (OSError, ValueError, RecursionError):
        pass
    return None
