"""The drive over HTTP, as JupyterLab uses it."""

from __future__ import annotations

import base64
import itertools
import json
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

if TYPE_CHECKING:
    from pathlib import Path

API = "loopat/api/contents"
FILES = "loopat/api/files"


async def test_the_root_lists_the_loops(ask: Any, folder: str) -> None:
    answer = await ask("GET", API)
    assert answer.status == 200
    assert (answer.body["type"], answer.body["path"], answer.body["writable"]) == ("directory", "", False)
    assert [(entry["name"], entry["path"], entry["type"]) for entry in answer.body["content"]] == [
        (folder, folder, "directory")
    ]
    assert (await ask("GET", API, content="0")).body["content"] is None
    # A folder has no hash.
    for path in (API, f"{API}/{folder}"):
        assert (await ask("GET", path, hash="1")).body["hash"] is None


async def test_files_are_made_read_renamed_copied_and_deleted(ask: Any, folder: str, workdir: Path) -> None:
    made = await ask("POST", f"{API}/{folder}", {"type": "file", "ext": ".txt"})
    assert (made.status, made.body["path"]) == (201, f"{folder}/untitled.txt")
    assert made.headers["Location"].endswith(f"/{API}/{folder}/untitled.txt")
    saved = await ask("PUT", f"{API}/{folder}/untitled.txt", {"type": "file", "format": "text", "content": "rain"})
    assert (saved.status, (workdir / "untitled.txt").read_text()) == (200, "rain")
    renamed = await ask("PATCH", f"{API}/{folder}/untitled.txt", {"path": f"{folder}/data.txt"})
    assert (renamed.status, renamed.body["path"]) == (200, f"{folder}/data.txt")
    assert (await ask("POST", f"{API}/{folder}", {"type": "directory"})).body["name"] == "Untitled Folder"
    copied = await ask("POST", f"{API}/{folder}/Untitled Folder", {"copy_from": f"{folder}/data.txt"})
    assert copied.status == 201, copied.body
    assert (workdir / "Untitled Folder" / "data.txt").read_text() == "rain"
    listed = await ask("GET", f"{API}/{folder}")
    assert sorted(entry["name"] for entry in listed.body["content"]) == ["Untitled Folder", "data.txt"]
    assert (await ask("DELETE", f"{API}/{folder}/data.txt")).status == 204
    assert not (workdir / "data.txt").exists()


async def test_a_large_file_comes_in_pieces(ask: Any, folder: str, workdir: Path) -> None:
    for chunk, data in ((1, b"first "), (2, b"second "), (-1, b"last")):
        content = base64.b64encode(data).decode()
        body = {"type": "file", "format": "base64", "content": content, "chunk": chunk, "name": "big.bin"}
        assert (await ask("PUT", f"{API}/{folder}/big.bin", body)).status in (200, 201)
    assert (workdir / "big.bin").read_bytes() == b"first second last"


async def test_checkpoints_go_back(ask: Any, folder: str, workdir: Path) -> None:
    (workdir / "a.txt").write_text("before")
    made = await ask("POST", f"{API}/{folder}/a.txt/checkpoints")
    assert made.status == 201, made.body
    (workdir / "a.txt").write_text("after")
    (listed,) = (await ask("GET", f"{API}/{folder}/a.txt/checkpoints")).body
    assert (await ask("POST", f"{API}/{folder}/a.txt/checkpoints/{listed['id']}")).status == 204
    assert (workdir / "a.txt").read_text() == "before"
    assert (await ask("DELETE", f"{API}/{folder}/a.txt/checkpoints/{listed['id']}")).status == 204
    assert (await ask("GET", f"{API}/{folder}/a.txt/checkpoints")).body == []


