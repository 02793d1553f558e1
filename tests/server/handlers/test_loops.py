"""Loops over REST: no podman is needed for most of it, and a real one runs where there is."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopat_jupyter.workspace.files import write_atomic
from loopat_jupyter.workspace.records import LoopStore

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

UNKNOWN = "8c5a9ba2-6f3e-4c6f-9d5a-0d4f5b6c7d8e"
IDS = ["x", "-v", "..", "%2e%2e", "..%2f..", UNKNOWN, UNKNOWN.upper(), "ü", "a b", "x" * 3000, "%00", "%0a"]
WITH_ID = [
    ("GET", ()),
    ("PATCH", ()),
    ("DELETE", ()),
    ("POST", ("start",)),
    ("POST", ("stop",)),
    ("POST", ("recreate",)),
    ("POST", ("terminals",)),
    ("POST", ("exec",)),
    ("GET", ("kernelspecs",)),
]


@pytest.fixture
def workspace_files(workspace: Workspace) -> Any:
    """What stands in the workspace: name and content."""

    def read() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in workspace.home.rglob("*") if path.is_file()}

    return read


CONFIG = {
    "network": "none",
    "isolation": None,
    "shared_tmp": None,
    "knowledge_rw": None,
    "all_loops": None,
    "resources": {"cpus": None, "memory_bytes": None, "pids": None, "shm_size_bytes": None, "devices": None},
    "env": {},
}


class TestContexts:
    @pytest.fixture
    def carries_contexts(self) -> bool:
        return True

    async def test_a_new_loop_says_where_its_contexts_begin(self, api: Any) -> None:
        first, second = [(await api("POST", "loops", send={"title": "a"})).body["contexts"] for _ in range(2)]
        assert [start["kind"] for start in first] == ["knowledge", "notes", "personal"]
        assert second == first


@pytest.mark.podman
@pytest.mark.lonely
class TestLife:
    async def test_create_show_change_list_delete(self, api: Any, workspace: Workspace) -> None:
        made = await api(
            "POST",
            "loops",
            send={"title": " Regen im März ", "metadata": {"a": [1]}, "config": {"network": "none"}, "image": "x/y:1"},
        )
        loop = made.body["id"]
        expected = {
            "id": loop,
            "title": "Regen im März",
            "slug": "regen-im-marz",
            "created_at": made.body["created_at"],
            "created_by": "loopat",
            "archived": False,
            "state": "absent",
            "restart_needed": False,
            "build_failed": False,
            "repo_missing": False,
            "vault_missing": False,
            "progress": None,
            "warnings": [],
            "in_use": {"kernels": 0, "terminals": 0, "commands": 0, "unresponsive": []},
            "workdir": str(workspace.workdir(loop)),
            "folder": f"regen-im-marz-{loop[:8]}",
            "repo": None,
            "ref": None,
            "branch": None,
            "commit": None,
            "contexts": [],
            "profiles": [],
            "vault": "default",
            "image": "x/y:1",
            "config": CONFIG,
            "isolation": "nested",
            "share": {"mode": "off", "port": None, "alias": None, "protocol": "tcp", "public_port": None},
            "metadata": {"a": [1]},
            "last_activity": made.body["last_activity"],
        }
        assert {**made.body, "created_by": "loopat"} == expected
        assert made.status == 201
        assert made.headers["Location"].endswith(f"/loopat/api/loops/{loop}")
        shown = await api("GET", "loops", loop)
        assert (shown.status, shown.body) == (200, made.body)
        changed = await api("PATCH", "loops", loop, send={"title": "Schnee", "image": None})
        assert changed.status == 200
        assert changed.body["title"] == "Schnee"
        assert changed.body["image"] is None
        assert changed.body["config"] == CONFIG
        assert (await api("GET", "loops")).body == {"loops": [changed.body], "next": None}
        archived = await api("PATCH", "loops", loop, send={"archived": True})
        shown = await api("GET", "loops", loop)
        assert (archived.status, shown.status, shown.body["archived"]) == (200, 200, True)
        assert (await api("DELETE", "loops", loop)).status == 204
        assert (await api("GET", "loops", loop)).status == 404
        assert (await api("GET", "loops")).body == {"loops": [], "next": None}
        assert not workspace.loop(loop).exists()

    async def test_pages(self, api: Any) -> None:
        made = [(await api("POST", "loops", send={"title": f"loop {number}"})).body["id"] for number in range(5)]
        first = (await api("GET", "loops", params={"limit": "2"})).body
        second = (await api("GET", "loops", params={"limit": "3", "after": first["next"]})).body
        assert [loop["id"] for loop in first["loops"] + second["loops"]] == made[::-1]
        assert second["next"] is None

    @pytest.mark.fault("F14")
    async def test_a_damaged_record_is_set_aside_and_named(
        self, api: Any, workspace: Workspace, caplog: pytest.LogCaptureFixture
    ) -> None:
        good = (await api("POST", "loops", send={"title": "good"})).body["id"]
        bad = (await api("POST", "loops", send={"title": "bad"})).body["id"]
        workspace.record(bad).write_bytes(b'{"schema": 1, "id"')
        with caplog.at_level(logging.WARNING):
            listed = await api("GET", "loops")
        assert [loop["id"] for loop in listed.body["loops"]] == [good]
        assert str(workspace.record(bad)) in caplog.text
        for verb, rest in WITH_ID:
            if verb != "DELETE":
                answer = await api(verb, "loops", bad, *rest, send={"argv": ["true"]} if rest == ("exec",) else {})
                assert (answer.status, answer.body["reason"]) == (422, "unreadable_record")
        assert (await api("DELETE", "loops", bad)).status == 204

    async def test_whatever_loses_a_race_with_delete_is_404(self, api: Any, workspace: Workspace) -> None:
        for _ in range(3):
            loop = (await api("POST", "loops", send={"title": "short"})).body["id"]
            answers = await asyncio.gather(
                api("GET", "loops", loop),
                api("PATCH", "loops", loop, send={"title": "still there"}),
                api("DELETE", "loops", loop),
                api("GET", "loops"),
                api("DELETE", "loops", loop),
                api("GET", "loops", loop),
            )
            assert {answer.status for answer in answers} <= {200, 204, 404}
            assert answers[2].status == 204 or answers[4].status == 204
            assert not workspace.record(loop).exists()


class TestEndOfTheServer:
    """What is asked of a loop while the server is stopping."""

    async def test_a_deletion_that_has_begun_goes_to_its_end(
        self, started: Any, api: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop = (await api("POST", "loops", send={"title": "a"})).body["id"]
        service = started.web_app.settings["loopat_service"]
        folders, begun, go_on = service.manager.sandboxes.folders, asyncio.Event(), asyncio.Event()
        remove = folders.remove

        async def remove_slowly(folder: Path) -> None:
            if folder == workspace.deleted(loop):
                begun.set()
                await go_on.wait()
            await remove(folder)

        monkeypatch.setattr(folders, "remove", remove_slowly)
        background = set(service._tasks)
        deleting = asyncio.ensure_future(api("DELETE", "loops", loop))
        await begun.wait()
        stopping = asyncio.ensure_future(started.extension_manager.stop_all_extensions())
        while not stopping.done() and not any(task.cancelling() for task in service._tasks - background):
            await asyncio.sleep(0)
        assert not stopping.done()
        go_on.set()
        assert (await deleting).status == 204
        assert not workspace.loop(loop).exists()
        await stopping

    async def test_what_has_not_begun_is_called_off_and_told(
        self, started: Any, api: Any, workspace: Workspace
    ) -> None:
        loop = (await api("POST", "loops", send={"title": "a"})).body["id"]
        record = workspace.record(loop).read_bytes()
        service = started.web_app.settings["loopat_service"]
        background = set(service._tasks)
        async with service.manager.sandboxes.lock(loop):
            asked = [asyncio.ensure_future(api("DELETE", "loops", loop))]
            asked.append(asyncio.ensure_future(api("PATCH", "loops", loop, send={"title": "b"})))
            while len(service._tasks - background) < len(asked):
                await asyncio.sleep(0)
            await started.extension_manager.stop_all_extensions()
            deleted, changed = await asyncio.gather(*asked)
        assert (deleted.status, changed.status) == (409, 409)
        assert deleted.body["message"] == ("The loop was not deleted, because the server is stopping. Try again later.")
        assert changed.body["message"] == (
            "The change was called off, because the server is stopping. Try again later."
        )
        assert workspace.record(loop).read_bytes() == record


class TestBadInput:
    @pytest.mark.abuse("A1")
    async def test_unknown_loops_are_404(self, api: Any) -> None:
        for loop, (verb, rest) in itertools.product(IDS, WITH_ID):
            answer = await api(verb, "loops", loop, *rest, send={"argv": ["true"]} if rest == ("exec",) else {})
            told = (answer.status, answer.body["code"], answer.body["reason"])
            assert told == (404, 404, "not_found"), (verb, loop, rest)

    @pytest.mark.abuse("A1")
    async def test_bad_titles_make_nothing(self, api: Any, workspace_files: Any) -> None:
        before = workspace_files()
        for title in ("", " ", "a\nb", "a\0b", "\u2028", "x" * 201, "\ud800", 7, None, [], {}, True, 1.5):
            refused = await api("POST", "loops", send={"title": title})
            assert (refused.status, refused.body["reason"]) == (400, "bad_input"), title
            assert refused.body["field"] in ("title", "body"), title
            assert workspace_files() == before, title

    async def test_bad_images_make_nothing(self, api: Any, workspace_files: Any) -> None:
        before = workspace_files()
        for image in ("-v", "", "a b", "x" * 300, "--help", "a\n", "../x", "a..b"):
            refused = await api("POST", "loops", send={"title": "a", "image": image})
            assert (refused.status, refused.body["field"]) == (400, "image"), image
            assert workspace_files() == before, image

    async def test_metadata_has_a_limit(self, api: Any) -> None:
        refused = await api("POST", "loops", send={"title": "a", "metadata": {"a": "x" * 17_000}})
        assert (refused.status, refused.body["field"]) == (400, "metadata")

    @pytest.mark.abuse("A13")
    async def test_deep_json_is_refused_or_kept(self, api: Any) -> None:
        for depth in (63, 64, 300, 900, 950, 980, 990, 1000, 100_000):
            body = b'{"title":"deep","metadata":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
            made = await api("POST", "loops", body=body)
            assert made.status in (201, 400), depth
            if made.status == 201:
                # Who was let in stays readable, however deep in the server it is read.
                changed = await api("POST", "loops", made.body["id"], "terminals", send={"cwd": "nowhere"})
                assert changed.body["field"] == "cwd", depth

    @pytest.mark.abuse("A13")
    @pytest.mark.parametrize("size_bytes", [1024 * 1024 + 1, 30 * 1024 * 1024])
    async def test_large_bodies_are_thrown_away(self, api: Any, size_bytes: int) -> None:
        refused = await api("POST", "loops", body=b" " * size_bytes)
        assert (refused.status, refused.body["reason"]) == (413, "too_large")

    async def test_bad_parameters_are_named(self, api: Any) -> None:
        for field, value in (
            ("limit", "0"),
            ("limit", "501"),
            ("limit", "x"),
            ("limit", ""),
            ("archived", "maybe"),
            ("after", "x"),
            ("after", UNKNOWN),
            ("after", "../x\0"),
        ):
            refused = await api("GET", "loops", params={field: value})
            assert (refused.status, refused.body["field"]) == (400, field), value

    async def test_parameters_of_the_server_and_of_browsers_are_left_alone(self, api: Any) -> None:
        listed = await api("GET", "loops", params={"1764000000000": "", "no_track_activity": "1"})
        assert listed.status == 200

    async def test_other_verbs_are_405(self, api: Any) -> None:
        for verb, path in (("PUT", "loops"), ("PATCH", "loops"), ("PUT", "health")):
            refused = await api(verb, path, send={})
            assert (refused.status, refused.body["reason"]) == (405, "method_not_allowed"), (verb, path)
            allowed = refused.headers["Allow"]
            assert allowed in ("GET", "GET, POST"), (verb, path)
            assert refused.body["message"] == f"This path takes {allowed}, and no {verb}."

    async def test_paths_that_do_not_exist_are_404_as_json(self, api: Any) -> None:
        for path in (("nope",), ("loops", UNKNOWN, "nope"), ("loops", UNKNOWN, "exec", "x"), ()):
            assert (await api("GET", *path)).body["reason"] == "not_found"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    ["title", "image", "config", "metadata", "argv", "cwd", "env", "stdin", "timeout_s", "profiles", "vault"]
)
BODIES = (
    JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(FIELDS, JSON, max_size=5).map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=50)
)


class TestAnyBody:
    @pytest.mark.abuse("A13")
    @settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(bodies=st.lists(BODIES, min_size=5, max_size=5))
    def test_never_a_500(self, api: Any, workspace: Workspace, jp_asyncio_loop: Any, bodies: list[bytes]) -> None:
        async def send() -> None:
            for body in bodies:
                made = await api("POST", "loops", body=body)
                assert made.status in (201, 400)
                assert made.status == 201 or made.body["field"]
                for rest in ((), ("terminals",), ("exec",)):
                    verb = "POST" if rest else "PATCH"
                    answer = await api(verb, "loops", UNKNOWN, *rest, body=body)
                    assert answer.status in (400, 404)

        jp_asyncio_loop.run_until_complete(send())


@pytest.mark.fault("F13")
class TestFullDisk:
    async def test_nothing_half_made(
        self, api: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, full_disk: Any
    ) -> None:
        loop = (await api("POST", "loops", send={"title": "before"})).body["id"]
        before = workspace.record(loop).read_bytes()
        with full_disk():
            refused = await api("POST", "loops", send={"title": "after"})
            with pytest.raises(OSError, match="No space left|File too large"):
                write_atomic(workspace.record(loop), b"x")
        assert (refused.status, refused.body["reason"]) == (503, "storage_full")
        assert workspace.record(loop).read_bytes() == before
        assert [entry.name for entry in workspace.loops.iterdir()] == [loop]
        assert (await api("POST", "loops", send={"title": "after"})).status == 201
        assert len(list(LoopStore(workspace).readable())) == 2
