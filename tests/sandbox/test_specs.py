from __future__ import annotations

import asyncio
import datetime
import json
import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from loopat_jupyter.errors import EngineError
from loopat_jupyter.models import Kernelspec, LoopRecord
from loopat_jupyter.sandbox.images import Images, StoredImage
from loopat_jupyter.sandbox.lifecycle import Running
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sandbox.specs import HOME_KERNELS, MOST_HOME_SPECS, KernelspecFinder, home_kernelspecs
from loopat_jupyter.workspace.config import Config
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.records import new_record
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager

pytestmark = pytest.mark.lonely


PYTHON = Kernelspec(name="python3", display_name="Python 3", language="python", argv=("python3",))
OWN = {"argv": ["own", "-f", "{connection_file}", "{resource_dir}/x"], "display_name": "Own", "language": "l"}
RUNNING = Running("loopat-x", 1, "image-1", restart_needed=False)


@pytest.fixture
def record() -> LoopRecord:
    return new_record(title="A loop", created_by="ada", now=datetime.datetime.now(datetime.UTC))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir()
    return made


def install(home: Path, name: str, content: object) -> Path:
    folder = home.joinpath(*HOME_KERNELS, name)
    folder.mkdir(parents=True)
    file = folder / "kernel.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def names(home: Path) -> list[str]:
    return [spec.name for spec in home_kernelspecs(home)]


def test_a_kernel_in_the_home_is_read_whole(home: Path) -> None:
    install(home, "Own", {**OWN, "env": {"A": "1"}, "interrupt_mode": "message", "metadata": {"m": 1}, "more": 1})
    inside = "/loopat/home/loopat/.local/share/jupyter/kernels/Own"
    assert home_kernelspecs(home) == (
        Kernelspec(
            name="own",
            display_name="Own",
            language="l",
            argv=("own", "-f", "{connection_file}", f"{inside}/x"),
            env={"A": "1"},
            interrupt_mode="message",
            metadata={"m": 1},
        ),
    )


def test_a_kernel_is_called_by_what_can_be_printed(home: Path) -> None:
    install(home, "own", {**OWN, "display_name": "Good\u202e\u0007\nname Ä"})
    install(home, "silent", {**OWN, "display_name": "\u2066\u200b\n"})
    assert [spec.display_name for spec in home_kernelspecs(home)] == ["Good name Ä", "silent"]


def test_an_empty_home_has_no_kernels(home: Path) -> None:
    assert home_kernelspecs(home) == ()
    assert home_kernelspecs(home / "missing") == ()


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{", '{"argv": []}', '{"argv": [1]}', '{"argv": ["x"], "env": {"A": 1}}', "[" * 100_000),
        *(
            '{"argv": ["x\\u0000y"]}',
            '{"argv": ["x"], "env": {"A": "\\u0000"}}',
            '{"argv": ["x"], "env": {"A=B": "x"}}',
        ),
    ],
)
def test_broken_kernelspecs_are_left_out(home: Path, content: str) -> None:
    install(home, "broken", content)
    install(home, "good", OWN)
    assert names(home) == ["good"]


def test_no_symlink_leads_out_of_the_home(home: Path, tmp_path: Path) -> None:
    secret = install(tmp_path / "host", "secret", {**OWN, "env": {"TOKEN": "t"}})
    kernels = home.joinpath(*HOME_KERNELS)
    kernels.mkdir(parents=True)
    (kernels / "folder").symlink_to(secret.parent)
    (kernels / "file").mkdir()
    (kernels / "file" / "kernel.json").symlink_to(secret)
    assert names(home) == []


@pytest.mark.parametrize("depth", range(len(HOME_KERNELS)))
def test_no_folder_on_the_way_is_a_symlink(home: Path, tmp_path: Path, depth: int) -> None:
    install(tmp_path / "host", "secret", OWN)
    link = home.joinpath(*HOME_KERNELS[: depth + 1])
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path.joinpath("host", *HOME_KERNELS[: depth + 1]))
    assert names(home) == []


def test_a_fifo_does_not_block(home: Path) -> None:
    folder = home.joinpath(*HOME_KERNELS, "fifo")
    folder.mkdir(parents=True)
    os.mkfifo(folder / "kernel.json")
    assert names(home) == []


def test_a_flood_of_kernels_is_cut_off(home: Path) -> None:
    for number in range(MOST_HOME_SPECS + 5):
        install(home, f"k{number:04}", OWN)
    assert len(names(home)) == MOST_HOME_SPECS


async def test_the_home_wins_over_the_image_and_is_read_each_time(workspace: Workspace, record: LoopRecord) -> None:
    called = msgspec.structs.replace(PYTHON, display_name="Python\n\u202e3")
    engine = FakeEngine(lambda _: Completed(0, msgspec.json.encode([called]), ""))
    finder = KernelspecFinder(workspace, engine)
    assert finder.known(record, "image-1") is None
    assert await finder.find(record, RUNNING) == (PYTHON,)
    install(workspace.loop_home(record.id), "python3", {**OWN, "display_name": "Mine"})
    install(workspace.loop_home(record.id), "a", OWN)
    assert [spec.display_name for spec in await finder.find(record, RUNNING)] == ["Own", "Mine"]
    assert len(engine.calls) == 1
    assert {"--env=HOME=/nonexistent", "--http-proxy=false"} < set(engine.calls[0])


class SlowEngine(FakeEngine):
    """Lets others go on before it answers."""

    async def run(self, *arguments: str, **options: Any) -> Completed:
        await asyncio.sleep(0)
        return await super().run(*arguments, **options)


