"""Agents: command lines of the configuration, offered as terminals of every loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.errors import NotFoundError
from loopat_jupyter.sandbox.plan import sandbox_agent_config, sandbox_workdir

if TYPE_CHECKING:
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.config import Agent, Config


def find_agent(config: Config, name: str) -> Agent:
    """The agent that a person means.

    Args:
        config: The workspace's settings.
        name: Of the agent.

    Raises:
        NotFoundError: There is none of that name; says which there are.
    """
    for agent in config.agents:
        if agent.name == name:
            return agent
    known = ", ".join(agent.name for agent in config.agents)
    there = f"There are: {known}." if known else "Name one in config.toml, in a table [[agents]]."
    raise NotFoundError(f"There is no agent {name[:80]!r}. {there}")


def agent_environment(agent: Agent, record: LoopRecord) -> dict[str, str]:
    """What an agent is told of where it is.

    Args:
        agent: The agent.
        record: The loop.
    """
    return {
        "CLAUDE_CONFIG_DIR": sandbox_agent_config(record.id),
        "LOOPAT_AGENT": agent.name,
        "LOOPAT_LOOP_ID": record.id,
        "LOOPAT_LOOP_TITLE": record.title,
        "LOOPAT_WORKDIR": sandbox_workdir(record.id),
    }
