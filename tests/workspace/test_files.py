from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest

from loopat_jupyter.errors import StorageFullError, StorageRefusedError, UnsafePathError
from loopat_jupyter.workspace.files import (
    full_disk_told,
    make_shared_folder,
    read_untrusted,
    real_path,
    write_atomic,
    write_new,
)
from tests.swapping import exchanged


def test_an_atomic_write_replaces_the_whole_file_and_keeps_it_private(tmp_path: Path):
    file = tmp_path / "a"
    write_atomic(file, b"one")
    write_atomic(file, b"two")
    assert file.read_bytes() == b"two"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_only_what_shall_last_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "fsync")
    write_atomic(tmp_path / "a", b"one", lasting=False)
    with pytest.raises(AttributeError, match="fsync"):
        write_atomic(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"


def test_a_link_that_is_swapped_while_it_is_read_is_no_error_of_the_system(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    with exchanged(tmp_path / "folder", tmp_path / "link"):
        # The usual way fails.
        with pytest.raises(OSError, match="Invalid argument") as failure:
            any(os.path.realpath(tmp_path / "folder" / "file") == "" for _ in iter(int, 1))
        assert failure.value.errno == errno.EINVAL
        found = set()
        for _ in range(5000):
            try:
                found.add(real_path(tmp_path / "folder" / "file").parent.name)
            except UnsafePathError:
                continue
    assert found <= {"folder", "there", "link"}


@pytest.mark.fault("F13")
def test_a_real_full_file_system_is_told():
    with pytest.raises(StorageFullError, match="Free some space"), full_disk_told(Path("/dev/full")):
        Path("/dev/full").write_bytes(b"x")


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageRefusedError, match="/a cannot be written: Permission denied. Make it writable"):
            write_atomic(tmp_path / "a", b"one")
    finally:
        tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_never_follows_what_a_sandbox_planted(tmp_path: Path):
    target = tmp_path / "target"
    for planted in ("link", "dangling", "file"):
        path = tmp_path / planted
        if planted == "file":
            path.write_bytes(b"planted")
        else:
            path.symlink_to(target if planted == "link" else tmp_path / "nothing")
        with pytest.raises(FileExistsError):
            write_new(path, b"secret")
    assert not target.exists()
    assert not (tmp_path / "nothing").exists()
    assert (tmp_path / "file").read_bytes() == b"planted"


def test_reading_untrusted_files_takes_plain_files_only(tmp_path: Path):
    (tmp_path / "plain").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    assert read_untrusted(tmp_path / "plain", limit_bytes=4) == b"0123"
    assert read_untrusted(tmp_path / "plain", limit_bytes=4, from_end=True) == b"6789"
    for name in ("link", "fifo", "folder"):
        assert read_untrusted(tmp_path / name, limit_bytes=4) == b""
    with pytest.raises(FileNotFoundError):
        read_untrusted(tmp_path / "missing", limit_bytes=4)


def test_a_folder_that_somebody_removes_meanwhile_is_made(tmp_path: Path):
    folder, end = tmp_path / "one" / "two" / "three", threading.Event()

    def remove() -> None:
        while not end.is_set():
            shutil.rmtree(tmp_path / "one", ignore_errors=True)

    removing = threading.Thread(target=remove)
    removing.start()
    try:
        for _ in range(2000):
            make_shared_folder(folder)
    finally:
        end.set()
        removing.join()
    make_shared_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_file_is_no_folder(tmp_path: Path):
    (tmp_path / "one").write_text("kept")
    with pytest.raises(FileExistsError):
        make_shared_folder(tmp_path / "one")
    assert (tmp_path / "one").read_text() == "kept"
