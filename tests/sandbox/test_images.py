from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import secrets
import shutil
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from loopat_jupyter.errors import EngineError, ImageBuildError, StorageFullError
from loopat_jupyter.models import LoopRecord, Progress
from loopat_jupyter.sandbox import build
from loopat_jupyter.sandbox.builders import sole_builder
from loopat_jupyter.sandbox.images import Images, StoredImage
from loopat_jupyter.sandbox.podman import Completed, Engine, Podman
from loopat_jupyter.sandbox.state import StateFiles
from loopat_jupyter.sandbox.unfinished import Unfinished, find_unfinished, remove_unfinished
from loopat_jupyter.workspace.config import Config, ImageConfig
from tests.conftest import new_workspace
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

RECORD = LoopRecord(id="0" * 8, title="t", slug="t", created_at=dt.datetime.now(tz=dt.UTC), created_by="ada")
MISSING = Completed(125, b"", "Error: inspecting object: x: image not known")


def ignore(progress: Progress) -> None:
    pass


class GivenBase:
    """A base that is there; `ready` holds the builder up until a test lets it go on."""

    def __init__(self, reference: str = "scratch") -> None:
        self.reference = reference
        self.asked = 0
        self.ready = asyncio.Event()
        self.ready.set()

    async def ensure(self, on_line: Callable[[str], None], *, fresh: bool = False) -> str:
        self.asked += 1
        await self.ready.wait()
        return self.reference


class Tiny:
    """A template of a test's own, its images under a name of its own."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace = workspace
        self.folder = folder
        self.name = f"loopat-test-{secrets.token_hex(4)}"
        self.podman = Podman("podman", os.environ)
        folder.mkdir()
        (folder / "content").write_text(secrets.token_hex(8))
        self.write("COPY content /content")

    def write(self, *instructions: str) -> None:
        text = "\n".join(["ARG BASE", "FROM ${BASE}", "# step: the step", *instructions])
        (self.folder / "Containerfile").write_text(text + "\n")

    def images(self, base: GivenBase | None = None) -> Images:
        config = Config()
        return Images(
            self.workspace, self.podman, config, template=self.folder, name=self.name, base=base or GivenBase()
        )

    async def stored(self) -> set[str]:
        answer = await self.podman.run("images", f"--filter=label=loopat.image={self.name}", "--format=json")
        return {entry["Id"] for entry in json.loads(answer.stdout)}

    async def containers(self) -> list[str]:
        while True:
            # Podman fails to list when a build of somebody else removes its container meanwhile.
            answer = await self.podman.run("ps", "--all", "--external", "--format={{.Names}}", ok=(0, 125))
            if answer.returncode == 0:
                return answer.stdout.decode().split()

    async def remove(self) -> None:
        if stored := await self.stored():
            await self.podman.run("rmi", "--force", *stored)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Podman holds nothing of it: what builds make has a name of its own."""
    made = new_workspace(tmp_path)
    yield made
    shutil.rmtree(made.runtime)


@pytest.fixture
async def tiny(workspace: Workspace, tmp_path: Path) -> AsyncIterator[Tiny]:
    made = Tiny(workspace, tmp_path / "template")
    yield made
    await made.remove()


def test_a_loops_own_image_goes_before_the_configured_and_the_templates(workspace: Workspace):
    engine = FakeEngine(lambda _: MISSING)
    own = LoopRecord(
        id=RECORD.id, title="t", slug="t", created_at=RECORD.created_at, created_by="ada", image="example/own"
    )
    configured = Images(workspace, engine, Config(image=ImageConfig(use="example/configured")))
    plain = Images(workspace, engine, Config())
    assert configured.reference(own) == "example/own"
    assert configured.reference(RECORD) == "example/configured"
    assert plain.reference(RECORD) == plain.template().tag
    assert engine.calls == []


async def test_an_image_that_is_there_takes_one_call(workspace: Workspace):
    engine = FakeEngine(lambda _: Completed(0, b"abc\n", ""))
    images = Images(workspace, engine, Config())
    assert await images.ensure(images.reference(RECORD), ignore) == "abc"
    assert engine.verbs == ["image"]


