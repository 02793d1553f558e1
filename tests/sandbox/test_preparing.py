from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import EngineError
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sandbox.preparing import forget_prepared, is_prepared, prepare
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace


async def test_an_image_is_prepared_without_the_proxies_of_the_host(workspace: Workspace):
    engine = FakeEngine(lambda _: Completed(0, b"", ""))
    await prepare(engine, workspace, workspace.key)
    assert engine.verbs == ["create", "rm"]
    assert "--http-proxy=false" in engine.calls[0]
    assert ("--image-volume=ignore" in engine.calls[0], "--volumes" in engine.calls[1]) == (True, True)
    assert is_prepared(workspace, workspace.key)
    forget_prepared(workspace, workspace.key)
    assert not is_prepared(workspace, workspace.key)


async def test_what_podman_refused_is_not_prepared_and_leaves_no_container(workspace: Workspace):
    def answers(arguments: tuple[str, ...]) -> Completed:
        if arguments[0] == "create":
            raise EngineError("Podman failed to prepare the image: no such image.")
        return Completed(0, b"", "")

    engine = FakeEngine(answers)
    with pytest.raises(EngineError, match="no such image"):
        await prepare(engine, workspace, workspace.key)
    assert engine.verbs == ["create", "rm"]
    assert not is_prepared(workspace, workspace.key)
