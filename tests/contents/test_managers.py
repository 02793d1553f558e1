"""Symlinks that something in a loop has planted, read and written through every way to files that the server has."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import nbformat
import pytest
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError

from loopat_jupyter.contents.bounds import change_told
from loopat_jupyter.contents.managers import LoopContentsManager
from loopat_jupyter.workspace.records import LoopStore, new_record
from tests.swapping import exchanged
from tests.workspace.test_records import NOW

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text("secret")
    return folder


@pytest.fixture(params=["of the server", "of the drive"])
def ways(request: pytest.FixtureRequest, record: LoopRecord, folder: str) -> tuple[str, str]:
    """Addresses of the workdir: as contents, and as plain files."""
    if request.param == "of the server":
        return f"api/contents/loops/{record.id}/workdir", f"files/loops/{record.id}/workdir"
    return f"loopat/api/contents/{folder}", f"loopat/api/files/{folder}"


def plant(workdir: Path, outside: Path, workspace: Workspace) -> None:
    other = new_record(title="Other", created_by="ada", now=NOW)
    LoopStore(workspace).create(other)
    (workspace.workdir(other.id) / "secret.txt").write_text("secret")
    (workdir / "file").symlink_to(outside / "secret.txt")
    (workdir / "folder").symlink_to(outside)
    (workdir / "loop").symlink_to(workspace.workdir(other.id))
    (workdir / "up").symlink_to("../..")


def stock(folder: Path) -> AsyncLargeFileManager:
    """Jupyter's own manager of files, of a server whose root folder that is."""
    return AsyncLargeFileManager(root_dir=str(folder), delete_to_trash=False)


@pytest.mark.abuse("A6")
async def test_a_planted_link_is_not_read(
    ask: Any, workdir: Path, outside: Path, workspace: Workspace, ways: tuple[str, str]
) -> None:
    plant(workdir, outside, workspace)
    # The attack works against the stock manager.
    for path in ("file", "folder/secret.txt", "loop/secret.txt"):
        assert (await stock(workdir).get(path))["content"] == "secret"
    for root in ways:
        for path in ("file", "folder/secret.txt", "loop/secret.txt", "up/meta.json", "folder", "up"):
            answer = await ask("GET", f"{root}/{path}")
            assert answer.status in (403, 404), (root, path)
            assert "secret" not in str(answer.body).replace("secret.txt", "")


@pytest.mark.abuse("A6")
async def test_a_planted_link_is_not_written(
    ask: Any, workdir: Path, outside: Path, workspace: Workspace, ways: tuple[str, str]
) -> None:
    plant(workdir, outside, workspace)
    text = {"type": "file", "format": "text", "content": "overwritten"}
    # The attack works against the stock manager.
    (outside / "naive.txt").touch()
    (workdir / "naive").symlink_to(outside / "naive.txt")
    await stock(workdir).save(dict(text), "naive")
    assert (outside / "naive.txt").read_text() == "overwritten"
    (outside / "naive.txt").unlink()
    contents, _ = ways
    api_path = contents.split("contents/", 1)[1]
    for answer in (
        await ask("PUT", f"{contents}/file", text),
        await ask("PUT", f"{contents}/folder/new.txt", text),
        await ask("POST", f"{contents}/folder", {"type": "file"}),
        await ask("DELETE", f"{contents}/folder/secret.txt"),
        await ask("PATCH", f"{contents}/folder/secret.txt", {"path": f"{api_path}/mine.txt"}),
        await ask("POST", f"{contents}", {"copy_from": f"{api_path}/file"}),
        await ask("POST", f"{contents}/folder/secret.txt/checkpoints"),
    ):
        assert answer.status == 403, answer.body
    assert [(entry.name, entry.read_text()) for entry in outside.iterdir()] == [("secret.txt", "secret")]


@pytest.mark.abuse("A6")
async def test_a_planted_folder_of_checkpoints_is_not_used(
    ask: Any, workdir: Path, outside: Path, ways: tuple[str, str]
) -> None:
    (workdir / "a.txt").write_text("mine")
    (workdir / ".ipynb_checkpoints").symlink_to(outside)
    # The attack works against the stock manager.
    await stock(workdir).create_checkpoint("a.txt")
    (outside / "a-checkpoint.txt").unlink()
    answer = await ask("POST", f"{ways[0]}/a.txt/checkpoints")
    assert answer.status == 403
    assert [entry.name for entry in outside.iterdir()] == ["secret.txt"]


