from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import BadInputError, ImageBuildError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import LoopConfig
from loopat_jupyter.project import ProjectFile, build, build_project
from loopat_jupyter.project.build import copy_context
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.workspace.config import Config, ImageConfig
from tests.fakes import FakeEngine
from tests.sandbox.saying import said
from tests.small_image import podman

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace
    from tests.conftest import Nest

pytestmark = pytest.mark.lonely


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    made = tmp_path / "workdir"
    (made / "sub").mkdir(parents=True)
    (made / ".git").mkdir()
    (made / ".git" / "config").write_text("not for a build")
    (made / "sub" / "run").write_text("#!/bin/sh")
    (made / "sub" / "run").chmod(0o755)
    return made


def test_a_context_is_copied_without_following_a_link(workdir: Path, tmp_path: Path):
    (tmp_path / "secret").write_text("secret")
    (workdir / "link").symlink_to(tmp_path / "secret")
    (workdir / "out").symlink_to(tmp_path)
    (workdir / ".dockerignore").symlink_to(tmp_path / "secret")
    os.mkfifo(workdir / "fifo")
    target = tmp_path / "copy"
    copy_context(workdir, ".", target)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == ["link", "out", "sub", "sub/run"]
    assert (target / "link").is_symlink()
    assert os.access(target / "sub" / "run", os.X_OK)


@pytest.mark.parametrize("nesting", [("d", 3000, "nested deeper"), ("x" * 250, 17, "too long a path")])
def test_a_context_is_not_nested_deeply(workdir: Path, tmp_path: Path, nest: Nest, nesting: tuple[str, int, str]):
    name, levels, problem = nesting
    nest(workdir, name, levels)
    with pytest.raises(BadInputError, match=problem):
        copy_context(workdir, ".", tmp_path / "copy")


def test_a_context_has_a_limit(workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build, "LARGEST_CONTEXT_BYTES", 5)
    with pytest.raises(BadInputError, match="more than 0 MiB"):
        copy_context(workdir, ".", tmp_path / "copy")
    monkeypatch.undo()
    monkeypatch.setattr(build, "MOST_CONTEXT_ENTRIES", 1)
    with pytest.raises(BadInputError, match="more than 1 files"):
        copy_context(workdir, ".", tmp_path / "other")


