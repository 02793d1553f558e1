"""Vaults over REST: names go out, values only come in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from loopat_jupyter.workspace.vaults import vaults_folder

if TYPE_CHECKING:
    from loopat_jupyter.workspace.paths import Workspace
    from tests.server.conftest import Log

pytestmark = pytest.mark.lonely

CANARY = "Kanarienvogel4711"
EMPTY = {"variables": [], "home": [], "encrypted": False, "locked": False, "warnings": []}
BAD_NAMES = ["-v", "%2e%2e%2fx", "Work", "x" * 300, "%00", "%0a", "%ff", "a%2fb", "%ef%bd%81", "%D0%B0"]


@pytest.fixture
def member(jp_serverapp: Any) -> str:
    return jp_serverapp.web_app.settings["loopat_service"].manager.member


async def test_from_nothing_to_a_variable_and_back(api: Any, workspace: Workspace, member: str) -> None:
    assert (await api("GET", "vaults")).body == {"vaults": []}
    made = await api("POST", "vaults", send={"name": "work"})
    assert (made.status, made.body) == (201, {"name": "work", **EMPTY})
    assert made.headers["Location"].endswith("/loopat/api/vaults/work")
    again = await api("POST", "vaults", send={"name": "work"})
    assert (again.status, again.body["reason"]) == (409, "conflict")
    assert (await api("PUT", "vaults", "work", "variables", "TOKEN", send={"value": f"{CANARY}\nü\n"})).status == 204
    file = vaults_folder(workspace, member) / "work" / "envs" / "TOKEN"
    assert file.read_text() == f"{CANARY}\nü\n"
    (vaults_folder(workspace, member) / "work" / "mounts" / "home" / ".ssh").mkdir()
    listed = await api("GET", "vaults")
    assert listed.body == {"vaults": [{"name": "work", **EMPTY, "variables": ["TOKEN"], "home": [".ssh"]}]}
    assert CANARY not in json.dumps(listed.body)
    assert (await api("DELETE", "vaults", "work", "variables", "TOKEN")).status == 204
    assert (await api("DELETE", "vaults", "work", "variables", "TOKEN")).status == 404
    assert (await api("DELETE", "vaults", "work")).status == 204
    assert (await api("DELETE", "vaults", "work")).status == 404
    assert (await api("GET", "vaults")).body == {"vaults": []}


async def test_the_default_vault_is_made_by_its_first_variable(api: Any) -> None:
    assert (await api("PUT", "vaults", "default", "variables", "A", send={"value": ""})).status == 204
    assert (await api("PUT", "vaults", "other", "variables", "A", send={"value": ""})).status == 404
    assert [vault["name"] for vault in (await api("GET", "vaults")).body["vaults"]] == ["default"]


async def test_a_vault_in_use_is_kept_unless_forced(api: Any) -> None:
    await api("POST", "vaults", send={"name": "work"})
    made = await api("POST", "loops", send={"title": "Sales", "vault": "work"})
    assert (made.status, made.body["vault"], made.body["warnings"]) == (201, "work", [])
    refused = await api("DELETE", "vaults", "work")
    assert (refused.status, refused.body["reason"]) == (409, "conflict")
    assert "'Sales'" in refused.body["message"]
    assert (await api("DELETE", "vaults", "work", params={"force": "true"})).status == 204


async def test_a_bad_name_is_refused_with_its_field(api: Any, workspace: Workspace) -> None:
    for name in BAD_NAMES:
        removed = await api("DELETE", "vaults", name)
        assert removed.status in (400, 404), name
        assert (await api("PUT", "vaults", name, "variables", "A", send={"value": "x"})).status in (400, 404), name
        assert (await api("DELETE", "vaults", name, "variables", "A")).status in (400, 404), name
        assert not [path for path in workspace.members.rglob("*") if path.is_file()], name


async def test_a_bad_name_in_a_body_is_refused_with_its_field(api: Any) -> None:
    for name in ("", "-v", "../x", "Work", "x" * 300, "a\0", "a/b", "\uff41", 1, None):
        made = await api("POST", "vaults", send={"name": name})
        assert (made.status, made.body["field"]) == (400, "name"), name
        if isinstance(name, str) and name:
            loop = await api("POST", "loops", send={"title": "a", "vault": name})
            assert (loop.status, loop.body["field"]) == (400, "vault"), name


async def test_what_is_no_variable_is_refused(api: Any) -> None:
    for name in ("a-b", "1", "UID", "A%3dB", "%00", "A.age", "%2e%2e%2fA"):
        for answer in (
            await api("PUT", "vaults", "default", "variables", name, send={"value": CANARY}),
            await api("DELETE", "vaults", "default", "variables", name),
        ):
            assert (answer.status, answer.body["field"]) == (400, "variable"), name


@pytest.mark.abuse("A12")
async def test_a_refused_value_is_repeated_nowhere(api: Any, server_log: Log) -> None:
    for body in (
        {"value": f"{CANARY}\0"},
        {"value": CANARY * 10_000},
        {"value": [CANARY]},
        {"value": {"x": CANARY}},
        {"valeu": CANARY},
        {CANARY[:0]: CANARY},
        {},
        [CANARY],
    ):
        answer = await api("PUT", "vaults", "default", "variables", "A", send=body)
        assert answer.status == 400, body
        assert CANARY not in json.dumps(answer.body), body
        assert CANARY not in server_log.text, body
    broken = await api("PUT", "vaults", "default", "variables", "A", body=f'{{"value": "{CANARY}\\ud800"}}'.encode())
    assert broken.status in (204, 400)
    torn = await api("PUT", "vaults", "default", "variables", "A", body=f'{{"value": "{CANARY}'.encode())
    assert torn.status == 400
    assert CANARY not in json.dumps([broken.body and str(broken.body), torn.body])
    assert CANARY not in server_log.text


@pytest.mark.podman
async def test_the_vault_of_a_loop_is_changed(api: Any, real_image: str) -> None:
    await api("POST", "vaults", send={"name": "work"})
    await api("PUT", "vaults", "work", "variables", "TOKEN", send={"value": "of the vault"})
    loop = (await api("POST", "loops", send={"title": "Sales"})).body["id"]
    refused = await api("PATCH", "loops", loop, send={"vault": "none"})
    assert (refused.status, refused.body["field"]) == (400, "vault")
    assert (await api("PATCH", "loops", loop, send={"vault": "work"})).body["vault"] == "work"
    ran = await api("POST", "loops", loop, "exec", send={"argv": ["printenv", "TOKEN"]}, request_timeout=100)
    assert ran.body == [{"stream": "stdout", "data": "of the vault\n"}, {"exit_code": 0}]
