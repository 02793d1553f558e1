from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopat_jupyter.errors import BadInputError, EngineUnavailableError
from loopat_jupyter.workspace import paths
from loopat_jupyter.workspace.paths import (
    SOCKET_PATH_MAX_BYTES,
    Workspace,
    default_runtime_root,
    fits_socket,
    is_loop_id,
    other_runtime_root,
    workspace_name,
)

LOOP = "0a1b2c3d-1111-2222-3333-444455556666"


def make(home: Path) -> Workspace:
    return Workspace(home, home.parent / "runtime")


def test_a_hidden_folder_of_the_home_is_called_like_itself():
    assert workspace_name(Path.home() / ".loopat", "12345678") == "loopat"


@pytest.mark.parametrize(
    ("home", "name"),
    [
        ("/srv/a/.loopat", "loopat-12345678"),
        (str(Path.home() / "loopat"), "loopat-12345678"),
        (str(Path.home() / "..loopat"), "loopat-12345678"),
        (str(Path.home() / "My Loops"), "my-loops-12345678"),
        (str(Path.home() / "日本"), "12345678"),
        (str(Path.home() / ("x" * 80)), "xxxxxxxxx-12345678"),
    ],
)
def test_any_other_workspace_carries_the_key_of_its_path(home: str, name: str):
    assert workspace_name(Path(home), "12345678") == name


def test_equal_folder_names_give_different_workspaces():
    one, other = make(Path("/srv/a/loops")), make(Path("/srv/b/loops"))
    assert one.name != other.name
    assert one.key != other.key


@given(st.text(alphabet=st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1))
def test_names_are_safe_and_short_enough_for_a_dns_label(folder: str):
    if folder in (".", ".."):
        return
    name = workspace_name(Path("/srv") / folder, "12345678")
    assert all(character.isascii() and (character.isalnum() or character == "-") for character in name)
    assert name == name.strip("-")
    assert len(f"loopat-{name}-{LOOP}") <= 63


@pytest.mark.parametrize("text", [LOOP.upper(), LOOP + "\n", "..", "", "0a1b2c3d", LOOP.replace("-", ""), f"../{LOOP}"])
def test_only_lower_case_uuids_are_loop_ids(text: str):
    assert is_loop_id(LOOP)
    assert not is_loop_id(text)


def test_loops_that_were_started_are_found_even_if_their_folder_is_gone(tmp_path: Path):
    workspace = make(tmp_path / "ws")
    workspace.loop(LOOP).mkdir(parents=True)
    workspace.host(LOOP).mkdir(parents=True)
    assert workspace.started_loops() == []
    (workspace.host(LOOP) / "sandbox.json").touch()
    assert workspace.started_loops() == [LOOP]
    shutil.rmtree(workspace.home)
    assert workspace.started_loops() == []


def test_loopat_home_names_the_workspace(tmp_path: Path):
    assert Workspace.from_environment({"LOOPAT_HOME": str(tmp_path)}).home == tmp_path.resolve()
    assert Workspace.from_environment({}).home == (Path.home() / ".loopat").resolve()
    with pytest.raises(BadInputError, match="LOOPAT_HOME"):
        Workspace.from_environment({"LOOPAT_HOME": "relative/path"})


def test_a_path_belongs_to_the_loop_whose_workdir_holds_it(tmp_path: Path):
    workspace = make(tmp_path / "ws")
    folder = workspace.workdir(LOOP) / "a" / "b"
    folder.mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(workspace.workdir(LOOP))
    outside = workspace.workdir(LOOP) / "outside"
    outside.symlink_to(tmp_path)
    assert workspace.loop_of(folder) == (LOOP, Path("a/b"))
    assert workspace.loop_of(workspace.workdir(LOOP)) == (LOOP, Path())
    assert workspace.loop_of(link / "a") == (LOOP, Path("a"))
    assert workspace.loop_of(outside) is None
    circle = workspace.workdir(LOOP) / "circle"
    circle.symlink_to("circle")
    assert workspace.loop_of(circle) == (LOOP, Path("circle"))
    assert workspace.loop_of(workspace.loop_home(LOOP)) is None
    assert workspace.loop_of(tmp_path) is None
    assert workspace.loop_of(workspace.loops / "not-a-loop" / "workdir") is None


def test_a_path_enters_a_loop_wherever_planted_links_lead_then(tmp_path: Path):
    workspace = make(tmp_path / "ws")
    workdir = workspace.workdir(LOOP)
    workdir.mkdir(parents=True)
    (workdir / "out").symlink_to("/")
    (workdir / "circle").symlink_to("circle")
    link = tmp_path / "link"
    link.symlink_to(workdir)
    for inside in (
        workdir,
        workdir / "out",
        workdir / "out" / "tmp",
        workdir / "circle",
        workdir / "gone",
        link / "out",
    ):
        assert workspace.whereabouts(inside).entered == LOOP
    for outside in (tmp_path, workspace.loop_home(LOOP), Path("/")):
        assert workspace.whereabouts(outside).entered is None


