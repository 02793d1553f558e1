"""Profiles, agents and projects over REST."""

from __future__ import annotations

import asyncio
import functools
import json
from typing import TYPE_CHECKING, Any

import pytest

from loopat_jupyter.workspace.loading import ConfigLoader
from tests.conftest import LONELY

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

AGENTS = """
[[agents]]
name = "tester"
command = ["bash", "./agent.sh", "with an argument"]
icon = "ui-components:code"
"""


async def test_profiles_by_name(api: Any, workspace: Workspace) -> None:
    assert (await api("GET", "profiles")).body == {"profiles": []}
    (workspace.profiles / "data").mkdir(parents=True)
    (workspace.profiles / "data" / "profile.toml").write_text('description = "Data work"')
    assert (await api("GET", "profiles")).body == {"profiles": [{"name": "data", "description": "Data work"}]}
    made = await api("POST", "loops", send={"title": "a", "profiles": ["data"]})
    assert (made.status, made.body["profiles"]) == (201, ["data"])


async def test_an_unknown_profile_is_bad_input(api: Any, workspace: Workspace) -> None:
    for name in ("../data", "nothing", "-v", "da\nta", "a" * 300):
        refused = await api("POST", "loops", send={"title": "a", "profiles": [name]})
        assert (refused.status, refused.body["field"]) == (400, "profiles"), name
    assert (await api("GET", "loops")).body["loops"] == []


async def test_what_loops_have_that_say_nothing(api: Any, workspace: Workspace) -> None:
    workspace.config_file.write_text('network = "none"\n[resources]\ncpus = 1.5\n[image]\nuse = "x/y:1"\n')
    limits = {"cpus": 1.5, "memory_bytes": None, "pids": None, "shm_size_bytes": None, "devices": None}
    assert (await api("GET", "defaults")).body == {
        "image": "x/y:1",
        "network": "none",
        "isolation": "nested",
        "shared_tmp": False,
        "resources": limits,
    }


async def test_a_server_that_runs_goes_by_the_settings_of_now(
    api: Any, workspace: Workspace, server_log: Any, started: Any
) -> None:
    assert (await api("GET", "defaults")).body["network"] == "bridge"
    workspace.config_file.write_text(LONELY)
    assert (await api("GET", "defaults")).body["network"] == "none"
    workspace.config_file.write_text('network = "nome"\n')
    assert (await api("GET", "defaults")).body["network"] == "none"
    (told,) = [each.getMessage() for each in server_log.records if "those of before still count" in each.getMessage()]
    assert "config.toml, line 1" in told


async def test_a_project_is_shown_and_not_run(api: Any, workspace: Workspace) -> None:
    loop = (await api("POST", "loops", send={"title": "a"})).body["id"]
    assert (await api("GET", "loops", loop, "project")).body == {"files": []}
    (workspace.workdir(loop) / "requirements.txt").write_text("six")
    (workspace.workdir(loop) / ".devcontainer.json").write_text('{"forwardPorts": [80], "mounts": []}')
    assert [
        (entry["file"], entry["kind"], entry["honoured"], entry["command"], entry["value"])
        for entry in (await api("GET", "loops", loop, "project")).body["files"]
    ] == [
        ("requirements.txt", "packages", True, "pip install --user -r requirements.txt", None),
        (".devcontainer.json", "ports", False, None, [80]),
        (".devcontainer.json", "other", False, None, None),
    ]
    assert (await api("GET", "loops", "0" * 8, "project")).status == 404


@pytest.fixture
def site_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's file, for servers that are made after it."""
    file = tmp_path / "site.toml"
    monkeypatch.setattr("loopat_jupyter.workspace.loading.ConfigLoader", functools.partial(ConfigLoader, file))
    return file


async def test_a_project_gets_no_image_where_the_site_has_fixed_it(
    site_file: Path, api: Any, workspace: Workspace
) -> None:
    site_file.write_text('fixed = ["image"]\n[image]\nuse = "site:1"\n')
    loop = (await api("POST", "loops", send={"title": "a"})).body["id"]
    (workspace.workdir(loop) / ".devcontainer.json").write_text('{"image": "x/y:1", "build": {"dockerfile": "D"}}')
    files = (await api("GET", "loops", loop, "project")).body["files"]
    assert [(entry["kind"], entry["honoured"]) for entry in files] == [("image", False), ("build", False)]


