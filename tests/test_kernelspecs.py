from __future__ import annotations

import datetime
import json
import shutil
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.kernelspec import KernelSpecManager, _is_valid_kernel_name

from loopat_jupyter.errors import ConflictError, EngineError
from loopat_jupyter.kernelspecs import LoopKernels, Registry, kernel_json, registered_name
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import Kernelspec, LoopRecord
from loopat_jupyter.sandbox.builders import note_id
from loopat_jupyter.sandbox.lifecycle import Running
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sandbox.specs import KernelspecFinder
from loopat_jupyter.sandbox.state import Stamp
from loopat_jupyter.workspace.config import Config
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.records import LoopStore, new_record
from tests.fakes import FakeEngine

HOME = Path("/home/ada/.loopat")
PYTHON = Kernelspec(
    name="python3",
    display_name="Python 3",
    language="python",
    argv=("python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"),
    env={"TOKEN": "secret"},
    metadata={"debugger": True},
)
R = Kernelspec(name="ir", display_name="R", language="R", argv=("R",), interrupt_mode="message")


def record(title: str = "A loop") -> LoopRecord:
    return new_record(title=title, created_by="ada", now=datetime.datetime.now(datetime.UTC))


def running(image_id: str = "image-1") -> Running:
    return Running("loopat-x", 1, image_id, restart_needed=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kernels"


@pytest.fixture
def registry(folder: Path) -> Registry:
    return Registry(folder)


def test_kernel_json_says_where_to_run_and_no_secret() -> None:
    # Loops of before may have such titles.
    loop = msgspec.structs.replace(record("My analysis"), title="My \u202eanalysis")
    command = [sys.executable, "-P", "-m", "loopat_jupyter.kernels", "-f", "{connection_file}"]
    assert kernel_json(loop, PYTHON, HOME) == {
        "argv": [*command, f"--workspace={HOME}", f"--loop={loop.id}", "--kernel=python3"],
        "display_name": "Python 3 (loop: My analysis)",
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {
            "debugger": True,
            "kernel_provisioner": {
                "provisioner_name": "loopat-provisioner",
                "config": {"loop_id": loop.id, "kernel": "python3", "workspace": str(HOME)},
            },
        },
    }


def test_a_kernel_of_a_workspace_that_is_not_the_usual_one_says_so() -> None:
    shown = kernel_json(record("Rain"), PYTHON, Path("/srv/team\u202e"))["display_name"]
    assert shown == "Python 3 (loop: Rain, workspace: team)"


@given(st.text(min_size=1, max_size=60).filter(lambda title: title.strip() and title.isprintable()))
def test_names_are_what_jupyter_takes(title: str) -> None:
    loop = record(title)
    name = registered_name(loop, "python3")
    assert _is_valid_kernel_name(name)
    assert name == name.lower()
    assert loop.id[:8] in name


def test_jupyter_finds_what_was_written(registry: Registry, folder: Path) -> None:
    loop = record()
    assert registry.sync(loop, [PYTHON, R], HOME)
    found = KernelSpecManager(kernel_dirs=[str(folder)], ensure_native_kernel=False).get_all_specs()
    names = {registered_name(loop, "python3"), registered_name(loop, "ir")}
    assert found.keys() == names
    assert found[registered_name(loop, "ir")]["spec"]["interrupt_mode"] == "message"
    assert registry.names(loop.id) == sorted(names)


def test_what_is_right_is_not_written_again(registry: Registry, folder: Path) -> None:
    loop = record()
    registry.sync(loop, [PYTHON], HOME)
    file = folder / registered_name(loop, "python3") / "kernel.json"
    before = file.stat()
    assert not registry.sync(loop, [PYTHON], HOME)
    assert file.stat() == before


def test_sync_follows_title_and_kernels(registry: Registry) -> None:
    loop = record()
    registry.sync(loop, [PYTHON, R], HOME)
    renamed = msgspec.structs.replace(loop, title="Other", slug="other")
    assert registry.sync(renamed, [PYTHON], HOME)
    assert registry.names(loop.id) == [f"loop-other-{loop.id[:8]}-python3"]


def test_kernels_of_loops_that_are_called_the_same_say_which(registry: Registry, folder: Path) -> None:
    def shown() -> list[str]:
        return sorted(json.loads(path.read_text())["display_name"] for path in folder.glob("*/kernel.json"))

    first, second = record("Sales in May"), record("Sales in May")
    registry.sync(first, [PYTHON], HOME)
    assert shown() == ["Python 3 (loop: Sales in May)"]
    registry.sync(second, [PYTHON], HOME)
    registry.sync(record("Sales in May too"), [PYTHON], HOME)
    assert shown() == sorted(
        [f"Python 3 (loop: Sales in May, {loop.id[:8]})" for loop in (first, second)]
        + ["Python 3 (loop: Sales in May too)"]
    )
    # What is right is not written again, and one that is left needs no id.
    assert not registry.sync(first, [PYTHON], HOME)
    renamed = msgspec.structs.replace(second, title="Other", slug="other")
    registry.sync(renamed, [PYTHON], HOME)
    assert shown() == [f"Python 3 (loop: {title})" for title in ("Other", "Sales in May too", "Sales in May")]
    registry.sync(second, [PYTHON], HOME)
    registry.remove(first.id)
    assert shown() == ["Python 3 (loop: Sales in May too)", "Python 3 (loop: Sales in May)"]


def test_only_the_loops_own_kernelspecs_are_removed(registry: Registry, folder: Path) -> None:
    loop, other = record(), record()
    registry.sync(loop, [PYTHON, R], HOME)
    registry.sync(other, [PYTHON], HOME)
    foreign = folder / f"loop-mine-{loop.id[:8]}-python3"
    foreign.mkdir()
    (foreign / "kernel.json").write_text('{"argv": ["x"], "display_name": "x", "language": "x"}')
    registry.remove(loop.id)
    assert sorted(path.name for path in folder.iterdir()) == sorted([foreign.name, registered_name(other, "python3")])


@pytest.mark.parametrize("content", ['{"argv": []}', "no json", '{"metadata": 1}', '{"metadata": {"x": {}}}'])
def test_a_folder_of_somebody_else_is_never_written(registry: Registry, folder: Path, content: str) -> None:
    loop = record()
    file = folder / registered_name(loop, "python3") / "kernel.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    registry.sync(loop, [PYTHON], HOME)
    registry.remove(loop.id)
    assert file.read_text() == content


def test_kernelspecs_of_loops_that_are_gone_are_pruned(registry: Registry, folder: Path, workspace: Workspace) -> None:
    present, gone = record(), record()
    LoopStore(workspace).create(present)
    for loop in (present, gone):
        registry.sync(loop, [PYTHON], workspace.home)
    (folder / "loop-mine").mkdir()
    (folder / "loop-mine" / "kernel.json").write_text("{}")
    assert registry.prune() == [registered_name(gone, "python3")]
    assert sorted(path.name for path in folder.iterdir()) == sorted(["loop-mine", registered_name(present, "python3")])


def test_removing_what_is_not_there_is_nothing(registry: Registry) -> None:
    registry.remove(record().id)
    assert registry.names(record().id) == []


def kernels_of(workspace: Workspace, registry: Registry | None, engine: FakeEngine) -> LoopKernels:
    return LoopKernels(KernelspecFinder(workspace, engine), registry, workspace.home, lambda _: "image:latest")


def answering(*specs: Kernelspec) -> FakeEngine:
    return FakeEngine(lambda _: Completed(0, msgspec.json.encode(specs), ""))


async def test_podman_is_asked_once_for_an_image(workspace: Workspace, registry: Registry) -> None:
    engine = answering(PYTHON)
    kernels = kernels_of(workspace, registry, engine)
    loop = record()
    for _ in range(3):
        await kernels.offer(loop, running())
    assert registry.names(loop.id) == [registered_name(loop, "python3")]
    assert engine.verbs == ["run"]


async def test_a_new_loop_offers_the_kernels_of_an_image_that_is_known(
    workspace: Workspace, registry: Registry
) -> None:
    kernels = kernels_of(workspace, registry, answering(PYTHON))
    first, second = record(), record()
    kernels.offer_known(first)
    assert registry.names(first.id) == []
    await kernels.offer(first, running())
    kernels.offer_known(second)
    assert registry.names(second.id) == [registered_name(second, "python3")]


async def test_kernels_of_a_loop_with_tools_are_known_after_the_machine_was_restarted(
    tmp_path: Path, registry: Registry
) -> None:
    # The files of images are the user's: a runtime directory of the test's own.
    workspace = Workspace(tmp_path / "workspace", tmp_path / "runtime")
    workspace.prepare()
    manager = LoopManager(workspace, Config(), answering(PYTHON), member="ada", registry=registry)
    loop = manager.create(title="tools")
    workspace.toolchain(loop.id).write_text("[tools]")
    note_id(workspace, manager.images.reference(loop), "below")
    await manager.kernels.offer(loop, running())
    shutil.rmtree(workspace.runtime_root)
    workspace.prepare()
    manager.kernels.offer_known(loop)
    assert registry.names(loop.id) == [registered_name(loop, "python3")]


async def test_what_is_known_is_told_without_a_sandbox(workspace: Workspace) -> None:
    engine = answering(PYTHON)
    kernels = kernels_of(workspace, None, engine)
    loop, other = record(), record()
    with pytest.raises(ConflictError, match="Start the loop"):
        await kernels.known(loop, None)
    assert engine.calls == []
    stamp = Stamp(
        loop_id=loop.id,
        name="loopat-x",
        pid=1,
        start_ticks=1,
        config_hash="",
        image_id="image-1",
        reference="image:latest",
        used_at_s=0.0,
    )
    assert await kernels.known(loop, stamp) == (PYTHON,)
    assert await kernels.known(loop, stamp) == (PYTHON,)
    assert engine.verbs == ["run"]
    KernelspecFinder(workspace, engine).note_image("image:latest", "image-1")
    assert await kernels.known(other, None) == (PYTHON,)
    assert engine.verbs == ["run"]


async def test_a_failing_look_is_no_failing_start(workspace: Workspace, registry: Registry, caplog) -> None:
    def fail(_: object) -> Completed:
        raise EngineError("no python inside")

    await kernels_of(workspace, registry, FakeEngine(fail)).offer(record(), running())
    assert "no python inside" in caplog.text


async def test_without_a_registry_nobody_is_asked(workspace: Workspace) -> None:
    kernels = kernels_of(workspace, None, engine := answering())
    await kernels.offer(record(), running())
    kernels.offer_known(record())
    kernels.withdraw("x")
    assert engine.calls == []


async def test_a_kernel_that_root_installed_is_found_by_looking(workspace: Workspace) -> None:
    engine = answering(PYTHON, R)
    kernels = kernels_of(workspace, None, engine)
    assert await kernels.find_one(record(), running(), "ir") == R
    assert await kernels.find_one(record(), running(), "klingon") is None
    await kernels.find(record(), running())
    engine.calls.clear()
    assert await kernels.find_one(record(), running(), "python3") == PYTHON
    assert engine.calls == []


def test_the_users_registry_is_where_jupyter_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    loop = record()
    Registry.of_user().sync(loop, [PYTHON], HOME)
    spec = json.loads((tmp_path / "kernels" / registered_name(loop, "python3") / "kernel.json").read_text())
    assert "env" not in spec