async def test_a_planted_checkpoint_is_not_used(ask: Any, workdir: Path, outside: Path, ways: tuple[str, str]) -> None:
    (workdir / "a.txt").write_text("mine")
    (workdir / ".ipynb_checkpoints").mkdir()
    (workdir / ".ipynb_checkpoints" / "a-checkpoint.txt").symlink_to(outside / "secret.txt")
    assert (await ask("POST", f"{ways[0]}/a.txt/checkpoints")).status == 403
    assert (await ask("POST", f"{ways[0]}/a.txt/checkpoints/checkpoint")).status == 403
    assert (outside / "secret.txt").read_text() == "secret"
    assert (workdir / "a.txt").read_text() == "mine"


async def test_a_listing_leaves_planted_links_out(
    ask: Any, workdir: Path, outside: Path, workspace: Workspace, ways: tuple[str, str]
) -> None:
    plant(workdir, outside, workspace)
    (workdir / "real").mkdir()
    (workdir / "same").symlink_to("real")
    listed = await ask("GET", ways[0])
    assert listed.status == 200
    assert sorted(entry["name"] for entry in listed.body["content"]) == ["real", "same"]


async def test_files_are_told_as_jupyter_tells_them(
    workdir: Path, workspace: Workspace, jp_environ: None, record: LoopRecord
) -> None:
    for name in ("a.txt", "b.ipynb", "c.tar.gz", "d", "e.ipynb/inner.txt", ".hidden", "a b\u00fc.py", "locked/x", "~y"):
        (workdir / name).parent.mkdir(exist_ok=True)
        (workdir / name).write_text(name)
    for name, target in (("to-file", "a.txt"), ("to-folder", "e.ipynb"), ("to-top", "."), ("broken", "nowhere")):
        (workdir / name).symlink_to(target)
    os.mkfifo(workdir / "fifo")
    (workdir / "d").chmod(0o400)
    (workdir / "locked").chmod(0)
    os.utime(workdir / "a.txt", (2**40, 2**40))
    for name in ("to-file", "to-folder", "to-top", "broken"):
        os.utime(workdir / name, (1, 1), follow_symlinks=False)
    stock_one, ours = stock(workdir), LoopContentsManager(root_dir=str(workdir), workspace=workspace)
    expected = await stock_one.get("")
    expected["content"].sort(key=lambda entry: entry["name"])
    assert await ours.get("") == expected
    assert [entry["name"] for entry in expected["content"]] == [
        "a b\u00fc.py", "a.txt", "b.ipynb", "broken", "c.tar.gz", "d", "e.ipynb", "to-file", "to-folder", "to-top",
        "~y",
    ]  # fmt: skip
    for path in (*(entry["name"] for entry in expected["content"]), "e.ipynb/inner.txt", "to-folder"):
        assert await ours.get(path, content=False) == await stock_one.get(path, content=False)
    for path in (".hidden", "locked", "nowhere", "locked/x"):
        for each in (stock_one, ours):
            with pytest.raises(HTTPError, match="404"):
                await each.get(path, content=False)


async def test_checkpoints_outside_all_loops_fail_as_stock_ones(workspace: Workspace, outside: Path) -> None:
    (outside / "folder").mkdir()
    told: list[list[str]] = []
    for files in (stock(outside), LoopContentsManager(root_dir=str(outside), workspace=workspace)):
        told.append([])
        for path in ("nowhere", "folder"):
            with pytest.raises(OSError, match=path) as failure:
                await files.create_checkpoint(path)
            told[-1].append(repr(failure.value))
        with pytest.raises(OSError, match="checkpoint") as failure:
            await files.restore_checkpoint("checkpoint", "secret.txt")
        told[-1].append(repr(failure.value))
    assert told[0] == told[1]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_nobodys_mistake(number: int) -> None:
    with pytest.raises(HTTPError, match="no space is left. Free some") as told, change_told("/loop/a.txt"):
        raise OSError(number, os.strerror(number))
    assert told.value.status_code == 503


