"""Profiles and tiers of a new loop: its toolchain and its agents' configuration, composed once and for all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.errors import UnsafePathError
from loopat_jupyter.sandbox.plan import SANDBOX_PLUGINS
from loopat_jupyter.workspace.nofollow import make_folders
from loopat_jupyter.workspace.plugins import pin_plugins, pinned_list
from loopat_jupyter.workspace.profiles import check_profiles, compose_tiers
from loopat_jupyter.workspace.tier_files import lay

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord, NewLoop, Progress
    from loopat_jupyter.workspace.paths import Workspace


class Composition:
    """The step of a loop's creation that lays tiers, profiles and the list of plugins into it.

    Args:
        workspace: Where they are.
        plugins: Where the person keeps plugins of agents; None where there are none.
    """

    def __init__(self, workspace: Workspace, plugins: Path | None) -> None:
        self._workspace = workspace
        self._plugins = plugins

    def check(self, new: NewLoop) -> None:
        """Refuse unknown profiles.

        Raises:
            BadInputError: Names `profiles`.
        """
        check_profiles(self._workspace, new.profiles)

    async def apply(self, new: NewLoop, record: LoopRecord, tell: Callable[[Progress], None]) -> LoopRecord:
        """Compose the tiers and lay the result into the loop; a broken file becomes a warning.

        Args:
            new: What was asked for.
            record: The loop so far.
            tell: Unused: this takes no time that anybody would notice.

        Raises:
            StorageFullError: No space.
        """
        del tell
        return await asyncio.to_thread(self._apply, new, record)

    def _apply(self, new: NewLoop, record: LoopRecord) -> LoopRecord:
        workspace = self._workspace
        composed = compose_tiers(workspace, new.profiles, record.created_by)
        agent_config = workspace.agent_config(record.id)
        lay(composed.tier, agent_config, workspace.toolchain(record.id))
        pinned = self._plugins is not None and pin_plugins(
            self._plugins, SANDBOX_PLUGINS, pinned_list(workspace, record.id)
        )
        problems = composed.problems
        try:
            # Otherwise podman would make these folders, for somebody who is nobody on the host.
            for home in (workspace.loop(record.id), workspace.loop_home(record.id)) if pinned else ():
                make_folders(home, ".claude", "plugins")
        except UnsafePathError as error:
            pinned, problems = False, (*problems, f"The loop has no plugins of agents. {error.message}")
        return msgspec.structs.replace(
            record, profiles=new.profiles, plugins=pinned, warnings=(*record.warnings, *problems)
        )
