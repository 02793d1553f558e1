from __future__ import annotations

import msgspec
import pytest

from loopat_jupyter.models import ContainerFacts
from loopat_jupyter.sandbox.drift import decide, drifted, replaced


def facts(**changes: object) -> ContainerFacts:
    standard = ContainerFacts(
        id="c",
        name="box",
        loop_id="loop",
        config_hash="same",
        image_id="image",
        reference="chosen",
        running=True,
        pid=7,
        alive=True,
    )
    return msgspec.structs.replace(standard, **changes)


STOPPED = {"running": False, "alive": False, "pid": 0}


@pytest.mark.parametrize(
    ("container", "image_id", "active", "decision"),
    [
        (None, "image", False, "create"),
        (None, None, False, "create"),
        (facts(), "image", False, "nothing"),
        (facts(), "image", True, "nothing"),
        (facts(), None, True, "nothing"),
        (facts(**STOPPED), "image", False, "start"),
        (facts(**STOPPED), None, False, "start"),
        (facts(config_hash="other", **STOPPED), "image", False, "replace"),
        (facts(**STOPPED), "newer", False, "replace"),
        (facts(config_hash="other"), "image", False, "replace"),
        (facts(config_hash="other"), "image", True, "restart-needed"),
        (facts(), "newer", False, "replace"),
        (facts(), "newer", True, "restart-needed"),
        (facts(alive=False), "image", False, "replace"),
        (facts(reference="another"), "image", True, "nothing"),
        (facts(reference="another"), None, True, "restart-needed"),
        (facts(reference="another", **STOPPED), None, False, "replace"),
        (facts(reference=""), None, False, "nothing"),
    ],
)
def test_what_ensure_does(container: ContainerFacts | None, image_id: str | None, active: bool, decision: str):
    assert decide(container, "same", "chosen", image_id, active=active) == decision


@pytest.mark.parametrize(
    ("container", "why"),
    [
        (facts(config_hash="other"), "its settings had changed"),
        (facts(image_id="older"), "its image had changed"),
        (facts(config_hash="other", image_id="older"), "its settings and its image had changed"),
        (facts(alive=False), "it could not go on as it was"),
    ],
)
def test_why_a_sandbox_was_replaced_is_told(container: ContainerFacts, why: str):
    assert f"was recreated: {why}. Files" in replaced(container, "same", "image")


def test_a_template_that_nobody_has_built_yet_is_waited_for():
    old, new = "localhost/loopat-sandbox-0123456789ab:latest", "localhost/loopat-sandbox-ba9876543210:latest"
    assert not drifted(facts(reference=old), "same", new, None)
    assert drifted(facts(reference="example/mine"), "same", new, None)
