from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import UnsafePathError
from loopat_jupyter.workspace.nofollow import (
    make_folders,
    names_in,
    opened_folder,
    problem_of,
    read_plain,
    walk,
    write_whole,
)

if TYPE_CHECKING:
    from pathlib import Path


def read(folder: Path, name: str) -> bytes:
    with opened_folder(folder) as opened:
        return read_plain(opened, name, limit_bytes=100)


def test_folders_are_made_private_and_entered(tmp_path: Path):
    make_folders(tmp_path, "a", "b")
    make_folders(tmp_path, "a", "b", "c")
    assert (tmp_path / "a/b/c").stat().st_mode & 0o777 == 0o700
    with opened_folder(tmp_path, "a", "b") as folder:
        assert names_in(folder) == ["c"]


def test_no_link_is_followed_on_the_way(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").touch()
    for name, what in (("link", "a symbolic link"), ("file", "no folder")):
        with pytest.raises(UnsafePathError, match=what), opened_folder(tmp_path, name):
            pass
        with pytest.raises(UnsafePathError, match=what):
            make_folders(tmp_path, name, "inner")
        with pytest.raises(UnsafePathError, match=what):
            walk(tmp_path / name / "x", root=tmp_path)
    assert list((tmp_path / "real").iterdir()) == []


def test_what_a_path_is(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    assert problem_of(walk(tmp_path)) is None
    assert problem_of(walk(tmp_path, root=tmp_path)) is None
    assert problem_of(walk(tmp_path / "file", root=tmp_path)) is None
    assert problem_of(walk(tmp_path / "link", root=tmp_path)) == "is a symbolic link"
    with pytest.raises(FileNotFoundError):
        walk(tmp_path / "none", root=tmp_path)


def test_only_plain_files_are_read(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert read(tmp_path, "file") == b"x" * 100
    (tmp_path / "long").write_bytes(b"x" * 101)
    (tmp_path / "linked").symlink_to("file")
    (tmp_path / "twice").write_bytes(b"")
    os.link(tmp_path / "twice", tmp_path / "hard")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
    refused = {
        "long": "is longer than 100 bytes",
        "linked": "is a symbolic link",
        "hard": "is a hard link",
        "fifo": "is a FIFO",
        "folder": "is a folder",
        "socket": "is a FIFO or a socket",
    }
    for name, why in refused.items():
        with pytest.raises(UnsafePathError, match=why):
            read(tmp_path, name)
    with pytest.raises(FileNotFoundError):
        read(tmp_path, "none")


def test_a_file_is_written_whole_and_private_and_no_link_followed(tmp_path: Path):
    (tmp_path / "target").write_bytes(b"kept")
    (tmp_path / "link").symlink_to("target")
    with opened_folder(tmp_path) as folder:
        write_whole(folder, "link", b"new")
    assert (tmp_path / "target").read_bytes() == b"kept"
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_bytes() == b"new"
    assert (tmp_path / "link").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


@pytest.mark.abuse("A4")
def test_what_is_swapped_while_it_is_read_never_leads_out(tmp_path: Path):
    """One thread swaps file and link without pause; a naive reader is led out, ours never is."""
    inside = tmp_path / "vault"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (inside / "new").write_bytes(b"plain")
            (inside / "new").replace(inside / "NAME")
            (inside / "new").symlink_to(tmp_path / "secret")
            (inside / "new").replace(inside / "NAME")

    (inside / "NAME").write_bytes(b"plain")
    thread = threading.Thread(target=swap)
    thread.start()
    try:
        naive, ours = set(), set()
        while b"secret" not in naive or len(ours) < 2:
            if not (inside / "NAME").is_symlink():
                naive.add((inside / "NAME").read_bytes())
            try:
                ours.add(read(inside, "NAME"))
            except UnsafePathError as error:
                ours.add(error.message)
    finally:
        stop.set()
        thread.join()
    assert ours == {b"plain", "is a symbolic link"}
