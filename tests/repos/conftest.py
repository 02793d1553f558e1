"""Loops on real podman that carry a repo and no contexts."""

from __future__ import annotations

import msgspec
import pytest

from loopat_jupyter.loops import LoopManager
from loopat_jupyter.workspace.config import ContextConfig


@pytest.fixture
def manager(manager: LoopManager) -> LoopManager:
    config = msgspec.structs.replace(manager.config, context=ContextConfig(use=False))
    return LoopManager(manager.workspace, config, manager.engine, member="ada")
