"""Agents: command lines of the configuration, offered as terminals of every loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.errors import BadInputError, ConfigurationError, NotFoundError
from loopat_jupyter.sandbox.plan import sandbox_agent_config, sandbox_workdir
from loopat_jupyter.workspace.config import load_config

if TYPE_CHECKING:
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.config import Agent
    from loopat_jupyter.workspace.paths import Workspace


def offered_agents(workspace: Workspace) -> tuple[Agent, ...]:
    """The agents that the configuration names now, which may be others than when a server read its settings.

    Args:
        workspace: Whose settings.

    Raises:
        ConfigurationError: The configuration is wrong by now; names the file and the key.
    """
    try:
        # No variable has a say in agents.
        return load_config(workspace.config_file, {}).agents
    except BadInputError as error:
        raise ConfigurationError(f"The agents cannot be read from the configuration: {error.message}") from error


def find_agent(workspace: Workspace, name: str) -> Agent:
    """The agent that a person means.

    Args:
        workspace: Whose settings name it.
        name: Of the agent.

    Raises:
        ConfigurationError: The configuration is wrong; names the file and the key.
        NotFoundError: There is none of that name; says which there are.
    """
    agents = offered_agents(workspace)
    for agent in agents:
        if agent.name == name:
            return agent
    known = ", ".join(agent.name for agent in agents)
    there = f"There are: {known}." if known else f"Name one in {workspace.config_file}, in a table [[agents]]."
    raise NotFoundError(f"There is no agent {name[:80]!r}. {there}")


_STAYING = r"""
trap : INT QUIT
if command -v "$1" >/dev/null; then
  "$@"
  code=$?
else
  printf '%s: there is no such command in this loop. Install it, then start the agent again.\n' "$1"
  code=127
fi
trap - INT QUIT
stty sane
printf '\n%s ended with code %s. Press Enter to close this terminal. ' "$LOOPAT_AGENT" "$code"
read -r -t 900 _
exit "$code"
"""
"""Interrupts are the agent's own business; the shell that waits for it goes on.

It does not wait for ever: where agents work unattended, nobody reads, and a loop in which something waits is in use.
"""


def staying(agent: Agent) -> tuple[str, ...]:
    """The command of a terminal that shows an agent, and what that wrote last until a person has read it: 15 minutes.

    Args:
        agent: The agent; its name is in the environment.
    """
    return ("/bin/bash", "-p", "-c", _STAYING, "bash", *agent.command)


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
