"""Files of a loop, while somebody inside swaps folders and files for links."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from loopat_jupyter.contents.changes import copy_folder, make_folder, move, remove, throw_away
from loopat_jupyter.contents.looking import look, look_into
from loopat_jupyter.contents.pinned import Place, held, opened, replaced
from loopat_jupyter.errors import UnsafePathError
from tests.swapping import exchanged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 400


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("secret")
    return folder


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "workdir"
    (folder / "d").mkdir(parents=True)
    (folder / "d" / "file").write_text("own")
    return folder


def read(top: Path, path: Path) -> str:
    with opened(top, str(path), "r") as file:
        return str(file.read())


def write(top: Path, path: Path, text: str) -> None:
    with replaced(top, str(path)) as file:
        file.write(text)


def test_files_are_read_and_written(top: Path) -> None:
    write(top, top / "d" / "new", "text")
    assert (top / "d" / "new").read_text() == "text"
    (top / "d" / "file").chmod(0o750)
    write(top, top / "d" / "file", "changed")
    assert (read(top, top / "d" / "file"), (top / "d" / "file").stat().st_mode & 0o777) == ("changed", 0o750)
    with opened(top, str(top / "d" / "file"), "ab") as file:
        file.write(b" twice")
    assert (top / "d" / "file").read_text() == "changed twice"


@pytest.mark.parametrize("mode", [0o666, 0o600, 0o777, 0o2755])
def test_a_file_written_anew_keeps_its_rights(top: Path, mode: int) -> None:
    file = top / "d" / "file"
    file.chmod(mode)
    write(top, file, "changed")
    assert (file.read_text(), file.stat().st_mode & 0o7777) == ("changed", mode)


def test_a_file_that_is_write_protected_stays(top: Path) -> None:
    (top / "d" / "file").chmod(0o444)
    before = psutil.Process().num_fds()
    with pytest.raises(PermissionError):
        write(top, top / "d" / "file", "changed")
    assert psutil.Process().num_fds() == before
    assert (top / "d" / "file").read_text() == "own"
    assert [path.name for path in (top / "d").iterdir()] == ["file"]


def test_a_file_of_two_names_keeps_both(top: Path) -> None:
    (top / "same").hardlink_to(top / "d" / "file")
    before = psutil.Process().num_fds()
    for text in ("longer than before", "short"):
        write(top, top / "d" / "file", text)
        assert (top / "same").read_text() == text
    assert (top / "same").samefile(top / "d" / "file")
    assert psutil.Process().num_fds() == before


def test_a_file_is_written_in_a_folder_that_takes_no_new_one(top: Path) -> None:
    (top / "d").chmod(0o555)
    write(top, top / "d" / "file", "changed")
    with pytest.raises(PermissionError):
        write(top, top / "d" / "new", "text")
    (top / "d").chmod(0o755)
    assert [(path.name, path.read_text()) for path in (top / "d").iterdir()] == [("file", "changed")]


@pytest.mark.podman
def test_a_file_of_somebody_else_stays_theirs(top: Path) -> None:
    file = top / "d" / "file"
    file.chmod(0o666)
    script = 'chown 5:5 "$0"'
    subprocess.run(["podman", "unshare", "sh", "-c", script, str(file)], check=True)
    owner = file.stat().st_uid
    write(top, file, "changed")
    assert owner != os.geteuid()
    assert (file.read_text(), file.stat().st_uid, file.stat().st_mode & 0o777) == ("changed", owner, 0o666)


def test_links_that_stay_inside_are_followed(top: Path) -> None:
    (top / "link").symlink_to("d/file")
    write(top, top / "link", "through")
    assert (top / "d" / "file").read_text() == "through"
    assert (top / "link").is_symlink()


@pytest.mark.parametrize("names", [1, 2])
def test_a_write_that_fails_leaves_the_file_and_nothing_else(top: Path, names: int) -> None:
    if names > 1:
        (top / "same").hardlink_to(top / "d" / "file")
    with pytest.raises(ValueError, match="closed"), replaced(top, str(top / "d" / "file")) as file:
        file.close()
    with pytest.raises(UnicodeEncodeError), replaced(top, str(top / "d" / "file"), encoding="utf-8") as file:
        file.write("no Unicode: \ud800")
    assert (top / "d" / "file").read_text() == "own"
    assert [path.name for path in (top / "d").iterdir()] == ["file"]


def test_what_is_no_plain_file_is_refused(top: Path, outside: Path) -> None:
    os.mkfifo(top / "fifo")
    (top / "way-out").symlink_to(outside / "file")
    before = psutil.Process().num_fds()
    for path in (top / "fifo", top / "way-out", top / "d", top):
        with pytest.raises(UnsafePathError):
            read(top, path)
        with pytest.raises(UnsafePathError):
            write(top, path, "x")
    assert psutil.Process().num_fds() == before
    assert (outside / "file").read_text() == "secret"


def test_a_copy_takes_no_more_room_than_the_original(top: Path) -> None:
    with (top / "d" / "sparse").open("wb") as file:
        for offset, data in ((2**20, b"first"), (2**25, b"second")):
            file.seek(offset)
            file.write(data)
        file.truncate(2**26)
    os.utime(top / "d" / "sparse", (1, 2))
    copy_folder(Place(top, str(top / "d")), Place(top, str(top / "copy")))
    copy, original = ((top / name / "sparse") for name in ("copy", "d"))
    assert copy.read_bytes() == original.read_bytes()
    assert (copy.stat().st_blocks, copy.stat().st_mtime) == (original.stat().st_blocks, 2)


def test_nothing_is_left_of_a_copy_that_fails(top: Path) -> None:
    (top / "d" / "locked").mkdir()
    (top / "d" / "locked" / "file").touch(0)
    with pytest.raises(PermissionError):
        copy_folder(Place(top, str(top / "d")), Place(top, str(top / "copy")))
    assert [path.name for path in top.iterdir()] == ["d"]
    # What is there already is nobody's copy.
    (top / "copy").mkdir()
    with pytest.raises(FileExistsError):
        copy_folder(Place(top, str(top / "d")), Place(top, str(top / "copy")))
    assert (top / "copy").is_dir()


@pytest.fixture
def inner(top: Path, outside: Path) -> None:
    """A folder in each, with a key in the one outside."""
    (top / "d" / "inner").mkdir()
    (outside / "inner").mkdir()
    (outside / "inner" / "key").write_text("secret")


@pytest.fixture
def swapped(top: Path, outside: Path) -> Iterator[Callable[[], None]]:
    """Swaps the folder for a link to another one, and back, as fast as it can, until it is told to end."""
    (top / "link").symlink_to(outside)
    with contextlib.ExitStack() as swapping:
        swapping.enter_context(exchanged(top / "d", top / "link"))
        yield swapping.close


def naive(top: Path, path: Path) -> None:
    """Look at the path, then open it by its name."""
    if Path(os.path.realpath(path)).is_relative_to(top):
        path.write_text("written")


@pytest.mark.abuse("A6")
def test_a_folder_that_is_swapped_for_a_link_leads_nowhere(top: Path, outside: Path, swapped: object) -> None:
    # The attack works against the usual way: the first that gets through ends the loop.
    while not (outside / "note").exists():
        try:
            naive(top, top / "d" / "note")
        except OSError:
            continue
    (outside / "note").unlink()
    for _ in range(ROUNDS):
        for attempt in (
            lambda: write(top, top / "d" / "note", "written"),
            lambda: read(top, top / "d" / "file") == "secret" and pytest.fail("read what is outside"),
        ):
            try:
                attempt()
            except (OSError, UnsafePathError):
                continue
    assert sorted(path.name for path in outside.iterdir()) == ["file"]
    assert (outside / "file").read_text() == "secret"


@pytest.mark.abuse("A6")
@pytest.mark.usefixtures("inner")
def test_nothing_is_changed_where_a_swapped_folder_leads(top: Path, outside: Path, swapped: Callable[[], None]) -> None:
    before = sorted(str(path) for path in outside.rglob("*"))
    # The attack works against the usual way.
    while not (outside / "made").exists():
        try:
            if Path(os.path.realpath(top / "d")).is_relative_to(top):
                (top / "d" / "made").mkdir()
        except OSError:
            continue
    (outside / "made").rmdir()
    home, place = top.parent / "home", lambda *names: Place(top, str(top.joinpath(*names)))
    home.mkdir()
    for number in range(ROUNDS // 3):
        for attempt in (
            lambda: make_folder(place("d", "made")),
            lambda n=number: copy_folder(place("d", "inner"), place(f"copy{n}")),
            lambda n=number: copy_folder(place("d"), place(f"copies{n}")),
            lambda n=number: move(place("d", "inner"), place(f"moved{n}")),
            lambda n=number: move(place(f"moved{n}"), place("d", "inner")),
            lambda: throw_away(place("d", "file"), home, "/inside"),
            lambda: remove(place("d", "inner")),
        ):
            with contextlib.suppress(OSError, UnsafePathError):
                attempt()
    swapped()
    assert sorted(str(path) for path in outside.rglob("*")) == before
    assert [*top.rglob("key"), *home.rglob("key")] == []


@pytest.mark.abuse("A6")
def test_nothing_is_told_of_where_a_swapped_folder_leads(top: Path, outside: Path, swapped: object) -> None:
    (outside / "theirs").write_text("secret")
    place, names, sizes = Place(top, str(top / "d")), set(), set()
    # The attack works against the usual way.
    while "theirs" not in names:
        with contextlib.suppress(OSError):
            if Path(os.path.realpath(top / "d")).is_relative_to(top):
                names |= {path.name for path in (top / "d").iterdir()}
    names.clear()
    rounds = 0
    while rounds < ROUNDS or not names or not sizes:
        rounds += 1
        with contextlib.suppress(OSError, UnsafePathError):
            names |= {seen.name for seen in look_into(place)}
        with contextlib.suppress(OSError, UnsafePathError):
            sizes.add(look(Place(top, str(top / "d" / "file"))).status.st_size)
    assert (names, sizes) == ({"file"}, {len("own")})


def test_the_folder_is_held(top: Path, outside: Path) -> None:
    with held(top, str(top / "d" / "file")) as (folder, name):
        (top / "d").rename(top / "e")
        (top / "d").symlink_to(outside)
        assert Path(f"/proc/self/fd/{folder}").readlink() == top / "e"
        assert name == "file"