async def test_a_missing_image_is_looked_for_before_and_under_the_lock_of_its_build(workspace: Workspace):
    engine = FakeEngine(lambda _: MISSING)
    images = Images(workspace, engine, Config(), base=GivenBase())
    with pytest.raises(NotImplementedError):
        await images.ensure(images.template().tag, ignore)
    assert engine.verbs == ["image", "image", "build"]


async def test_a_missing_local_image_is_told_without_a_pull(workspace: Workspace):
    engine = FakeEngine(lambda _: MISSING)
    images = Images(workspace, engine, Config(image=ImageConfig(use="localhost/mine")))
    ways_out = r"localhost/mine is not there .* Loop Settings… → Image .* set 0123abcd --image NAME"
    with pytest.raises(ImageBuildError, match=ways_out) as caught:
        await images.ensure("localhost/mine", ignore, loop="0123abcd")
    assert engine.verbs == ["image", "image"]
    assert images.build_log("localhost/mine").read_text().splitlines()[-1] == caught.value.message


async def test_a_missing_image_is_pulled(workspace: Workspace):
    pulled = False

    def answers(arguments: tuple[str, ...]) -> Completed:
        nonlocal pulled
        if arguments[0] == "pull":
            pulled = True
        return Completed(0, f"{workspace.key}\n".encode(), "") if pulled else MISSING

    engine = FakeEngine(answers)
    seen: list[Progress] = []
    images = Images(workspace, engine, Config())
    log = images.build_log("example/one")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("why it could not be pulled before")
    assert await images.ensure("example/one", seen.append) == workspace.key
    assert not log.exists()
    assert engine.calls[1] == ("pull", "--quiet", "--", "example/one")
    assert seen == [Progress(label="pulling the image"), Progress(label="preparing the image")]


async def test_an_image_that_was_there_is_prepared_once_and_again_when_that_may_have_been_lost(workspace: Workspace):
    engine = FakeEngine(lambda _: Completed(0, f"{workspace.key}\n".encode(), ""))
    images = Images(workspace, engine, Config())
    assert not images.is_ready("example/one", workspace.key)
    for _ in range(2):
        assert await images.ensure("example/one", ignore) == workspace.key
    assert engine.verbs == ["image", "create", "rm", "image"]
    assert images.is_ready("example/one", workspace.key)
    images.forget_ready(workspace.key)
    assert not images.is_ready("example/one", workspace.key)
    assert images.is_ready(images.template().tag, workspace.key)


async def test_an_image_that_cannot_be_pulled_is_told_with_podmans_words(workspace: Workspace):
    def answers(arguments: tuple[str, ...]) -> Completed:
        if arguments[0] == "pull":
            raise EngineError("Podman failed to pull example/one: no such host.")
        return MISSING

    with pytest.raises(EngineError, match="no such host"):
        await Images(workspace, FakeEngine(answers), Config()).ensure("example/one", ignore)


async def test_an_engine_that_fails_otherwise_is_not_taken_for_a_missing_image(workspace: Workspace):
    engine = FakeEngine(lambda _: Completed(125, b"", "Error: database is locked"))
    with pytest.raises(EngineError, match="database is locked"):
        await Images(workspace, engine, Config()).ensure("example/one", ignore)


async def test_progress_of_a_killed_builder_is_not_believed(workspace: Workspace):
    images = Images(workspace, FakeEngine(lambda _: MISSING), Config(), base=GivenBase())
    key = images.template().tag.removeprefix("localhost/").removesuffix(":latest")
    folder = workspace.image_locks / f"{key}"
    with StateFiles(folder).working() as report:
        report(Progress(label="of a dead builder"))
        left = json.loads((folder / "progress.json").read_bytes())
    (folder / "progress.json").write_text(json.dumps({**left, "start_ticks": 1}))
    seen: list[Progress] = []
    with pytest.raises(NotImplementedError):
        await images.build(on_progress=seen.append)
    assert {progress.label for progress in seen} == {"base image"}
    assert not (folder / "progress.json").exists()