async def test_another_image_is_asked_anew(workspace: Workspace, record: LoopRecord) -> None:
    engine = SlowEngine(lambda _: Completed(0, msgspec.json.encode([PYTHON]), ""))
    finder = KernelspecFinder(workspace, engine)
    # By several at once, too.
    await asyncio.gather(*(KernelspecFinder(workspace, engine).find(record, RUNNING) for _ in range(3)))
    await finder.find(record, RUNNING._replace(image_id="sha256:image-2"))
    await KernelspecFinder(workspace, engine).find(record, RUNNING._replace(image_id="image-2"))
    assert len(engine.calls) == 2


IMAGE_ID = "1a" * 32


@pytest.fixture
def beside(tmp_path: Path) -> Callable[[str], Workspace]:
    """Makes workspaces of one user, whose runtime directory is that of this test alone."""

    def make(name: str) -> Workspace:
        made = Workspace(tmp_path / name, tmp_path / "runtime")
        made.prepare()
        return made

    return make


async def test_an_image_is_asked_once_for_all_workspaces_of_a_user(
    beside: Callable[[str], Workspace], record: LoopRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = SlowEngine(lambda _: Completed(0, msgspec.json.encode([PYTHON]), ""))
    running = RUNNING._replace(image_id=IMAGE_ID)

    async def find(*names: str, running: Running = running) -> int:
        engine.calls.clear()
        finders = [KernelspecFinder(beside(name), engine) for name in names]
        answers = await asyncio.gather(*(finder.find(record, running) for finder in finders))
        assert answers == [(PYTHON,)] * len(names)
        return len(engine.calls)

    assert await find("a", "b") == 1
    assert await find("b") == 0
    assert await find("c") == 0
    assert await find("d", running=RUNNING._replace(image_id=f"sha256:{IMAGE_ID}")) == 0
    assert await find("e", running=running._replace(image_id="2b" * 32)) == 1
    # What is no id may be another image by now.
    assert await find("f", "g", running=RUNNING) == 2
    monkeypatch.setattr("loopat_jupyter.sandbox.helpers.VERSION", "00000000")
    assert await find("h", "i") == 1
    # It goes with the image, whichever version noted it, and stays with one that stays.
    images = Images(beside("a"), FakeEngine(lambda _: Completed(0, b"", "")), Config())
    await images.remove([StoredImage("2b" * 32, (), 1)])
    assert await find("j") == 0
    await images.remove([StoredImage(IMAGE_ID, (), 1)])
    assert [path.name for path in beside("a").image_locks.glob("*.json") if IMAGE_ID in path.name] == []
    assert await find("k") == 1


@pytest.mark.parametrize("found", [b"", b"[", b"{}", b"[{}]", b"\xff", None])
async def test_a_note_that_makes_no_sense_is_none(
    beside: Callable[[str], Workspace], record: LoopRecord, found: bytes | None
) -> None:
    engine = FakeEngine(lambda _: Completed(0, msgspec.json.encode([PYTHON]), ""))
    running = RUNNING._replace(image_id=IMAGE_ID)
    await KernelspecFinder(beside("a"), engine).find(record, running)
    (note,) = beside("a").image_locks.glob("*.json")
    if found is None:
        # Somebody's folder stays what it is.
        note.unlink()
        note.mkdir()
    else:
        note.write_bytes(found)
    assert await KernelspecFinder(beside("b"), engine).find(record, running) == (PYTHON,)
    await KernelspecFinder(beside("c"), engine).find(record, running)
    assert len(engine.calls) == (2 if found is not None else 3)


@pytest.mark.parametrize("answer", [b"", b"{}", b"[{}]", b"\xff"])
async def test_an_answer_that_makes_no_sense_is_an_error_and_not_kept(
    workspace: Workspace, record: LoopRecord, answer: bytes
) -> None:
    finder = KernelspecFinder(workspace, FakeEngine(lambda _: Completed(0, answer, "")))
    with pytest.raises(EngineError, match="kernel.json"):
        await finder.find(record, RUNNING)
    assert finder.known(record, "image-1") is None


def test_the_image_of_a_reference_is_remembered(workspace: Workspace) -> None:
    finder = KernelspecFinder(workspace, FakeEngine(lambda _: pytest.fail("podman was asked")))
    assert finder.noted_image("a/b:c") is None
    finder.note_image("a/b:c", "image-1")
    finder.note_image("a/b:c", "image-2")
    assert finder.noted_image("a/b:c") == "image-2"
    assert finder.noted_image("other") is None


@pytest.mark.podman
async def test_the_kernels_of_the_real_image_are_found(manager: LoopManager, tmp_path: Path) -> None:
    record = manager.create(title="A loop")
    install(manager.workspace.loop_home(record.id), "own", OWN)
    running = await manager.start(record)
    # In a runtime directory of its own nobody has noted them.
    workspace = Workspace(manager.workspace.home, tmp_path / "runtime")
    workspace.prepare()
    finder = KernelspecFinder(workspace, manager.engine)
    assert [spec.name for spec in await finder.find(record, running)] == ["own", "python3"]
    assert [spec.name for spec in await finder.look(running)] == ["own", "python3"]
    cached = json.loads((manager.workspace.cache / "kernelspecs" / f"{running.image_id}.json").read_bytes())
    (spec,) = cached
    assert (spec["name"], spec["display_name"], spec["language"]) == ("python3", "Python 3", "python")
    assert spec["argv"][0] == "/usr/bin/python3"
