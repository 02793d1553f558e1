from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.agents import agent_environment, find_agent
from loopat_jupyter.errors import BadInputError, ConfigurationError, NotFoundError
from loopat_jupyter.models import LoopRecord
from loopat_jupyter.workspace.config import Agent, load_config
from tests.test_profiles import run

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.workspace.paths import Workspace

pytestmark = pytest.mark.lonely


AGENT = Agent(name="claude", command=("claude", "--continue"), icon="")


def test_an_agent_by_its_name_as_the_configuration_is_now(workspace: Workspace):
    with pytest.raises(NotFoundError, match=r"\[\[agents\]\]"):
        find_agent(workspace, "claude")
    workspace.config_file.write_text('[[agents]]\nname = "claude"\ncommand = ["claude", "--continue"]\n')
    assert find_agent(workspace, "claude") == AGENT
    with pytest.raises(NotFoundError, match="There are: claude"):
        find_agent(workspace, "../claude")
    workspace.config_file.write_text("[[agents]]\n")
    with pytest.raises(ConfigurationError, match=r"config\.toml"):
        find_agent(workspace, "claude")


def test_an_agent_is_told_where_it_is():
    record = LoopRecord(id="0a", title="A loop", slug="a", created_at=dt.datetime.now(dt.UTC), created_by="ada")
    assert agent_environment(AGENT, record) == {
        "CLAUDE_CONFIG_DIR": "/loopat/loop/0a/.claude",
        "LOOPAT_AGENT": "claude",
        "LOOPAT_LOOP_ID": "0a",
        "LOOPAT_LOOP_TITLE": "A loop",
        "LOOPAT_WORKDIR": "/loopat/loop/0a/workdir",
    }


def test_agents_come_from_the_configuration(tmp_path: Path):
    file = tmp_path / "config.toml"
    file.write_text('[[agents]]\nname = "claude"\ncommand = ["claude", "--continue"]\n')
    assert load_config(file, {}, tmp_path / "none").agents == (AGENT,)


@pytest.mark.parametrize(
    "text",
    ['name = "a"', 'name = "a"\ncommand = []', 'name = "-v"\ncommand = ["a"]', 'name = "a"\ncommand = "a b"'],
)
def test_a_senseless_agent_is_refused(tmp_path: Path, text: str):
    file = tmp_path / "config.toml"
    file.write_text(f"[[agents]]\n{text}\n")
    with pytest.raises(BadInputError, match="agents"):
        load_config(file, {}, tmp_path / "none")


@pytest.mark.podman
async def test_an_agent_inside_finds_what_it_should_know_of_loops_and_cannot_change_it(manager: LoopManager):
    record = manager.create(title="Agents")
    skill = f"/loopat/loop/{record.id}/.claude/skills/loopat/SKILL.md"
    command = 'head -2 "$1"; touch "$1" "${1%/*}/new" 2>/dev/null || echo refused; : >"${1%/*/*}/own" && echo own'
    assert await run(manager, record, "bash", "-c", command, "bash", skill) == (0, "---\nname: loopat\nrefused\nown\n")
    await manager.delete(record.id, force=True)
    assert not manager.workspace.loop(record.id).exists()