def test_a_new_workspace_is_private_and_the_mode_of_one_that_is_there_is_its_persons(tmp_path: Path):
    workspace = make(tmp_path / "above" / "ws")
    workspace.prepare()
    assert {folder.stat().st_mode & 0o777 for folder in (workspace.home, workspace.loops)} == {0o700}
    for folder in (workspace.home, workspace.loops):
        folder.chmod(0o750)
    workspace.prepare()
    assert {folder.stat().st_mode & 0o777 for folder in (workspace.home, workspace.loops)} == {0o750}


def test_the_runtime_directory_is_private(tmp_path: Path):
    workspace = make(tmp_path / "ws")
    workspace.prepare()
    assert workspace.runtime_root.stat().st_mode & 0o777 == 0o700
    workspace.runtime_root.chmod(0o755)
    workspace.prepare()
    assert workspace.runtime_root.stat().st_mode & 0o777 == 0o700
    workspace.runtime_root.chmod(0o777)
    with pytest.raises(EngineUnavailableError, match="nobody else can enter"):
        workspace.prepare()


def test_the_runtime_directory_may_not_be_a_planted_symlink(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "runtime").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineUnavailableError):
        make(tmp_path / "ws").prepare()


def test_sockets_fit_in_the_default_runtime_directory():
    assert fits_socket(default_runtime_root(os.getuid()))
    assert not fits_socket(Path("/" + "x" * SOCKET_PATH_MAX_BYTES))


@pytest.mark.parametrize("text", ["relative", "~nobody-has-this-name/loops", "/tmp/\udcff", "./x"])
def test_a_home_that_cannot_be_meant_is_refused(text: str):
    with pytest.raises(BadInputError) as refused:
        Workspace.from_environment({"LOOPAT_HOME": text})
    assert refused.value.field == "LOOPAT_HOME"


def test_a_home_with_control_characters_is_refused(tmp_path: Path):
    (tmp_path / "new\nline").mkdir()
    (tmp_path / "link").symlink_to("new\nline")
    for name in ("new\nline", "link", "bell\x07", "new\x85line"):
        with pytest.raises(BadInputError, match="LOOPAT_HOME: .* holds control characters"):
            Workspace.from_environment({"LOOPAT_HOME": str(tmp_path / name)})
    assert Workspace.from_environment({"LOOPAT_HOME": str(tmp_path / "日本　ünï")}).home.name == "日本　ünï"


@pytest.mark.parametrize("way", ["a file", "below a file", "not writable", "too long", "a circle"])
def test_a_home_that_cannot_be_made_is_named(tmp_path: Path, way: str):
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    home = {
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "home",
        "not writable": Path("/proc/home"),
        "too long": tmp_path / ("x" * 300),
        "a circle": tmp_path / "circle",
    }[way]
    with pytest.raises(BadInputError) as refused:
        Workspace(home, tmp_path / "runtime").prepare()
    assert refused.value.field == "LOOPAT_HOME"
    assert str(home) in refused.value.message


def test_what_is_beside_a_loops_files_is_told(tmp_path: Path):
    workspace = make(tmp_path / "ws")
    workspace.workdir(LOOP).mkdir(parents=True)
    workspace.loop_home(LOOP).mkdir()
    for beside in (
        workspace.loop(LOOP),
        workspace.loop_home(LOOP),
        workspace.loop_home(LOOP) / "a",
        workspace.record(LOOP),
    ):
        assert workspace.whereabouts(beside).beside == LOOP
    for other in (
        workspace.workdir(LOOP),
        workspace.workdir(LOOP) / "a",
        workspace.loops,
        tmp_path,
        workspace.loops / "x",
    ):
        assert workspace.whereabouts(other).beside is None


def test_everybody_follows_the_runtime_directory_that_was_made_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def place(text: str) -> Path:
        return tmp_path / text.lstrip("/")

    monkeypatch.setattr(paths, "Path", place)
    session, fallback = place("/run/user/7/loopat"), place("/tmp/loopat-7")
    assert default_runtime_root(7) == fallback
    session.parent.mkdir(parents=True)
    assert default_runtime_root(7) == session
    fallback.mkdir(mode=0o755, parents=True)
    fallback.chmod(0o755)
    assert default_runtime_root(7) == session
    fallback.chmod(0o700)
    assert default_runtime_root(7) == fallback
    assert other_runtime_root(fallback, 7) is None
    # Those who run have this one, whoever made the other.
    session.mkdir(mode=0o700)
    assert default_runtime_root(7) == session
    assert other_runtime_root(session, 7) == fallback
    assert other_runtime_root(fallback, 7) == session
    assert other_runtime_root(tmp_path, 7) is None
