from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sandbox.triggers import LARGEST_CONFIG_BYTES, has_triggers
from tests.fakes import FakeEngine
from tests.small_image import podman

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager

IMAGE = "0123"


def store(storage: Path, name: str, data: bytes) -> None:
    """What podman keeps of an image."""
    folder = storage / "overlay-images" / IMAGE
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"={base64.b64encode(name.encode()).decode()}").write_bytes(data)


def engine(storage: Path) -> FakeEngine:
    return FakeEngine(lambda _: Completed(0, f"{storage}\n".encode(), ""))


@pytest.mark.parametrize(
    ("config", "answer"),
    [
        ({"config": {"OnBuild": ["ADD x /x"]}}, True),
        ({"CONFIG": {"onbuild": ["ADD x /x"]}}, True),
        ({"config": {"OnBuild": []}, "container_config": {"OnBuild": None}}, False),
        ({"config": {"Labels": {"OnBuild": "x"}}}, False),
    ],
)
async def test_what_an_image_brings_along_is_read_in_its_configuration(
    tmp_path: Path, config: object, answer: bool | None
):
    store(tmp_path, "sha256:1", json.dumps(config).encode())
    store(tmp_path, "manifest-sha256:2", b"no configuration")
    assert await has_triggers(engine(tmp_path), IMAGE) is answer


async def test_nothing_hides_what_is_said_before_or_in_other_letters(tmp_path: Path):
    store(tmp_path, "sha256:1", b'{"config": {"OnBuild": ["RUN x"]}, "config": {}}')
    assert await has_triggers(engine(tmp_path), IMAGE) is True
    store(tmp_path, "sha256:1", b'{"config": {"\\u006fnBuil\\u0064": ["RUN x"]}}')
    assert await has_triggers(engine(tmp_path), IMAGE) is True


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b" " * LARGEST_CONFIG_BYTES + b"{}", None])
async def test_what_cannot_be_read_is_not_known(tmp_path: Path, data: bytes | None):
    if data is not None:
        store(tmp_path, "sha256:1", data)
        store(tmp_path, "sha256:2", b"{}")
    assert await has_triggers(engine(tmp_path), IMAGE) is None


@pytest.mark.podman
@pytest.mark.parametrize(("form", "answer"), [("docker", True), ("oci", False)])
async def test_podman_keeps_configurations_there(manager: LoopManager, tmp_path: Path, form: str, answer: bool):
    (tmp_path / "x").touch()
    # Only images of docker's format are built with such instructions.
    (tmp_path / "Containerfile").write_text(f"FROM scratch\nCOPY x /{tmp_path.name}\nONBUILD COPY x /y\n")
    image = podman("build", "--quiet", "--layers=false", f"--format={form}", str(tmp_path))
    try:
        assert await has_triggers(manager.engine, image) is answer
    finally:
        podman("rmi", image)
