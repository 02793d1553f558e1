from __future__ import annotations

import datetime
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopat_jupyter.errors import BadInputError, NotFoundError, StorageFullError, UnreadableRecordError
from loopat_jupyter.models import LoopConfig, LoopRecord
from loopat_jupyter.workspace import files
from loopat_jupyter.workspace.records import LoopStore, new_record, slugify

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def record(title: str = "A loop", **changes: object) -> LoopRecord:
    return msgspec.structs.replace(new_record(title=title, created_by="ada", now=NOW), **changes)


@pytest.fixture
def store(workspace: Workspace) -> LoopStore:
    return LoopStore(workspace)


def test_a_record_comes_back_as_it_was_written(store: LoopStore):
    made = record(config=LoopConfig(network="none"), metadata={"ticket": 7, "tags": ["a"]})
    store.create(made)
    assert store.read(made.id) == made


def test_a_new_loop_has_its_folders_and_a_seeded_home(store: LoopStore, workspace: Workspace):
    workspace.skeleton.mkdir()
    (workspace.skeleton / ".bashrc").write_text("# mine")
    made = record()
    store.create(made)
    assert sorted(path.name for path in workspace.loop(made.id).iterdir()) == [
        ".claude",
        "home",
        "meta.json",
        "unmade",
        "workdir",
    ]
    assert (workspace.loop_home(made.id) / ".bashrc").read_text() == "# mine"


@pytest.mark.fault("F14")
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "damaged"),
        (b'{"schema": 1, "id": "', "damaged"),
        (b"\x00\xff\xfe", "damaged"),
        (b"[1]", "damaged"),
        (b"[" * 100_000, "damaged"),
        (b'{"schema": 99}', "newer version"),
        (b'{"schema": 1, "id": 5}', "damaged"),
        (b" " * 300_000, "larger"),
    ],
)
def test_an_unreadable_record_is_set_aside_and_the_others_list(
    store: LoopStore, workspace: Workspace, data: bytes, words: str
):
    good, bad = record("good"), record("bad")
    for made in (good, bad):
        store.create(made)
    workspace.record(bad.id).write_bytes(data)
    with pytest.raises(UnreadableRecordError, match=words):
        store.read(bad.id)
    assert [found.id for found in store.readable()] == [good.id]
    assert list(store.problems()) == [bad.id]
    assert workspace.record(bad.id).read_bytes() == data


def test_a_record_that_nobody_would_read_again_is_not_written(store: LoopStore, workspace: Workspace):
    large = LoopConfig(env={f"A{number}": "x" * 30_000 for number in range(10)})
    one = msgspec.structs.replace(record(), config=large)
    with pytest.raises(BadInputError, match="fewer or shorter variables"):
        store.create(one)
    assert list(workspace.loops.iterdir()) == []


def test_a_record_that_names_another_loop_is_set_aside(store: LoopStore, workspace: Workspace):
    one, other = record(), record()
    store.create(one)
    store.create(other)
    workspace.record(other.id).write_bytes(workspace.record(one.id).read_bytes())
    with pytest.raises(UnreadableRecordError, match="another loop"):
        store.read(other.id)


@pytest.mark.parametrize("loop_id", ["", "..", "../x", "nope", "0" * 36, "A" * 300, "a\0b", "-v"])
def test_an_unknown_loop_is_not_found(store: LoopStore, loop_id: str):
    with pytest.raises(NotFoundError):
        store.read(loop_id)


def test_a_stray_file_among_the_loops_is_ignored(store: LoopStore, workspace: Workspace):
    (workspace.loops / "README").write_text("hello")
    (workspace.loops / "0a1b2c3d-1111-2222-3333-444455556666").write_text("a file")
    assert store.stamps() == []
    with pytest.raises(NotFoundError):
        store.read("0a1b2c3d-1111-2222-3333-444455556666")


