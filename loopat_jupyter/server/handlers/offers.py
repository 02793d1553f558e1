"""What can be picked for a loop, and what its project asks for."""

from __future__ import annotations

import asyncio

from jupyter_server.auth.decorator import authorized
from tornado import web

from loopat_jupyter.agents import offered_agents
from loopat_jupyter.project import as_allowed, find_project
from loopat_jupyter.server.answers import Agents, Defaults, Profiles, Project
from loopat_jupyter.server.base import LoopatHandler
from loopat_jupyter.workspace.profiles import list_profiles


class ProfilesHandler(LoopatHandler):
    """`/profiles`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The profiles of the workspace."""
        self.answer(Profiles(profiles=await asyncio.to_thread(list_profiles, self.manager.workspace)))


class AgentsHandler(LoopatHandler):
    """`/agents`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """The agents that are offered in every loop."""
        self.answer(Agents(agents=await asyncio.to_thread(offered_agents, self.manager.workspace)))


class DefaultsHandler(LoopatHandler):
    """`/defaults`."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """What a loop has that does not say otherwise."""
        config = self.manager.config
        self.answer(
            Defaults(
                image=config.image.use or None,
                network=config.network,
                isolation=config.isolation,
                shared_tmp=config.shared_tmp,
                resources=config.resources,
            )
        )


class ProjectHandler(LoopatHandler):
    """`/loops/{loop_id}/project`."""

    @web.authenticated
    @authorized
    async def get(self, loop_id: str) -> None:
        """What the project in the loop asks for; nothing of it is run."""
        record = self.manager.store.read(loop_id)
        workdir = self.manager.workspace.workdir(record.id)
        found = await asyncio.to_thread(find_project, workdir, record.id)
        self.answer(Project(files=as_allowed(found, self.manager.config, record.id)))