@pytest.mark.parametrize("place", ["none", "link", "link/inner", "sub/run"])
def test_a_context_that_is_no_folder_of_the_project_is_refused(workdir: Path, tmp_path: Path, place: str):
    outside = tmp_path / "outside" / "inner"
    outside.mkdir(parents=True)
    (outside / "secret").write_text("secret")
    (workdir / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(BadInputError, match="no folder"):
        copy_context(workdir, place, tmp_path / "copy")


def wanted(**value: str) -> ProjectFile:
    return ProjectFile(file="d", kind="build", honoured=True, note="", value={"context": ".", **value})


async def make(manager: LoopManager, record: LoopRecord, entry: ProjectFile) -> str:
    return await build_project(
        manager.workspace,
        manager.engine,
        manager.images,
        manager.config,
        record=record,
        wanted=entry,
        tell=lambda _: None,
    )


@pytest.mark.podman
@pytest.mark.lonely
async def test_a_loop_runs_in_the_image_that_its_project_describes(manager: LoopManager, small_image: str):
    record = manager.create(title="Project")
    workdir = manager.workspace.workdir(record.id)
    (workdir / "content").write_text("from the project")
    (workdir / "Dockerfile").write_text(f"FROM {small_image}\nCOPY content /opt/content\n")
    image = await make(manager, record, wanted(dockerfile="Dockerfile"))
    try:
        changed = await manager.update(record.id, {"image": image})
        assert await said(manager, changed, "cat", "/opt/content") == "from the project"
        await manager.delete(record.id)
    finally:
        await manager.engine.run("rmi", "--force", image)
    assert not list(manager.workspace.cache.glob("project-*"))


@pytest.mark.podman
@pytest.mark.lonely
async def test_a_build_reaches_what_its_loop_reaches(manager: LoopManager, small_image: str):
    lonely = manager.create(title="Project", config=LoopConfig(network="none"))
    networked = manager.create(title="Project", config=LoopConfig(network="bridge"))
    seen = {}
    for record in (lonely, networked):
        # Of each build its own, so that no step is found in the cache.
        text = f"FROM {small_image}\nRUN : {record.id} && cat /proc/net/dev && exit 3\n"
        (manager.workspace.workdir(record.id) / "Dockerfile").write_text(text)
        with pytest.raises(ImageBuildError) as failure:
            await make(manager, record, wanted(dockerfile="Dockerfile"))
        lines = failure.value.stderr.splitlines()
        seen[record.id] = {line.partition(":")[0].strip() for line in lines if re.match(r" *\w+: *\d", line)}
    assert seen[lonely.id] == {"lo"}
    assert seen[networked.id] > {"lo"}


async def test_a_mount_that_may_lead_anywhere_is_refused_by_an_old_podman(workspace: Workspace):
    answer = Completed(0, b'{"Client": {"Version": "5.3.1"}}', "")
    manager = LoopManager(workspace, Config(image=ImageConfig(use="x")), FakeEngine(lambda _: answer), member="ada")
    record = manager.create(title="Project")
    dockerfile = manager.workspace.workdir(record.id) / "Dockerfile"
    dockerfile.write_text("FROM scratch\nRUN --mount=type=cache,id=../../x,target=/x true\n")
    with pytest.raises(BadInputError, match=r"podman 5\.3\.1 does not check .* use podman 5\.3\.2 or newer"):
        await make(manager, record, wanted(dockerfile="Dockerfile"))
    assert manager.engine.verbs == ["version"]


@pytest.mark.podman
@pytest.mark.lonely
async def test_a_build_fetches_nothing_from_the_host(manager: LoopManager, small_image: str):
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ncanary")
        writer.close()

    record = manager.create(title="Project", config=LoopConfig(network="none"))
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    address = f"http://127.0.0.1:{port}/{record.id}"
    try:
        for instruction in (f"ADD {address} /x", f"ARG A={address}\nADD $A /x"):
            (manager.workspace.workdir(record.id) / "Dockerfile").write_text(f"FROM {small_image}\n{instruction}\n")
            with pytest.raises(BadInputError, match="may have an address"):
                await make(manager, record, wanted(dockerfile="Dockerfile"))
    finally:
        server.close()
    assert asked == []


@pytest.mark.podman
@pytest.mark.lonely
async def test_a_build_takes_nothing_of_another_loop_s_project(manager: LoopManager, small_image: str):
    owner, other = (manager.create(title="Project", config=LoopConfig(network="none")) for _ in range(2))
    (manager.workspace.workdir(owner.id) / "secret").write_text("canary")
    (manager.workspace.workdir(owner.id) / "Dockerfile").write_text(f"FROM {small_image}\nCOPY secret /secret\n")
    image, name = await make(manager, owner, wanted(dockerfile="Dockerfile")), f"loopat-tests-{other.id}"
    await manager.engine.run("tag", image, f"localhost/{name}:latest")
    try:
        image_id = await manager.images.find(image) or ""
        for reference in (image, image.partition("/")[2], name, image_id, image_id[:12]):
            dockerfile = manager.workspace.workdir(other.id) / "Dockerfile"
            dockerfile.write_text(f"FROM {reference}\nRUN : {reference} && cat /secret && exit 3\n")
            with pytest.raises(BadInputError, match="another loop's project|may be the id"):
                await make(manager, other, wanted(dockerfile="Dockerfile"))
    finally:
        await manager.engine.run("rmi", "--force", image, name)


@pytest.mark.podman
@pytest.mark.lonely
async def test_a_build_runs_no_instructions_that_an_image_brings_along(manager: LoopManager, tmp_path: Path):
    record = manager.create(title="Project", config=LoopConfig(network="none"))
    image = f"localhost/loopat-tests-{record.id}:latest"
    (tmp_path / "Containerfile").write_text(f"FROM scratch\nCOPY . /{record.id}\nONBUILD COPY added /added\n")
    podman("build", "--quiet", "--layers=false", "--format=docker", f"--tag={image}", str(tmp_path))
    workdir = manager.workspace.workdir(record.id)
    (workdir / "added").touch()
    (workdir / "Dockerfile").write_text(f"FROM {image}\n")
    try:
        with pytest.raises(BadInputError, match="brings instructions along"):
            await make(manager, record, wanted(dockerfile="Dockerfile"))
    finally:
        podman("rmi", image)


@pytest.mark.podman
@pytest.mark.lonely
async def test_a_mount_leads_to_no_folder_of_the_host(manager: LoopManager, small_image: str, tmp_path: Path):
    record = manager.create(title="Project", config=LoopConfig(network="none"))
    (tmp_path / "secret").write_text("canary")
    # Of each build its own, so that no step is found in the cache.
    (manager.workspace.workdir(record.id) / "Dockerfile").write_text(
        f"FROM {small_image} AS base\nUSER root\nRUN : {record.id} && mkdir /x && ln -s {tmp_path} /x/out\n"
        f"FROM {small_image}\nUSER root\n"
        "RUN --mount=type=bind,from=base,source=/x/out,destination=/exploit,rw "
        "cat /exploit/secret; echo planted >/exploit/planted; exit 3\n"
    )
    with pytest.raises((BadInputError, ImageBuildError)) as failure:
        await make(manager, record, wanted(dockerfile="Dockerfile"))
    assert "canary" not in getattr(failure.value, "stderr", "")
    assert not (tmp_path / "planted").exists()


@pytest.mark.podman
@pytest.mark.lonely
async def test_a_build_reads_nothing_of_the_host(manager: LoopManager, small_image: str, tmp_path: Path):
    record = manager.create(title="Project")
    workdir = manager.workspace.workdir(record.id)
    (tmp_path / "secret").write_text("canary")
    (workdir / "planted").symlink_to(tmp_path / "secret")
    (workdir / "Dockerfile").write_text(f"FROM {small_image}\nCOPY planted /opt/planted\nRUN cat /opt/planted\n")
    with pytest.raises(ImageBuildError) as failure:
        await make(manager, record, wanted(dockerfile="Dockerfile"))
    assert "canary" not in failure.value.stderr
    (workdir / "Linked").symlink_to(tmp_path / "secret")
    with pytest.raises(BadInputError, match="no plain file"):
        await make(manager, record, wanted(dockerfile="Linked"))
    assert not list(manager.workspace.cache.glob("project-*"))
