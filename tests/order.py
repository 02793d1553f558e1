"""How workers share the tests out, as a pytest plugin: by module, long ones first, so that all end at the same time.

Those of the face that share a server and a page are one share: another worker would have to open JupyterLab again.
"""

from __future__ import annotations

import itertools
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

PLAIN_S, PODMAN_S, BROWSER_S = 0.02, 1.2, 5.0
"""How long a test of each kind usually takes."""

APART = ("test_client.py", "test_trouble.py", "test_welcome.py")
"""Modules of the face without a part in its shared server."""


def share(path: str) -> str:
    """The name of the share that a module belongs to."""
    module = PurePath(path)
    return str(module.parent) if module.parent.name == "labextension" and module.name not in APART else path


def usual_s(items: list[pytest.Item]) -> float:
    """How long tests of one kind probably take, in seconds."""
    of_podman = sum(item.get_closest_marker("podman") is not None for item in items)
    browser = "labextension" in items[0].path.parts
    return of_podman * (BROWSER_S if browser else PODMAN_S) + (len(items) - of_podman) * PLAIN_S


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    shares: dict[str, list[pytest.Item]] = {}
    for item in items:
        shares.setdefault(share(str(item.path)), []).append(item)
    # Those in a browser take longest.
    ordered = sorted(shares.values(), key=lambda items: ("labextension" not in items[0].path.parts, -usual_s(items)))
    items[:] = itertools.chain.from_iterable(ordered)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Give each worker the next share."""
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Shares(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return share(nodeid.partition("::")[0])

    return Shares(config, log)