async def test_agents_are_offered_as_soon_as_the_configuration_names_them(api: Any, workspace: Workspace) -> None:
    assert (await api("GET", "agents")).body == {"agents": []}
    workspace.config_file.write_text(AGENTS)
    assert [agent["name"] for agent in (await api("GET", "agents")).body["agents"]] == ["tester"]
    workspace.config_file.write_text("[[agents]]\nname = 1\n")
    wrong = await api("GET", "agents")
    assert (wrong.status, "config.toml, line 2" in wrong.body["message"]) == (503, True)


@pytest.fixture
def agents(workspace: Workspace) -> None:
    """A workspace that offers an agent; asked for before the server is made."""
    workspace.config_file.write_text(LONELY + AGENTS)
    workspace.tier.mkdir()
    (workspace.tier / "settings.json").write_text('{"model": "from the tier"}')


@pytest.mark.podman
async def test_an_agent_runs_on_a_terminal_with_the_loops_configuration(
    agents: None, real_image: str, api: Any, connect: Any, workspace: Workspace
) -> None:
    offered = {"name": "tester", "command": ["bash", "./agent.sh", "with an argument"], "icon": "ui-components:code"}
    assert (await api("GET", "agents")).body == {"agents": [offered]}
    loop = (await api("POST", "loops", send={"title": "an agent's"})).body["id"]
    (workspace.workdir(loop) / "agent.sh").write_text(
        'jq -r .model "$CLAUDE_CONFIG_DIR/settings.json"\n'
        'echo "$1 / $LOOPAT_AGENT / $LOOPAT_LOOP_ID / $LOOPAT_LOOP_TITLE / $(test -t 0 && echo a terminal)"\n'
        'trap "echo interrupted" INT; echo noted > "$CLAUDE_CONFIG_DIR/note"\n'
        'test "$PWD" = "$LOOPAT_WORKDIR" && echo in""place; until read; do :; done; exit 7\n'
    )
    unknown = await api("POST", "loops", loop, "terminals", send={"agent": "nobody"})
    assert (unknown.status, unknown.body["message"]) == (404, "There is no agent 'nobody'. There are: tester.")
    opened = await api("POST", "loops", loop, "terminals", send={"agent": "tester"}, request_timeout=100)
    assert opened.status == 201
    socket = await connect("terminals", "websocket", opened.body["name"])

    async def until(text: str) -> str:
        shown = ""
        async with asyncio.timeout(60):
            while text not in shown:
                kind, *rest = json.loads(await socket.read_message())
                assert kind != "disconnect", shown
                shown += rest[0] if kind == "stdout" else ""
        return shown

    shown = await until("inplace")
    assert "from the tier\r\n" in shown
    assert f"with an argument / tester / {loop} / an agent's / a terminal\r\n" in shown
    assert (workspace.agent_config(loop) / "note").read_text() == "noted\n"
    # An interrupt is the agent's own; what it wrote last stays until a person has read it.
    await socket.write_message(json.dumps(["stdin", "\x03"]))
    await until("interrupted")
    await socket.write_message(json.dumps(["stdin", "\r"]))
    await until("tester ended with code 7. Press Enter to close this terminal. ")
    await socket.write_message(json.dumps(["stdin", "\r"]))
    async with asyncio.timeout(60):
        while json.loads(await socket.read_message())[0] != "disconnect":
            pass
    # So does what is said of an agent that is not installed.
    workspace.config_file.write_text('[[agents]]\nname = "tester"\ncommand = ["nowhere"]\n')
    opened = await api("POST", "loops", loop, "terminals", send={"agent": "tester"})
    socket = await connect("terminals", "websocket", opened.body["name"])
    shown = await until("Press Enter")
    assert "nowhere: there is no such command in this loop. Install it" in shown
    assert "tester ended with code 127." in shown