def test_loops_come_newest_activity_first(store: LoopStore, workspace: Workspace):
    made = [record(f"loop {number}") for number in range(3)]
    for number, each in enumerate(made):
        store.create(each)
        os.utime(workspace.record(each.id), (1000 + number, 1000 + number))
    os.utime(workspace.record(made[0].id), (2000, 2000))
    assert [stamp.loop_id for stamp in store.stamps()] == [made[0].id, made[2].id, made[1].id]
    assert store.last_activity(made[0].id) == datetime.datetime.fromtimestamp(2000, tz=datetime.UTC)
    store.touch(made[1].id)
    assert store.stamps()[0].loop_id == made[1].id
    # Told later, what is older than what is noted changes nothing, and what is newer is noted as it was.
    later = datetime.datetime.fromtimestamp(3000.5, tz=datetime.UTC)
    for told, noted in ((later, 3000.5), (later - datetime.timedelta(hours=1), 3000.5)):
        store.touch(made[0].id, told)
        assert store.last_activity(made[0].id).timestamp() == noted


def test_a_loop_is_found_by_id_start_slug_or_title(store: LoopStore):
    one, other = record("First Analysis"), record("second")
    store.create(one)
    store.create(other)
    for reference in (one.id, one.id[:8], "first-analysis", "First Analysis"):
        assert store.matching(reference) == [one]
    for reference in ("", one.id[:3], "third", "-v", "../x"):
        with pytest.raises(NotFoundError):
            store.matching(reference)


def test_a_title_that_looks_like_an_id_hides_no_loop(store: LoopStore):
    one = record("First Analysis")
    other = record(one.id[:8])
    store.create(one)
    store.create(other)
    assert {found.id for found in store.matching(one.id[:8])} == {one.id, other.id}
    assert store.matching(one.id[:9]) == [one]


def test_loops_of_one_title_all_match_it(store: LoopStore):
    made = [record("twin"), record("twin")]
    for one in made:
        store.create(one)
    assert sorted(store.matching("twin"), key=lambda found: found.id) == sorted(made, key=lambda found: found.id)


def test_a_full_disk_leaves_nothing_of_a_new_loop(
    store: LoopStore, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StorageFullError, match="Free some space"):
        store.create(record())
    assert list(workspace.loops.iterdir()) == []


def test_a_new_loop_is_nobody_elses_to_read(store: LoopStore, workspace: Workspace):
    made = record()
    store.create(made)
    assert workspace.loop(made.id).stat().st_mode & 0o777 == 0o700


def test_a_folder_of_loops_that_cannot_be_written_is_told(store: LoopStore, workspace: Workspace):
    workspace.loops.chmod(0o500)
    try:
        with pytest.raises(BadInputError, match="^LOOPAT_HOME: no loop can be made in .*Make it writable"):
            store.create(record())
    finally:
        workspace.loops.chmod(0o700)
    assert list(workspace.loops.iterdir()) == []


def test_a_loop_that_could_not_be_made_goes_however_deep_it_is(store: LoopStore, workspace: Workspace):
    made = record()

    def fill() -> None:
        with store.making(made.id):
            folder = workspace.workdir(made.id)
            descriptor = os.open(folder, os.O_RDONLY)
            for _ in range(1500):
                os.mkdir("d", dir_fd=descriptor)
                inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            os.close(descriptor)
            raise BadInputError("ref", "there is none")

    with pytest.raises(BadInputError, match="there is none"):
        fill()
    assert list(workspace.loops.iterdir()) == []


def test_a_full_disk_keeps_the_old_record(store: LoopStore, workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    made = record()
    store.create(made)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StorageFullError):
        store.write(msgspec.structs.replace(made, title="changed"))
    assert store.read(made.id) == made
    assert sorted(path.name for path in workspace.loop(made.id).iterdir()) == [
        ".claude",
        "home",
        "meta.json",
        "unmade",
        "workdir",
    ]


@pytest.mark.abuse("A1")
@pytest.mark.parametrize("title", ["", "   ", "a\nb", "a\0b", "x" * 201, "\u2028", "a\x1b[31m"])
def test_a_bad_title_is_refused(title: str):
    with pytest.raises(BadInputError, match="^title: "):
        record(title)


def test_a_title_is_stored_in_one_normal_form():
    assert record("  cafe\u0301 ").title == "caf\u00e9"