async def test_a_file_that_is_too_large_is_not_read_into_memory(
    ask: Any, workdir: Path, ways: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes nothing to make one of any size; whoever opens it would lose the server."""
    monkeypatch.setattr("loopat_jupyter.contents.pinned.LARGEST_READ_BYTES", 200_000)
    for name in ("README.md", "a.ipynb"):
        with (workdir / name).open("wb") as file:
            file.truncate(300_000)
        refused = await ask("GET", f"{ways[0]}/{name}")
        assert (refused.status, refused.body["message"]) == (
            413, f"{name} is too large to be opened here. Download it, or look at it in a terminal of the loop.",
        )  # fmt: skip
        assert (await ask("GET", f"{ways[0]}/{name}", content="0")).body["size"] == 300_000
        refused = await ask("POST", f"{ways[0]}/{name}/checkpoints")
        assert (refused.status, refused.body["message"]) == (
            413, f"{name} is too large for a checkpoint. Copy it in a terminal.",
        )  # fmt: skip
    assert list((workdir / ".ipynb_checkpoints").iterdir()) == []
    assert (await ask("GET", f"{ways[1]}/README.md")).body == bytes(300_000)
    # Tornado doubles a percent sign of a message by itself, and Jupyter shows that.
    (workdir / "README.md").rename(workdir / "100%.md")
    refused = await ask("GET", f"{ways[0]}/100%.md")
    assert refused.body["message"].startswith("100%%.md is too large")


async def test_a_notebook_of_many_cells_is_not_read(
    ask: Any, workdir: Path, ways: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small cell takes many times its bytes in memory, and all of them time; one large output does not."""
    monkeypatch.setattr("loopat_jupyter.contents.managers.MOST_CELLS", 500)
    output = nbformat.v4.new_output("stream", text="x" * 500_000)
    for name in ("a.ipynb", "a.txt"):
        cells = [nbformat.v4.new_code_cell(outputs=[output]), *(nbformat.v4.new_code_cell() for _ in range(498))]
        (workdir / name).write_text(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))
        assert (await ask("GET", f"{ways[0]}/{name}", type="notebook")).status == 200
        cells.append(nbformat.v4.new_code_cell())
        (workdir / name).write_text(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))
        for content in ("1", "0"):
            answer = await ask("GET", f"{ways[0]}/{name}", type="notebook", content=content, hash=content)
            assert answer.status == (413 if content == "1" else 200)
        refused = await ask("GET", f"{ways[0]}/{name}", type="notebook")
        assert refused.body["message"] == (
            f"{name} is too large to be opened here. Download it, or look at it in a terminal of the loop."
        )
        assert (await ask("GET", f"{ways[0]}/{name}", type="file")).status == 200


async def test_a_saved_file_stays_what_it_was_to_others(
    ask: Any, workdir: Path, workspace: Workspace, ways: tuple[str, str]
) -> None:
    """Its rights, its other names, and that it is write-protected: as the stock manager leaves them."""
    for name in ("protected", "shared", "linked", "locked/a"):
        (workdir / name).parent.mkdir(exist_ok=True)
        (workdir / name).write_text("before")
        assert (await ask("POST", f"{ways[0]}/{name}/checkpoints")).status == 201, name
    (workdir / "same").hardlink_to(workdir / "linked")
    for name, mode in (("protected", 0o444), ("shared", 0o666), ("locked", 0o555)):
        (workdir / name).chmod(mode)
    text = {"type": "file", "format": "text", "content": "after"}
    for verb, end, body, content in (("PUT", "", text, "after"), ("POST", "/checkpoints/checkpoint", None, "before")):
        refused = await ask(verb, f"{ways[0]}/protected{end}", body)
        assert (refused.status, str(workspace.home) in str(refused.body)) == (403, False)
        for name in ("shared", "linked", "locked/a"):
            answer = await ask(verb, f"{ways[0]}/{name}{end}", body)
            assert answer.status in (200, 204), (name, answer.body)
            assert (workdir / name).read_text() == content
        assert (workdir / "shared").stat().st_mode & 0o777 == 0o666
        assert (workdir / "same").samefile(workdir / "linked")
    assert (workdir / "protected").read_text() == "before"
    (workdir / "locked").chmod(0o755)
    assert sorted(path.name for path in (workdir / "locked").iterdir()) == [".ipynb_checkpoints", "a"]


