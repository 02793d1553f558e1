"""Long modules first, as a pytest plugin: workers that share the modules out then end at the same time."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

PLAIN_S, PODMAN_S, BROWSER_S = 0.02, 1.2, 5.0
"""How long a test of each kind usually takes."""


def usual_s(item: pytest.Item) -> float:
    """How long a test probably takes, in seconds."""
    if item.get_closest_marker("podman") is None:
        return PLAIN_S
    return BROWSER_S if "labextension" in item.path.parts else PODMAN_S


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Those in the browser share a page, and so follow each other.
    modules = [list(group) for _, group in itertools.groupby(items, key=lambda item: item.path)]
    modules.sort(key=lambda module: ("labextension" not in module[0].path.parts, -sum(map(usual_s, module))))
    items[:] = [item for module in modules for item in module]
