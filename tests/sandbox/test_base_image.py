from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psutil
import pytest

from loopat_jupyter.errors import EngineError, ImageBuildError
from loopat_jupyter.sandbox.base_image import BaseImage
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.workspace.config import ImageConfig
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

SETTINGS = ImageConfig(base="example/debian", suite="bookworm")
MADE = "localhost/loopat-base:bookworm"


def engine_with(*present: str, pulls: bool = False) -> FakeEngine:
    def answers(arguments: tuple[str, ...]) -> Completed:
        if arguments[:2] == ("image", "exists"):
            return Completed(0 if arguments[2] in present else 1, b"", "")
        if arguments[0] == "pull" and not pulls:
            raise EngineError("Podman failed to pull: no such host.")
        return Completed(0, b"", "")

    return FakeEngine(answers)


def script(tmp_path: Path, body: str) -> str:
    """A stand-in for mmdebstrap; its last argument is the tar to write."""
    path = tmp_path / "mmdebstrap"
    path.write_text(f"#!/bin/bash\nPATH=/usr/bin:/bin\ntar=${{@: -1}}\n{body}\n")
    path.chmod(0o755)
    return str(path)


def ignore(line: str) -> None:
    pass


async def test_a_base_that_is_there_is_used(workspace: Workspace):
    engine = engine_with("example/debian")
    assert await BaseImage(workspace, engine, SETTINGS).ensure(ignore) == "example/debian"
    assert engine.calls == [("image", "exists", "example/debian")]


async def test_a_missing_base_is_pulled(workspace: Workspace):
    engine = engine_with(pulls=True)
    assert await BaseImage(workspace, engine, SETTINGS).ensure(ignore) == "example/debian"
    assert engine.calls[1] == ("pull", "--quiet", "example/debian")


async def test_a_fresh_one_is_asked_for_and_the_old_one_will_do(workspace: Workspace):
    engine = engine_with("example/debian")
    assert await BaseImage(workspace, engine, SETTINGS).ensure(ignore, fresh=True) == "example/debian"
    assert engine.verbs == ["image", "pull"]


async def test_a_base_made_before_is_used_when_no_registry_is_reached(workspace: Workspace, tmp_path: Path):
    engine = engine_with(MADE)
    base = BaseImage(workspace, engine, SETTINGS, mmdebstrap=script(tmp_path, "exit 1"))
    assert await base.ensure(ignore) == MADE
    assert engine.verbs == ["image", "pull", "image"]


async def test_a_base_is_made_from_packages(workspace: Workspace, tmp_path: Path):
    engine = engine_with()
    lines: list[str] = []
    maker = script(tmp_path, 'echo "$@" >&2; echo whole >"$tar"')
    assert await BaseImage(workspace, engine, SETTINGS, mmdebstrap=maker).ensure(lines.append) == MADE
    tar = workspace.cache / "base-bookworm.tar"
    assert engine.calls[-1] == ("import", str(tar), MADE)
    assert not tar.exists()
    assert lines[0] == "example/debian cannot be pulled: Podman failed to pull: no such host."
    assert lines[-1].startswith("--mode=unshare --variant=minbase --include=ca-certificates")
    assert lines[-1].endswith(f"bookworm {tar}")


async def test_without_the_maker_the_package_is_named(workspace: Workspace, tmp_path: Path):
    base = BaseImage(workspace, engine_with(), SETTINGS, mmdebstrap=str(tmp_path / "none"))
    with pytest.raises(ImageBuildError, match=r"no such host\. .*sudo apt install mmdebstrap"):
        await base.ensure(ignore)


async def test_a_failing_maker_is_told_with_its_last_words(workspace: Workspace, tmp_path: Path):
    maker = script(tmp_path, 'echo half >"$tar"; echo no mirror >&2; exit 25')
    with pytest.raises(ImageBuildError, match="mmdebstrap failed to make the base image: no mirror") as caught:
        await BaseImage(workspace, engine_with(), SETTINGS, mmdebstrap=maker).ensure(ignore)
    assert (caught.value.returncode, caught.value.stderr) == (25, "no mirror")
    assert list(workspace.cache.iterdir()) == []


async def test_cancelling_ends_the_maker_and_removes_the_tar(workspace: Workspace, tmp_path: Path):
    maker = script(tmp_path, 'echo half >"$tar"; sleep 600 & echo "$!"; wait')
    children: list[int] = []
    started = asyncio.Event()

    def listen(line: str) -> None:
        if line.isdigit():
            children.append(int(line))
            started.set()

    base = BaseImage(workspace, engine_with(), SETTINGS, mmdebstrap=maker)
    making = asyncio.create_task(base.ensure(listen))
    await started.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert not any(psutil.pid_exists(child) and psutil.Process(child).status() != "zombie" for child in children)
    assert list(workspace.cache.iterdir()) == []
