from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from loopat_jupyter.errors import EngineError
from loopat_jupyter.sandbox.podman import Completed
from loopat_jupyter.sandbox.unfinished import BUILD_ARGUMENT, Unfinished, find_unfinished, new_mark, remove_unfinished
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path


class Storage(FakeEngine):
    """A podman with containers of builds, and what it noted of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(self._answer)
        self._folder = folder
        self._entries: list[dict[str, Any]] = []

    def add(self, name: str, arguments: object, *, state: str = "storage", named: bool = True) -> None:
        notes = self._folder / "overlay-containers" / f"id-{name}" / "userdata"
        notes.mkdir(parents=True)
        (notes / "buildah.json").write_text(json.dumps({"type": "buildah 0.0.1", "Args": arguments}))
        self._entries.append({"Id": f"id-{name}", "Names": [name] if named else None, "State": state})

    def _answer(self, arguments: tuple[str, ...]) -> Completed:
        if arguments[0] == "ps":
            return Completed(0, json.dumps(self._entries).encode(), "")
        return Completed(0, f"{self._folder}\n".encode() if arguments[0] == "info" else b"", "")


def mark() -> tuple[str, dict[str, str]]:
    """A mark as the command line has it, and as podman notes it."""
    argument = new_mark()
    return argument, {BUILD_ARGUMENT: argument.rpartition("=")[2]}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """An empty one."""
    return Storage(tmp_path)


async def test_only_what_a_build_of_ours_left_behind_goes(storage: Storage, tmp_path: Path):
    argument, under_way = mark()
    storage.add("of-a-loop", mark()[1], state="exited")
    storage.add("somebody-elses", {"BASE": "x"})
    storage.add("without-arguments", None)
    storage.add("under-way", under_way)
    storage.add("left", mark()[1])
    storage.add("damaged", [])
    storage.add("without-notes", {})
    (tmp_path / "overlay-containers" / "id-without-notes" / "userdata" / "buildah.json").unlink()
    with subprocess.Popen(["sh", "-c", "read line", "podman", argument], stdin=subprocess.PIPE) as builder:
        assert await find_unfinished(storage) == [Unfinished("id-left", "left")]
        builder.communicate(b"\n")
    assert [found.name for found in await find_unfinished(storage)] == ["under-way", "left"]
    storage.calls.clear()
    await remove_unfinished(storage)
    assert [call[-1] for call in storage.calls if call[0] == "rm"] == ["id-under-way", "id-left"]
    # For that alone podman calls programs for half a second.
    assert storage.verbs.count("info") == 1


async def test_one_without_a_name_is_called_by_its_id(storage: Storage):
    storage.add("left", mark()[1], named=False)
    assert await find_unfinished(storage) == [Unfinished("id-left", "id-left")]


async def test_an_answer_that_is_not_of_podman_is_an_error_of_the_engine():
    with pytest.raises(EngineError, match="`podman ps` answered something that makes no sense"):
        await find_unfinished(FakeEngine(lambda _: Completed(0, b'[{"Names": 1}]', "")))


async def test_where_nothing_is_built_podman_is_asked_once(storage: Storage):
    assert await find_unfinished(storage) == []
    assert storage.verbs == ["ps"]
