from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.agents import agent_environment, find_agent
from loopat_jupyter.errors import BadInputError, ConfigurationError, NotFoundError
from loopat_jupyter.models import LoopRecord
from loopat_jupyter.workspace.config import Agent, load_config

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

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
