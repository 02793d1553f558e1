"""What a site has fixed binds loops too: their own choices of it are refused, and those made before do not count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from loopat_jupyter.errors import BadInputError
from loopat_jupyter.models import LoopConfig
from loopat_jupyter.values import Resources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.config import Config

_OF_LOOPS = ("network", "isolation", "shared_tmp")
_RESOURCES = Resources.__struct_fields__
_IMAGE = "image.use"

Amend: TypeAlias = "Callable[[LoopConfig], LoopConfig]"
"""Makes the new settings of a loop of its present ones."""


def _choices(of: LoopConfig | Config, image: str | None) -> dict[str, Any]:
    """What loops may choose, by key of the configuration."""
    return {
        **{key: getattr(of, key) for key in _OF_LOOPS},
        **{f"resources.{key}": getattr(of.resources, key) for key in _RESOURCES},
        _IMAGE: image,
    }


def _overridden(own: LoopConfig, image: str | None, config: Config) -> tuple[str, ...]:
    """Keys of the configuration that a loop's own choices contradict, and that the site has fixed."""
    sites = _choices(config, config.image.use)
    return tuple(
        key
        for key, mine in _choices(own, image).items()
        if mine not in (None, sites[key]) and any(key == each or key.startswith(f"{each}.") for each in config.fixed)
    )


def check_first_choices(own: LoopConfig, image: str | None, config: Config) -> None:
    """Refuse what a new loop may not choose for itself.

    Args:
        own: What it is to decide for itself.
        image: The image that it is to run.
        config: The settings.

    Raises:
        BadInputError: The site has fixed it, or the workspace does not allow it; names the field.
    """
    if own.all_loops and not config.all_loops:
        raise BadInputError(
            "config.all_loops", "needs `all_loops = true` in config.toml. Set it there, or leave it out"
        )
    check_choices(own, image, config)


def check_changes(record: LoopRecord, changes: Mapping[str, Any], config: Config) -> None:
    """Refuse what a loop may not choose for itself any more.

    What it chose before the site fixed it may stay, for it does not count: other settings can still be changed.

    Args:
        record: The loop as it is.
        changes: What is to change, by field.
        config: The settings.

    Raises:
        BadInputError: The site has fixed it, or it is decided when a loop is made; names the field.
    """
    own: LoopConfig | None = changes.get("config")
    if own is not None and bool(own.all_loops) != bool(record.config.all_loops):
        raise BadInputError("config.all_loops", "is decided when a loop is made. Make a new one for it")
    check_choices(own or LoopConfig(), changes.get("image"), config, before=_choices(record.config, record.image))


def amended(record: LoopRecord, values: Mapping[str, Any], config: Config) -> LoopRecord:
    """A loop with new values.

    Args:
        record: The loop as it is.
        values: What is to change, by field; `config` is a `LoopConfig`, or an `Amend`.
        config: The settings.

    Raises:
        BadInputError: As `check_changes`; or the function refused.
    """
    own: LoopConfig | Amend | None = values.get("config")
    if callable(own):
        values = {**values, "config": own(record.config)}
    check_changes(record, values, config)
    return msgspec.structs.replace(record, **values)


def check_choices(
    own: LoopConfig, image: str | None, config: Config, *, before: Mapping[str, Any] | None = None
) -> None:
    """Refuse what a loop may not choose for itself.

    Args:
        own: What it is to decide for itself.
        image: The image that it is to run.
        config: The settings, with what the site has fixed.
        before: What it decided already, by key of the configuration.

    Raises:
        BadInputError: The site has fixed it; names the field.
    """
    asked, before = _choices(own, image), before or {}
    for key in _overridden(own, image, config):
        if asked[key] == before.get(key):
            continue
        field = "image" if key == _IMAGE else f"config.{key}"
        raise BadInputError(field, f"is fixed by the site, for all loops. Leave it out, or ask who set {key!r}")


def is_image_allowed(image: str, config: Config) -> bool:
    """Whether a loop may choose an image for itself.

    Args:
        image: The image.
        config: The settings, with what the site has fixed.
    """
    return _IMAGE not in _overridden(LoopConfig(), image, config)


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
    told = []
    if keys := ", ".join(_overridden(record.config, record.image, config)):
        told.append(f"The site has fixed {keys} for all loops; what this loop was made with does not count.")
    if record.config.all_loops and not config.all_loops:
        told.append("It does not see the folders of all loops any more: config.toml does not allow it (all_loops).")
    return tuple(told)