@pytest.mark.abuse("A6")
async def test_a_folder_that_is_swapped_for_a_link_all_the_time_is_no_fault_of_the_server(
    ask: Any, workdir: Path, outside: Path, workspace: Workspace, ways: tuple[str, str]
) -> None:
    (workdir / "d").mkdir()
    (workdir / "d" / "a.txt").write_text("mine")
    (workdir / "to").mkdir()
    (workdir / "link").symlink_to(outside)
    text = {"type": "file", "format": "text", "content": "mine"}
    contents, files = ways
    api_path = contents.split("contents/", 1)[1]
    with exchanged(workdir / "d", workdir / "link"):
        for number in range(12):
            for request in (
                ("GET", f"{contents}/d/a.txt"),
                ("GET", f"{files}/d/a.txt"),
                ("PUT", f"{contents}/d/new-{number}.txt", text),
                ("POST", f"{contents}/d", {"type": "directory"}),
                ("GET", f"{contents}/d"),
                ("POST", f"{contents}/to", {"copy_from": f"{api_path}/d"}),
                ("POST", f"{contents}/d/a.txt/checkpoints"),
                ("PATCH", f"{contents}/d/new-{number}.txt", {"path": f"{api_path}/d/b.txt"}),
                ("DELETE", f"{contents}/d/b.txt"),
            ):
                answer = await ask(*request)
                assert answer.status < 500, (request, answer.body)
                assert request[0] != "PUT" or str(workspace.home) not in str(answer.body), request
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]


async def test_a_planted_notebook_that_was_never_finished_takes_no_place(
    ask: Any, workdir: Path, ways: tuple[str, str]
) -> None:
    """The stock manager moves both by their names, wherever the folder leads by then."""
    (workdir / "a.ipynb").write_text("broken")
    (workdir / ".~a.ipynb").write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    refused = await ask("GET", f"{ways[0]}/a.ipynb")
    assert (refused.status, "a.ipynb is no notebook: " in refused.body["message"]) == (400, True)
    assert sorted(path.name for path in workdir.iterdir()) == [".~a.ipynb", "a.ipynb"]


async def test_no_file_has_a_zero_in_its_name(ask: Any, ways: tuple[str, str]) -> None:
    for root in ways:
        assert (await ask("GET", f"{root}/a\0b")).status == 404


async def test_a_link_within_the_loop_is_followed(ask: Any, workdir: Path, ways: tuple[str, str]) -> None:
    (workdir / "real").mkdir()
    (workdir / "real" / "a.txt").write_text("mine")
    (workdir / "same").symlink_to("real")
    assert (await ask("GET", f"{ways[0]}/same/a.txt")).body["content"] == "mine"
    assert (await ask("GET", f"{ways[1]}/same/a.txt")).body == b"mine"


@pytest.mark.abuse("A6")
async def test_links_in_a_copied_folder_stay_links(
    ask: Any, workdir: Path, outside: Path, ways: tuple[str, str]
) -> None:
    (workdir / "real" / "inner").mkdir(parents=True)
    (workdir / "real" / "inner" / "a.txt").write_text("mine")
    (workdir / "real" / "secret").symlink_to(outside / "secret.txt")
    (workdir / "real" / "secrets").symlink_to(outside)
    (workdir / "to").mkdir()
    os.mkfifo(workdir / "real" / "fifo")
    # The attack works against the stock way.
    shutil.copytree(workdir / "real", workdir / "stock", ignore=lambda *_: ["fifo"])
    assert (workdir / "stock" / "secret").read_text() == "secret"
    assert not (workdir / "stock" / "secret").is_symlink()
    api_path = ways[0].split("contents/", 1)[1]
    made = await ask("POST", f"{ways[0]}/to", {"copy_from": f"{api_path}/real"})
    assert made.status == 201, made.body
    copy = workdir / "to" / "real"
    assert sorted(path.name for path in copy.iterdir()) == ["inner", "secret", "secrets"]
    assert (copy / "secret").is_symlink()
    assert (copy / "secrets").is_symlink()
    assert (copy / "inner" / "a.txt").read_text() == "mine"
    into_itself = await ask("POST", f"{ways[0]}/real/inner", {"copy_from": f"{api_path}/real"})
    assert into_itself.status == 400, into_itself.body


