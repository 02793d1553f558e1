"""Which values a field of a request may have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import inspect

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEP = re.compile(r"[^.\[\]]+|\[[^\]]*\]")


def allowed_values(wanted: type, place: str) -> tuple[str, ...]:
    """The values that a field may have, where they are counted.

    Args:
        wanted: What was to be decoded.
        place: Path of the field, such as `config.network`.
    """
    kinds = list(_each(inspect.type_info(wanted)))
    for step in _STEP.findall(place):
        kinds = [each for kind in kinds for inner in _inside(kind, step) for each in _each(inner)]
    return tuple(str(value) for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values)


def _each(kind: inspect.Type) -> Iterator[inspect.Type]:
    """One type, or those of which it is a choice."""
    if isinstance(kind, inspect.Metadata):
        yield from _each(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from _each(each)
    else:
        yield kind


def _inside(kind: inspect.Type, step: str) -> Iterator[inspect.Type]:
    if isinstance(kind, inspect.StructType):
        yield from (field.type for field in kind.fields if field.encode_name == step)
    elif isinstance(kind, inspect.DictType):
        yield kind.value_type
    elif isinstance(kind, inspect.CollectionType):
        yield kind.item_type