async def test_obsolete_images_are_of_other_templates_or_replaced_and_not_in_use(workspace: Workspace):
    def image(name: str, digest: str, created: int, *names: str) -> dict[str, object]:
        labels = {"loopat.template": digest}
        if name.startswith("tools"):
            labels["loopat.toolchain"] = "3" * 12
        return {"Id": name, "Names": list(names) or None, "Labels": labels, "Size": 7, "Created": created}

    images = Images(workspace, FakeEngine(lambda _: MISSING), Config())
    today = images.template()
    listed = [
        image("today", today.digest, 10, today.tag, today.newest_tag),
        image("replaced", today.digest, 5),
        image("under-way", today.digest, 11),
        image("old", "0" * 12, 1, "localhost/loopat-sandbox-000000000000:latest"),
        image("old-used", "1" * 12, 1, "localhost/loopat-sandbox-111111111111:latest"),
        image("old-piece", "2" * 12, 1),
        image("tools", today.digest, 1, "localhost/loopat-tools-333333333333:latest"),
        image("tools-used", today.digest, 1, "localhost/loopat-tools-444444444444:latest"),
    ]
    answers = {"images": listed, "ps": [{"ImageID": "old-used"}, {"ImageID": "tools-used"}]}
    engine = FakeEngine(lambda arguments: Completed(0, json.dumps(answers[arguments[0]]).encode(), ""))
    assert await Images(workspace, engine, Config()).obsolete(unused_for_s=0) == [
        StoredImage("replaced", (), 7),
        StoredImage("old", ("localhost/loopat-sandbox-000000000000:latest",), 7),
        StoredImage("old-piece", (), 7),
        StoredImage("tools", ("localhost/loopat-tools-333333333333:latest",), 7),
    ]
    for young in listed:
        young["Created"] = time.time()
    engine.calls.clear()
    assert await Images(workspace, engine, Config()).obsolete() == []
    assert engine.verbs == ["images"]


async def test_images_are_removed_by_all_their_names_or_by_id_and_what_came_into_use_is_not_gone(workspace: Workspace):
    def answers(arguments: tuple[str, ...]) -> Completed:
        if "localhost/used" in arguments:
            raise EngineError("image is in use")
        return Completed(0, b"", "")

    engine = FakeEngine(answers)
    named, nameless = StoredImage("f00", ("localhost/a", "localhost/b"), 7), StoredImage("bar", (), 5)
    used = StoredImage("baz", ("localhost/used",), 3)
    assert await Images(workspace, engine, Config()).remove([named, used, nameless]) == (named, nameless)
    assert engine.calls == [("rmi", "localhost/a", "localhost/b"), ("rmi", "localhost/used"), ("rmi", "bar")]


@pytest.mark.podman
async def test_a_build_reports_tags_and_cleans_up_and_a_changed_template_makes_its_image_obsolete(tiny: Tiny):
    containerfile = tiny.folder / "Containerfile"
    containerfile.write_text(containerfile.read_text().replace("ARG BASE", "").replace("${BASE}", "scratch"))
    images, seen, lines = tiny.images(), [], []
    image_id = await images.build(on_progress=seen.append, on_line=lines.append)
    assert list(map(str, seen)) == ["base image (1 of 3)", "the step (2 of 3)", "preparing (3 of 3)"]
    assert images.build_log(images.template().tag).read_text().splitlines() == lines
    assert any(line.startswith("STEP ") for line in lines)
    # Not of the one by which what it leaves behind is known.
    warnings = [line for line in lines if "not consumed" in line]
    assert warnings == ["[Warning] one or more build args were not consumed: [BASE]"]
    template = images.template()
    answer = await tiny.podman.run("image", "inspect", template.tag, template.newest_tag)
    one, two = json.loads(answer.stdout)
    assert one["Id"] == two["Id"] == image_id
    assert one["Labels"]["loopat.template"] == template.digest
    assert [name for name in await tiny.containers() if template.digest in name] == []
    assert [path.name for path in tiny.workspace.runtime.glob("build-*.id")] == []
    assert await images.ensure(template.tag, seen.append) == image_id
    assert len(seen) == 3
    # Of a changed template another one is built; the old one is obsolete, unless it is in use.
    (tiny.folder / "content").write_text("changed")
    created = await tiny.podman.run("create", "--pull=never", "--network=none", template.tag, "x")
    second = await images.ensure(images.reference(RECORD), ignore)
    assert second != image_id
    assert await images.obsolete(unused_for_s=0) == []
    await tiny.podman.run("rm", created.stdout.decode().strip())
    obsolete = await images.obsolete(unused_for_s=0)
    assert [(image.id, image.names) for image in obsolete] == [(image_id, (template.tag,))]
    assert await images.remove(obsolete) == tuple(obsolete)
    assert await tiny.stored() == {second}