@pytest.mark.abuse("A6")
async def test_what_is_deleted_goes_to_the_trash_of_the_loop(
    ask: Any, workdir: Path, workspace: Workspace, outside: Path, ways: tuple[str, str]
) -> None:
    loop_id = workdir.parent.name
    for name in ("a b.txt", "folder/inner.txt"):
        (workdir / name).parent.mkdir(exist_ok=True)
        (workdir / name).write_text("mine")
    (workdir / "within").symlink_to("folder")
    for name in ("a b.txt", "within", "folder"):
        assert (await ask("DELETE", f"{ways[0]}/{name}")).status == 204, name
    (workdir / "a b.txt").write_text("again")
    assert (await ask("DELETE", f"{ways[0]}/a b.txt")).status == 204
    assert (await ask("DELETE", f"{ways[0]}/a b.txt")).status == 404
    assert list(workdir.iterdir()) == []
    trash = workspace.loop_home(loop_id) / ".local/share/Trash"
    assert (trash / "files/folder/inner.txt").read_text() == "mine"
    assert sorted(path.read_text() for path in trash.glob("files/a b.txt*")) == ["again", "mine"]
    note = (trash / "info/a b.txt.trashinfo").read_text().splitlines()
    assert note[:2] == ["[Trash Info]", f"Path=/loopat/loop/{loop_id}/workdir/a%20b.txt"]
    # A trash that leads out is none.
    (trash / "files").rename(trash / "before")
    (trash / "files").symlink_to(outside)
    (workdir / "a b.txt").write_text("mine")
    assert (await ask("DELETE", f"{ways[0]}/a b.txt")).status == 403
    assert [path.name for path in outside.iterdir()] == ["secret.txt"]


@pytest.mark.abuse("A6")
async def test_the_home_of_a_loop_is_no_way_out_either(
    ask: Any, outside: Path, workspace: Workspace, record: LoopRecord
) -> None:
    home = workspace.loop_home(record.id)
    (home / "file").symlink_to(outside / "secret.txt")
    (home / "folder").symlink_to(outside)
    for path in ("file", "folder/secret.txt"):
        for root in ("api/contents", "files"):
            assert (await ask("GET", f"{root}/loops/{record.id}/home/{path}")).status == 403, (root, path)
        text = {"type": "file", "format": "text", "content": "overwritten"}
        assert (await ask("PUT", f"api/contents/loops/{record.id}/home/{path}", text)).status == 403
    assert (outside / "secret.txt").read_text() == "secret"


async def test_a_file_is_sent_in_parts(ask: Any, jp_fetch: Any, workdir: Path, ways: tuple[str, str]) -> None:
    (workdir / "a.bin").write_bytes(b"0123456789" * 20000)
    assert (await ask("GET", f"{ways[1]}/a.bin")).body == b"0123456789" * 20000
    part = await jp_fetch(*ways[1].split("/"), "a.bin", headers={"Range": "bytes=5-12"})
    assert (part.code, part.body, part.headers["Content-Range"]) == (206, b"56789012", "bytes 5-12/200000")


async def test_links_outside_every_loop_are_nobodys_concern(ask: Any, workspace: Workspace, outside: Path) -> None:
    (workspace.home / "link").symlink_to(outside)
    assert (await ask("GET", "api/contents/link/secret.txt")).body["content"] == "secret"


async def test_files_of_an_archived_loop_are_read_and_not_changed(
    ask: Any, workdir: Path, workspace: Workspace, record: LoopRecord, ways: tuple[str, str]
) -> None:
    (workdir / "a.txt").write_text("a")
    store, (contents, files) = LoopStore(workspace), ways
    api_path = contents.split("contents/", 1)[1]
    text = {"type": "file", "format": "text", "content": "changed"}
    (workdir / "f").mkdir()
    assert (await ask("POST", f"{contents}/a.txt/checkpoints")).status == 201
    store.write(msgspec.structs.replace(record, archived=True))
    for answer in (
        await ask("POST", f"{contents}/a.txt/checkpoints"),
        await ask("POST", f"{contents}/a.txt/checkpoints/checkpoint"),
        await ask("DELETE", f"{contents}/a.txt/checkpoints/checkpoint"),
        await ask("POST", contents, {"copy_from": f"{api_path}/f"}),
        await ask("POST", contents, {"copy_from": f"{api_path}/a.txt"}),
        await ask("PUT", f"{contents}/a.txt", text),
        await ask("PUT", f"{contents}/new.txt", text),
        await ask("POST", contents, {"type": "directory"}),
        await ask("DELETE", f"{contents}/a.txt"),
        await ask("PATCH", f"{contents}/a.txt", {"path": f"{api_path}/b.txt"}),
    ):
        assert answer.status == 403
        assert "Unarchive in its menu" in answer.body["message"]
    assert (await ask("GET", f"{contents}/a.txt")).body["content"] == "a"
    assert (await ask("GET", f"{files}/a.txt")).status == 200
    assert sorted(path.name for path in workdir.iterdir()) == [".ipynb_checkpoints", "a.txt", "f"]
    store.write(record)
    assert (await ask("PUT", f"{contents}/a.txt", text)).status == 200