@pytest.mark.abuse("A1")
@given(st.text())
def test_slugs_are_short_safe_words(title: str):
    slug = slugify(title)
    assert 1 <= len(slug) <= 40
    assert slug == slug.strip("-")
    assert all(character in "abcdefghijklmnopqrstuvwxyz0123456789-" for character in slug)


def test_slugs_read_like_the_title():
    assert slugify("Köln: Analyse #2") == "koln-analyse-2"
    assert slugify("日本") == "loop"


ON_A_FULL_DISK = """
import datetime, os, shutil, sys
from pathlib import Path
from loopat_jupyter.errors import StorageFullError
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.records import LoopStore, new_record

store = LoopStore(Workspace(Path(sys.argv[1]), Path(sys.argv[1]) / "runtime"))
made = []
try:
    while True:
        record = new_record(title="a", created_by="ada", now=datetime.datetime.now(datetime.UTC))
        store.create(record)
        made.append(record)
except StorageFullError as error:
    assert "Free some space" in error.message, error.message
assert len(made) > 1, "the disk was full from the start"
assert {stamp.loop_id for stamp in store.stamps()} == {record.id for record in made}
assert len(os.listdir(Path(sys.argv[1]) / "loops")) == len(made), "a half-made loop stayed"
try:
    while True:
        store.write(made[0])
        (Path(sys.argv[1]) / f"filler{os.urandom(4).hex()}").write_bytes(b"x" * 4096)
except (StorageFullError, OSError):
    pass
assert store.read(made[0].id) == made[0], "a record was lost"
for filler in Path(sys.argv[1]).glob("filler*"):
    filler.unlink()
shutil.rmtree(Path(sys.argv[1]) / "loops" / made.pop().id)
store.write(made[0])
store.create(new_record(title="again", created_by="ada", now=datetime.datetime.now(datetime.UTC)))
print("recovered")
"""


@pytest.mark.fault("F13")
def test_a_real_full_file_system_is_told_and_recovered_from(tmp_path: Path):
    (tmp_path / "small").mkdir()
    command = 'mount -t tmpfs -o size=128k tmpfs "$1" && exec "$2" -c "$3" "$1"'
    arguments = [str(tmp_path / "small"), sys.executable, ON_A_FULL_DISK]
    ran = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command, "sh", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (0, "recovered\n"), ran.stderr


@pytest.mark.parametrize("way", ["folder", "pipe", "locked"])
def test_a_record_that_cannot_be_read_is_set_aside_and_the_others_list(
    store: LoopStore, workspace: Workspace, way: str
):
    good, bad = record("good"), record("bad")
    for each in (good, bad):
        store.create(each)
    path = workspace.record(bad.id)
    if way == "locked":
        path.chmod(0)
    else:
        path.unlink()
        path.mkdir() if way == "folder" else os.mkfifo(path)
    assert list(store.problems()) == [bad.id]
    assert [each.id for each in store.readable()] == [good.id]


@pytest.mark.parametrize("mirror", ["../../.ssh", "/etc", "..", ".git", "a-1.git/../..", "a\n.git", ""])
def test_a_record_names_no_folder_outside_the_mirrors(store: LoopStore, workspace: Workspace, mirror: str):
    """It may come from elsewhere with its loop, and what it names is mounted."""
    bad = record("bad")
    store.create(bad)
    store.write(msgspec.structs.replace(bad, mirror="website-0123456789ab.git"))
    assert store.read(bad.id).mirror == "website-0123456789ab.git"
    store.write(msgspec.structs.replace(bad, mirror=mirror))
    with pytest.raises(UnreadableRecordError, match="names a copy of a repo that is none"):
        store.read(bad.id)


def test_an_image_in_a_record_is_no_option(store: LoopStore, workspace: Workspace):
    bad = record("bad")
    store.create(bad)
    store.write(msgspec.structs.replace(bad, image="--privileged"))
    with pytest.raises(UnreadableRecordError, match="names an image that is none"):
        store.read(bad.id)


def test_a_loop_that_is_put_away_is_deleted_and_its_files_are_found(store: LoopStore):
    made = record()
    store.create(made)
    left = store.put_away(made.id)
    assert store.workspace.loop_ids() == frozenset()
    assert (left / "meta.json").exists()
    assert store.put_away(made.id) == left