BUILDER = """
import asyncio, os, sys
from pathlib import Path
from loopat_jupyter.sandbox.builders import sole_builder
from loopat_jupyter.sandbox.images import Images
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.workspace.config import Config
from loopat_jupyter.workspace.paths import Workspace

class Base:
    async def ensure(self, on_line, *, fresh=False):
        raise AssertionError("this one should wait")

async def main(home, runtime_root, folder, name):
    workspace = Workspace(Path(home), Path(runtime_root))
    images = Images(workspace, Podman("podman", os.environ), Config(), template=Path(folder), name=name, base=Base())
    print(await images.build(on_progress=lambda progress: print(progress, flush=True)))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.podman
async def test_those_who_wait_in_this_process_or_another_share_the_build_and_see_its_progress(tiny: Tiny):
    held, other = GivenBase(), GivenBase()
    held.ready.clear()
    builder = asyncio.create_task(tiny.images(held).build(on_progress=ignore))
    while not held.asked:
        await asyncio.sleep(0.01)
    places = (tiny.workspace.home, tiny.workspace.runtime_root, tiny.folder, tiny.name)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BUILDER, *map(str, places), stdout=asyncio.subprocess.PIPE
    )
    seen: list[Progress] = []
    waiter = tiny.images(other)
    waiting = asyncio.create_task(waiter.ensure(waiter.template().tag, seen.append))
    assert process.stdout is not None
    first = await process.stdout.readline()
    while not seen:
        await asyncio.sleep(0.01)
    held.ready.set()
    image_id = await builder
    assert await waiting == image_id
    assert other.asked == 0
    assert first.decode() == f"{seen[0]}\n" == "base image (1 of 3)\n"
    assert (await process.communicate())[0].split()[-1].decode() == image_id
    assert await tiny.stored() == {image_id}


@pytest.mark.podman
async def test_a_failing_build_keeps_its_log_and_says_which_step(tiny: Tiny, small_image: str):
    tiny.write("RUN echo first words\nRUN echo 'the reason' >&2 && exit 7")
    images = tiny.images(GivenBase(small_image))
    with pytest.raises(ImageBuildError, match=r"at the step 'the step': .*the reason") as caught:
        await images.build(on_progress=ignore)
    log = images.build_log(images.template().tag)
    assert str(log) in caught.value.message
    assert {"first words", "the reason"} <= set(log.read_text().splitlines())
    assert "the reason" in caught.value.stderr
    assert not [name for name in await tiny.containers() if images.template().digest in name]
    with pytest.raises(ImageBuildError):
        await images.build(on_progress=ignore)


async def test_a_build_that_lost_a_cached_step_to_somebody_else_is_tried_again(workspace: Workspace, tmp_path: Path):
    lost = "Error: checking if cached image exists from a previous build: getting top layer info: layer not known"
    script = tmp_path / "podman"
    script.write_text(f"""#!/bin/bash
