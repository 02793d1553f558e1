"""What a site has fixed binds loops too: their own choices of it are refused, and those made before do not count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.values import Resources

if TYPE_CHECKING:
    from loopat_jupyter.models import LoopConfig, LoopRecord
    from loopat_jupyter.workspace.config import Config

_OF_LOOPS = ("network", "isolation", "shared_tmp")
_RESOURCES = Resources.__struct_fields__
_IMAGE = "image.use"


def _overridden(own: LoopConfig, image: str | None, config: Config) -> tuple[str, ...]:
    """Keys of the configuration that a loop's own choices contradict, and that the site has fixed."""
    asked = {
        **{key: (getattr(own, key), getattr(config, key)) for key in _OF_LOOPS},
        **{f"resources.{key}": (getattr(own.resources, key), getattr(config.resources, key)) for key in _RESOURCES},
        _IMAGE: (image, config.image.use),
    }
    return tuple(
        key
        for key, (mine, sites) in asked.items()
        if mine not in (None, sites) and any(key == each or key.startswith(f"{each}.") for each in config.fixed)
    )


def check_choices(own: LoopConfig, image: str | None, config: Config) -> None:
    """Refuse what a loop may not choose for itself.

    Args:
        own: What it is to decide for itself.
        image: The image that it is to run.
        config: The settings, with what the site has fixed.

    Raises:
        BadInputError: The site has fixed it; names the field.
    """
    for key in _overridden(own, image, config):
        field = "image" if key == _IMAGE else f"config.{key}"
        raise BadInputError(field, f"is fixed by the site, for all loops. Leave it out, or ask who set {key!r}")


def bound(record: LoopRecord, config: Config) -> LoopRecord:
    """A loop without those of its own choices that the site has fixed since.

    Args:
        record: The loop.
        config: The settings, with what the site has fixed.
    """
    keys = _overridden(record.config, record.image, config)
    if not keys:
        return record
    own = dict.fromkeys(key for key in keys if key in _OF_LOOPS)
    resources = dict.fromkeys(key.partition(".")[2] for key in keys if key.startswith("resources."))
    changed = msgspec.structs.replace(
        record.config, **own, resources=msgspec.structs.replace(record.config.resources, **resources)
    )
    return msgspec.structs.replace(record, config=changed, image=None if _IMAGE in keys else record.image)


def fixed_warnings(record: LoopRecord, config: Config) -> tuple[str, ...]:
    """What to tell of a loop whose own choices do not count any more.

    Args:
        record: The loop.
        config: The settings, with what the site has fixed.
    """
    keys = ", ".join(_overridden(record.config, record.image, config))
    return (f"The site has fixed {keys} for all loops; what this loop was made with does not count.",) if keys else ()
