"""Finds and removes what a workspace left behind; `leftovers` decides what that is."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from loopat_jupyter.errors import EngineTimeoutError
from loopat_jupyter.sandbox.disk import deleted_loops, given_up_builds, half_made, unused_mirrors
from loopat_jupyter.sandbox.images import StoredImage
from loopat_jupyter.sandbox.leftovers import UNUSED_KEPT_S, Findings, Leftover, find_leftovers
from loopat_jupyter.sandbox.network import remove_network
from loopat_jupyter.sandbox.plan import network_name, sandbox_workdir
from loopat_jupyter.sandbox.project_images import lost_project_images
from loopat_jupyter.sandbox.unfinished import find_unfinished, remove_one
from loopat_jupyter.workspace.locks import mirror_lock
from loopat_jupyter.workspace.paths import is_loop_id, is_runtime_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from loopat_jupyter.models import ContainerFacts
    from loopat_jupyter.sandbox.images import Images
    from loopat_jupyter.sandbox.lifecycle import Sandboxes
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.workspace.paths import Workspace


_MIRROR_TIMEOUT_S = 10.0


class Sweeper:
    """Looks for leftovers of one workspace and removes them. Touches nothing without the workspace's labels.

    Args:
        workspace: Whose leftovers.
        engine: Runs podman.
        sandboxes: Its containers.
        images: Its images.
    """

    def __init__(self, workspace: Workspace, engine: Engine, sandboxes: Sandboxes, images: Images) -> None:
        self._workspace = workspace
        self._engine = engine
        self._sandboxes = sandboxes
        self._images = images

    async def sweep(self, *, remove: bool, network_needed: bool = False) -> tuple[Leftover, ...]:
        """Find everything that may go, and with `remove` remove it.

        Args:
            remove: Off: only look.
            network_needed: Somebody beside the sandboxes needs the network of the workspace.

        Returns:
            What was found; with `remove`, what of it is gone.

        Raises:
            EngineError: Podman refused.
        """
        leftovers = await self.find(network_needed=network_needed)
        return await self.remove(leftovers) if remove else leftovers

    async def find(self, *, network_needed: bool = False) -> tuple[Leftover, ...]:
        """Everything that may go.

        Args:
            network_needed: Somebody beside the sandboxes needs the network of the workspace.

        Raises:
            EngineError: Podman refused.
            EngineTimeoutError: Podman did not answer in time.
            EngineUnavailableError: There is no usable podman.
        """
        # Containers first: a loop that is made in between is then on disk before anybody asks.
        listed = await self._sandboxes.containers()
        containers = await self._ours_without_loop(listed)
        images = await self._images.obsolete()
        return find_leftovers(
            Findings(
                containers=containers,
                builds=tuple(await find_unfinished(self._engine)),
                loops=self._workspace.loop_ids(),
                images=tuple(images),
                project_images=tuple(await lost_project_images(self._engine, self._workspace)),
                runtime=self._runtime_folders(),
                logs=self._logs(),
                network=None if listed or network_needed else await self._network(),
                deleted=await asyncio.to_thread(deleted_loops, self._workspace),
                half_made=await asyncio.to_thread(half_made, self._workspace),
                copies=await asyncio.to_thread(given_up_builds, self._workspace),
                mirrors=await asyncio.to_thread(unused_mirrors, self._workspace),
            )
        )

    async def remove(self, leftovers: Iterable[Leftover]) -> tuple[Leftover, ...]:
        """Remove them. What came into use meanwhile stays.

        Args:
            leftovers: What `find` answered.

        Returns:
            Those that are gone.

        Raises:
            EngineError: Podman refused.
        """
        return tuple([leftover for leftover in leftovers if await self._remove(leftover)])

    async def _remove(self, leftover: Leftover) -> bool:
        """Remove one, unless it came into use; whether it is gone."""
        match leftover.kind:
            case "container":
                await self._sandboxes.remove(leftover.key)
            case "build":
                await remove_one(self._engine, leftover.key)
            case "network":
                return await remove_network(self._engine, self._workspace)
            case "image":
                image = StoredImage(leftover.key, leftover.names, leftover.size_bytes or 0)
                return bool(await self._images.remove([image]))
            case "mirror":
                try:
                    return await self._remove_mirror(Path(leftover.key))
                except EngineTimeoutError:
                    # One that somebody is busy with is of use.
                    return False
            case "runtime" | "loop" | "copy":
                await self._sandboxes.folders.remove(Path(leftover.key))
            case "log":
                await asyncio.to_thread(Path(leftover.key).unlink, missing_ok=True)
        return True

    async def _remove_mirror(self, path: Path) -> bool:
        """Remove a copy of a repo, unless a loop is being made from it; what is half removed is nobody's copy."""
        async with mirror_lock(self._workspace, path.name, timeout_s=_MIRROR_TIMEOUT_S):
            unused = await asyncio.to_thread(unused_mirrors, self._workspace)
            if not any(name == str(path) and age_s > UNUSED_KEPT_S for name, age_s, _ in unused):
                return False
            aside = path.with_name(f".{path.name}.{os.urandom(4).hex()}.new")
            await asyncio.to_thread(path.rename, aside)
        await self._sandboxes.folders.remove(aside)
        return True

    async def _network(self) -> str | None:
        name = network_name(self._workspace.name)
        exists = await self._engine.run("network", "exists", name, ok=(0, 1), doing="look for the network")
        return None if exists.returncode else name

    async def _ours_without_loop(self, listed: Mapping[str, ContainerFacts]) -> dict[str, str]:
        """Containers of this very workspace: the label alone could be that of a namesake in another folder."""
        unknown = {loop_id: facts for loop_id, facts in listed.items() if loop_id not in self._workspace.loop_ids()}
        if not unknown:
            return {}
        answer = await self._engine.run(
            "inspect",
            "--type=container",
            *(facts.id for facts in unknown.values()),
            ok=(0, 125),  # one of them may just have been removed
            doing="inspect containers without a loop",
        )
        entries = {entry["Id"]: entry for entry in msgspec.json.decode(answer.stdout or b"[]")}
        return {
            loop_id: facts.name
            for loop_id, facts in unknown.items()
            if self._is_ours(loop_id, facts, entries.get(facts.id, {}))
        }

    def _is_ours(self, loop_id: str, facts: ContainerFacts, entry: dict[str, Any]) -> bool:
        mounts = {mount.get("Destination"): mount.get("Source") for mount in entry.get("Mounts", ())}
        expected = str(self._workspace.workdir(loop_id))
        return is_loop_id(loop_id) and facts.loop_id == loop_id and mounts.get(sandbox_workdir(loop_id)) == expected

    def _runtime_folders(self) -> dict[str, str]:
        try:
            entries = list(os.scandir(self._workspace.runtime))
        except FileNotFoundError:
            return {}
        return {
            entry.name: entry.path
            for entry in entries
            if is_runtime_key(entry.name) and entry.is_dir(follow_symlinks=False)
        }

    def _logs(self) -> tuple[tuple[str, float, int], ...]:
        now_s = time.time()
        found = []
        for path in sorted(self._workspace.runtime.glob("build-*.log")):
            status = path.stat()
            found.append((str(path), now_s - status.st_mtime, status.st_size))
        return tuple(found)