for word; do case $word in --iidfile=*) file=${{word#*=}} ;; esac; done
case $1 in
  build)
    if [ -e {tmp_path}/second ]; then echo sha256:abc >"$file"; exit; fi
    touch {tmp_path}/second; echo '{lost}'; exit 125 ;;
  image) echo 'image not known' >&2; exit 125 ;;
esac
""")
    script.chmod(0o755)
    images = Images(workspace, Podman(str(script), os.environ), Config(), base=GivenBase())
    assert await images.build(on_progress=ignore) == "abc"


async def test_a_build_of_something_that_is_no_podman_fails_in_words(workspace: Workspace, tmp_path: Path):
    script = tmp_path / "podman"
    script.write_text("#!/bin/sh\n[ $1 != image ] || exec sh -c 'echo image not known >&2; exit 125'\n")
    script.chmod(0o755)
    images = Images(workspace, Podman(str(script), os.environ), Config(), base=GivenBase())
    with pytest.raises(ImageBuildError, match="could not be built"):
        await images.build(on_progress=ignore)


@pytest.mark.fault("F13")
@pytest.mark.podman
async def test_a_full_disk_during_a_build_is_told(tiny: Tiny, small_image: str):
    tiny.write("RUN echo 'write /x: No space left on device' >&2 && exit 1")
    with pytest.raises(StorageFullError, match="No space left to build"):
        await tiny.images(GivenBase(small_image)).build(on_progress=ignore)


@pytest.mark.podman
async def test_cancelling_ends_the_build_and_leaves_nothing(tiny: Tiny, small_image: str):
    base = f"localhost/{tiny.name}-base:latest"
    await tiny.podman.run("tag", small_image, base)
    duration = f"9999.{secrets.randbelow(10**9)}"
    tiny.write(f"RUN echo started && sleep {duration} & sleep {duration}; wait")
    started = asyncio.Event()
    images = tiny.images(GivenBase(base))

    def listen(line: str) -> None:
        if line == "started":
            started.set()

    try:
        building = asyncio.create_task(images.build(on_progress=ignore, on_line=listen))
        await started.wait()
        building.cancel()
        with pytest.raises(asyncio.CancelledError):
            await building
        assert [process.pid for process in psutil.process_iter(["cmdline"]) if duration in str(process.info)] == []
        assert [name for name in await tiny.containers() if tiny.name in name] == []
        assert not list(tiny.workspace.runtime.glob("build-*.id"))
        # The next one need not wait.
        async with asyncio.timeout(60), sole_builder(tiny.workspace, images.template().tag, ignore):
            pass
    finally:
        await tiny.podman.run("untag", base, base)


@pytest.mark.podman
async def test_a_build_whose_podman_is_killed_is_told_and_leaves_nothing(
    tiny: Tiny, small_image: str, monkeypatch: pytest.MonkeyPatch
):
    duration = f"9999.{secrets.randbelow(10**9)}"
    tiny.write("ENV STEP=1", f"RUN echo started && sleep {duration}")
    started, left = asyncio.Event(), set[Unfinished]()

    async def watched(engine: Engine) -> None:
        left.update(await find_unfinished(engine))
        await remove_unfinished(engine)

    monkeypatch.setattr(build, "remove_unfinished", watched)

    def listen(line: str) -> None:
        if line == "started":
            started.set()

    building = asyncio.create_task(tiny.images(GivenBase(small_image)).build(on_progress=ignore, on_line=listen))
    await started.wait()
    step = [process for process in psutil.process_iter(["cmdline"]) if duration in str(process.info)]
    assert step
    under_way = await find_unfinished(tiny.podman)
    for process in psutil.process_iter(["cmdline"]):
        if f"--label=loopat.image={tiny.name}" in (process.info["cmdline"] or ()):
            process.kill()
    with pytest.raises(EngineError, match=r"failed to build the image: it was killed \(signal 9\)"):
        await building
    assert left.difference(under_way)
    assert not {each.name for each in left} & set(await tiny.containers())
    assert psutil.wait_procs(step, timeout=30)[1] == []
