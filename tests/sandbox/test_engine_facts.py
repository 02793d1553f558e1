"""What podman says of itself, and what a server that starts later asks it."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.sandbox.engine_facts import EngineFacts, EngineNote, read_info
from loopat_jupyter.sandbox.podman import Podman
from loopat_jupyter.sandbox.preflight import check_health
from loopat_jupyter.workspace.config import Config
from loopat_jupyter.workspace.paths import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

INFO = {
    "host": {
        "cgroupVersion": "v2",
        "cgroupControllers": ["cpu", "memory", "pids"],
        "networkBackend": "netavark",
        "idMappings": {"uidmap": [{"size": 1}, {"size": 65536}]},
    },
    "store": {
        "graphDriverName": "overlay",
        "graphStatus": {"Native Overlay Diff": "true"},
        "graphRoot": "/tmp",
        "imageStore": {"number": 2},
    },
}
FACTS = EngineFacts(
    cgroup_version="v2",
    cgroup_controllers=("cpu", "memory", "pids"),
    storage_driver="overlay",
    native_overlay=True,
    storage_path="/tmp",
    network_backend="netavark",
    mapped_ids=65537,
    has_images=True,
)


class Told:
    """A podman that says what it is told to, and what it was asked."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self._info, self._version, self._asked = folder / "info.json", folder / "version", folder / "asked"
        script = folder / "podman"
        script.write_text(f'#!/bin/sh\necho "$1" >>{self._asked}\ncat {folder}/"$1"*\n')
        script.chmod(0o755)
        self.says(INFO)
        self._version.write_text("4.9.0")
        self.workspace = Workspace(folder / "workspace", runtime)
        self.workspace.prepare()
        self.settings = folder / "settings"
        self._script = str(script)

    def says(self, info: object, version: str = "4.9.0") -> None:
        self._info.write_text(json.dumps(info))
        self._version.write_text(version)

    async def asked(self, *, noted: bool = True, **environ: str) -> list[str]:
        engine = Podman(self._script, {**os.environ, "XDG_CONFIG_HOME": str(self.settings), **environ})
        self._asked.write_text("")
        self.health = await check_health(engine, self.workspace, Config(podman_bin=self._script), noted=noted)
        return self._asked.read_text().split()


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    # Sockets below a folder of pytest would have too long a path.
    with tempfile.TemporaryDirectory(prefix="run-") as runtime:
        yield Told(tmp_path, Path(runtime))


def test_the_answer_is_read() -> None:
    assert read_info(json.dumps(INFO).encode()) == FACTS
    fresh = {**INFO, "store": {**INFO["store"], "imageStore": {"number": 0}}}
    assert read_info(json.dumps(fresh).encode()) == msgspec.structs.replace(FACTS, has_images=False)


async def test_a_server_asks_only_for_the_version_where_podman_was_asked_before(told: Told) -> None:
    assert await told.asked() == ["version", "info"]
    assert await told.asked() == ["version"]
    assert await told.asked(noted=False) == ["version", "info"]


async def test_another_version_or_other_settings_are_asked_anew(told: Told) -> None:
    await told.asked()
    told.says(INFO, version="5.0.0")
    assert await told.asked() == ["version", "info"]
    (told.settings / "containers").mkdir(parents=True)
    (told.settings / "containers" / "storage.conf").write_text("")
    assert await told.asked() == ["version", "info"]
    assert await told.asked() == ["version"]


async def test_environments_are_noted_side_by_side(told: Told) -> None:
    environments = [{"XDG_CONFIG_HOME": f"/settings/{number}"} for number in range(9)]
    for environ in environments:
        assert await told.asked(**environ) == ["version", "info"]
    assert [await told.asked(**environ) for environ in environments[1:]] == [["version"]] * 8
    assert await told.asked(**environments[0]) == ["version", "info"]


async def test_a_path_matters_by_what_is_found_in_it(told: Told, tmp_path: Path) -> None:
    await told.asked()
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    assert await told.asked(PATH=path) == ["version"]
    crun = tmp_path / "bin" / "crun"
    crun.parent.mkdir()
    crun.write_text("#!/bin/sh\n")
    crun.chmod(0o755)
    assert await told.asked(PATH=path) == ["version", "info"]


async def test_a_machine_that_lacked_something_is_asked_anew(told: Told) -> None:
    # There is never any space.
    told.says({**INFO, "store": {**INFO["store"], "graphRoot": "/proc"}})
    await told.asked()
    assert await told.asked() == ["version", "version", "info"]
    told.says(INFO)
    await told.asked()
    assert await told.asked() == ["version"]


async def test_a_broken_note_is_none(told: Told) -> None:
    await told.asked()
    for broken in (b"", b"[]", b'{"x": {}}', b"\xff"):
        (told.workspace.runtime_root / "podman.json").write_bytes(broken)
        assert await told.asked() == ["version", "info"]


def test_a_note_that_cannot_be_written_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for folder in (tmp_path / "missing", tmp_path):
        note = EngineNote(Podman("podman", os.environ), b"4.9.0", folder)
        note.write(FACTS)
        assert note.read() is None


def test_variables_of_any_bytes_are_noted(tmp_path: Path) -> None:
    notes = [
        EngineNote(Podman("podman", {"PATH": "/usr/bin", "XDG_DATA_HOME": folder}), b"4.9.0", tmp_path)
        for folder in ("/a\udcff", "/b\udcff")
    ]
    notes[0].write(FACTS)
    assert [note.read() for note in notes] == [FACTS, None]