async def test_notebooks_are_read_and_trusted(ask: Any, folder: str, workdir: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", id="one")])
    (workdir / "n.ipynb").write_text(json.dumps(notebook))
    assert (await ask("POST", f"{API}/{folder}/n.ipynb/trust")).status == 201
    read = await ask("GET", f"{API}/{folder}/n.ipynb", type="notebook")
    assert read.body["content"]["cells"][0]["metadata"]["trusted"] is True


async def test_files_are_downloaded(ask: Any, folder: str, workdir: Path) -> None:
    (workdir / "a b.txt").write_bytes(b"x" * 1000)
    answer = await ask("GET", f"{FILES}/{folder}/a b.txt", download="1")
    assert (answer.status, answer.body) == (200, b"x" * 1000)
    assert "attachment" in answer.headers["Content-Disposition"]
    assert "sandbox allow-scripts" in answer.headers["Content-Security-Policy"]
    head = await ask("HEAD", f"{FILES}/{folder}/a b.txt")
    assert (head.status, head.headers["Content-Length"]) == (200, "1000")


async def test_what_is_in_no_loop_is_not_found(ask: Any, folder: str) -> None:
    requests: tuple[tuple[str, str, Any], ...] = (
        ("GET", "nowhere", None),
        ("GET", f"{folder}/nowhere", None),
        ("GET", "..%2F..", None),
        ("POST", "nowhere", {"type": "file"}),
        ("PUT", "nowhere/a.txt", {"type": "file", "format": "text", "content": ""}),
        ("PUT", "new-folder", {"type": "directory"}),
        ("POST", "", {"type": "directory"}),
        ("DELETE", "nowhere/a", None),
    )
    for method, path, body in requests:
        answer = await ask(method, f"{API}/{path}".rstrip("/"), body)
        assert answer.status == 404, (method, path, answer.body)


_NO_NOTEBOOKS: tuple[Any, ...] = (
    None, [], {}, {"nbformat": 99, "nbformat_minor": 0, "metadata": {}, "cells": []},
    {"nbformat": 4, "nbformat_minor": 5, "metadata": 7, "cells": [7]},
    {"nbformat": "x", "nbformat_minor": None, "metadata": {}, "cells": []},
)  # fmt: skip


async def test_what_makes_no_sense_is_blamed_on_who_sent_it(ask: Any, folder: str, workdir: Path) -> None:
    (workdir / "a.txt").write_text("as it was")
    (workdir / "d").mkdir()
    lone = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("\ud800", id="one")])
    (workdir / "lone.ipynb").write_text(json.dumps(lone))
    text = {"type": "file", "format": "text", "content": "x"}
    odd = (7, "x", [1], {"path": {}}, {"path": "\ud800"})
    changes = ({"type": []}, {"format": "x"}, {"chunk": "x"}, {"content": 7})
    bodies: list[tuple[str, str, Any]] = [
        ("PATCH", "a.txt", {"path": None}),
        ("PATCH", "none.txt", {"path": f"{folder}/."}),
        *((verb, "a.txt", body) for verb in ("PUT", "PATCH") for body in odd),
        *(("PUT", "a.txt", text | change) for change in changes),
        *(("PUT", "n.ipynb", {"type": "notebook", "content": content}) for content in _NO_NOTEBOOKS),
        *(("PUT", place, text) for place in ("a.txt/b", "none/b", "d")),
        *(("POST", place, {}) for place in ("none/checkpoints", "a.txt/checkpoints/none", "a.txt/trust")),
        ("POST", "lone.ipynb/trust", {}),
        ("GET", "lone.ipynb", None),
        ("POST", "d", {"ext": 7}),
        ("POST", "d", {"copy_from": {}}),
    ]
    for verb, place, body in bodies:
        answer = await ask(verb, f"{API}/{folder}/{place}", body)
        assert 400 <= answer.status < 500, (verb, place, body, answer.body)
    assert (workdir / "a.txt").read_text() == "as it was"
    assert sorted(path.name for path in workdir.iterdir() if path.name[0] != ".") == ["a.txt", "d", "lone.ipynb"]
    assert list((workdir / "d").iterdir()) == []


async def test_whole_loops_are_not_files(ask: Any, folder: str, workdir: Path) -> None:
    (workdir / "a").touch()
    assert (await ask("DELETE", f"{API}/{folder}")).status == 403
    # Nothing can be called anything that is no loop.
    renamed = await ask("PATCH", f"{API}/{folder}", {"path": "other"})
    assert renamed.status == 404
    assert "renamed and deleted in the Loops panel" in str(renamed.body)
    assert (await ask("PATCH", f"{API}/{folder}/a", {"path": "other"})).status == 404
    assert (await ask("PATCH", f"{API}/{folder}", {"path": f"{folder}/inner"})).status == 403
    assert (workdir / "a").exists()


async def test_hidden_files_stay_hidden(ask: Any, folder: str, workdir: Path) -> None:
    for hidden in (".env", ".ssh/key"):
        (workdir / hidden).parent.mkdir(exist_ok=True)
        (workdir / hidden).write_text("secret")
        assert (await ask("GET", f"{API}/{folder}")).body["content"] == [], hidden
        for root in (API, FILES):
            answer = await ask("GET", f"{root}/{folder}/{hidden}")
            assert answer.status == 404, (root, hidden)
            assert b"secret" not in json.dumps(answer.body, default=str).encode(), (root, hidden)


@pytest.fixture
def send(http_server_client: Any, jp_base_url: str) -> Any:
    """Sends a request as a stranger does."""

    async def sent(method: str, path: str, headers: dict[str, str]) -> Any:
        body = b"{}" if method in ("POST", "PUT", "PATCH") else None
        url = f"{jp_base_url.rstrip('/')}/{path}"
        return await http_server_client.fetch(
            url, method=method, headers=headers, body=body, raise_error=False, follow_redirects=False
        )

    return sent


async def test_nobody_gets_in_without_credentials(send: Any, folder: str, workdir: Path) -> None:
    (workdir / "a.txt").write_text("mine")
    for request in itertools.product(
        ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
        (API, FILES),
        ("", "/checkpoints", "/checkpoints/checkpoint", "/trust"),
        ({}, {"Authorization": "token wrong"}),
    ):
        method, root, end, credentials = request
        answer = await send(method, f"{root}/{folder}/a.txt{end}", credentials)
        # 405 where a stock handler knows no such verb; 302 leads to the login page.
        assert answer.code in (302, 403, 405), (request, answer.code)
        assert b"mine" not in (answer.body or b""), request
        assert (workdir / "a.txt").read_text() == "mine", request
