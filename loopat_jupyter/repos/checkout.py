"""`Checkout`: the step of a new loop that lays a branch of its own into its workdir.

The checkout borrows its objects from the repo's mirror, which the sandbox sees read-only, so that a second loop costs
the working files and nothing more.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.errors import BadInputError, GitError, GitUnavailableError, UnsafePathError
from loopat_jupyter.models import Progress
from loopat_jupyter.repos.addresses import check_ref, local_path, shown
from loopat_jupyter.repos.laying import borrow, empty, lay
from loopat_jupyter.repos.mirrors import Mirror, Mirrors, mirror_name
from loopat_jupyter.repos.registry import RepoRegistry
from loopat_jupyter.repos.submodules import Submodules
from loopat_jupyter.workspace.paths import sandbox_mirror

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopat_jupyter.errors import LoopatError
    from loopat_jupyter.models import LoopRecord, NewLoop, Repo
    from loopat_jupyter.repos.git import Access, Git
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.paths import Workspace

_log = logging.getLogger(__name__)

_NO_FILES = "The loop has no files of"


def _others(record: LoopRecord) -> tuple[str, ...]:
    return tuple(warning for warning in record.warnings if not warning.startswith(_NO_FILES))


def branch_name(record: LoopRecord) -> str:
    """The loop's own branch.

    Args:
        record: The loop.
    """
    return f"loop/{record.slug}-{record.id[:6]}"


class Checkout:
    """Checks a repo out into new loops.

    Args:
        workspace: Where the loops are.
        config: Its settings.
        git: Runs git.
        access: How the remotes of a vault are reached.
    """

    def __init__(self, workspace: Workspace, config: Config, git: Git, access: Callable[[LoopRecord], Access]) -> None:
        self._workspace = workspace
        self.registry = RepoRegistry(workspace, config)
        self.git = git
        self.access = access
        self.mirrors = Mirrors(workspace, config, git)

    def repos(self) -> tuple[Repo, ...]:
        """Every registered repo, with its default branch where it was fetched before.

        Raises:
            ConfigurationError: The list cannot be read.
        """
        found = []
        for repo in self.registry.all():
            name = mirror_name(repo.url)
            branch = self.mirrors.default_branch(name) if self.mirrors.has(name) else None
            found.append(msgspec.structs.replace(repo, default_branch=branch))
        return tuple(found)

    def check(self, new: NewLoop) -> None:
        """Refuse addresses and refs that cannot be any.

        Raises:
            BadInputError: Names `repo` or `ref`.
        """
        if new.ref is not None:
            check_ref(new.ref)
            if new.repo is None:
                raise BadInputError("ref", "means nothing without a repo")
        if new.repo is not None:
            self.mirrors.refuse_unsafe(self.registry.address(new.repo))

    async def apply(self, new: NewLoop, record: LoopRecord, tell: Callable[[Progress], None]) -> LoopRecord:
        """Check the repo out; one that is out of reach leaves an empty loop with a warning.

        Raises:
            BadInputError: There is no such ref, or no repo at a path of this machine.
            StorageFullError: No space.
        """
        if new.repo is None:
            return record
        asked = msgspec.structs.replace(record, repo=new.repo, ref=new.ref)
        workdir = self._workspace.workdir(record.id)
        try:
            return await self.fill(workdir, asked, tell)
        except (GitError, GitUnavailableError) as error:
            await asyncio.to_thread(empty, workdir)
            return self.without_files(asked, error)

    def without_files(self, record: LoopRecord, error: LoopatError) -> LoopRecord:
        """A record that says why the loop has no files of its repo.

        Args:
            record: The loop; what it said of that before is no longer said.
            error: What happened last.
        """
        address = shown(self.registry.address(record.repo or ""))
        message = (
            f"{_NO_FILES} {address}. {error.message} To try again, choose Fetch Repo in the loop's menu in JupyterLab, "
            f"or run `jupyter loopat fetch {record.id[:8]}`."
        )
        return msgspec.structs.replace(record, warnings=(*_others(record), message))

    async def fill(self, folder: Path, record: LoopRecord, tell: Callable[[Progress], None]) -> LoopRecord:
        """Check a loop's repo out.

        Args:
            folder: An empty folder that no sandbox sees yet.
            record: The loop; names a repo.
            tell: Told how far a transfer is.

        Returns:
            The record with what was checked out; that it could not be before is no longer said.

        Raises:
            BadInputError: There is no such ref, or no repo at a path of this machine.
            GitError: The remote is out of reach.
            GitUnavailableError: There is no git.
            StorageFullError: No space.
        """
        address, access = self.registry.address(record.repo or ""), self.access(record)
        mirror = await self._refresh(address, access, tell)
        commit = await self.mirrors.resolve(mirror, record.ref, access)
        made = msgspec.structs.replace(
            record, origin=address, mirror=mirror.name, branch=branch_name(record), commit=commit
        )
        tell(Progress(label="checking out"))
        warnings = await self._check_out(folder, made, mirror, access, tell)
        if mirror.problem:
            warnings.insert(0, f"{shown(address)} is as it was when it was last reached. {mirror.problem}")
        return msgspec.structs.replace(made, warnings=(*_others(record), *warnings))

    async def _refresh(self, address: str, access: Access, tell: Callable[[Progress], None]) -> Mirror:
        try:
            return await self.mirrors.refresh(address, access, tell)
        except GitError as error:
            # A remote may come back; a path at which git finds nothing is mistyped.
            if local_path(address) is None:
                raise
            raise BadInputError("repo", f"there is no repo at this path. {error.message}") from error

    async def restore(self, record: LoopRecord, tell: Callable[[Progress], None]) -> None:
        """Have the mirror that a checkout borrows from, as after the loop was copied from another workspace.

        Where the remote is out of reach an empty one stands in, so that the loop starts; git inside then misses
        objects until the remote is reached again.

        Args:
            record: The loop.
            tell: Told how far a transfer is.

        Raises:
            GitUnavailableError: There is no git.
            StorageFullError: No space.
        """
        if record.mirror is None or record.origin is None or self.mirrors.has(record.mirror):
            return
        try:
            await self.mirrors.refresh(record.origin, self.access(record), tell)
        except (GitError, UnsafePathError) as error:
            _log.warning("Loop %s misses the objects of its repo. %s", record.id, error.message)
            await self.mirrors.stand_in(record.mirror)

    async def _check_out(
        self, workdir: Path, record: LoopRecord, mirror: Mirror, access: Access, tell: Callable[[Progress], None]
    ) -> list[str]:
        """Fill a folder, which nobody else sees yet; warnings."""
        # A repo on this machine is out of a sandbox's reach; what the mirror has of it is not.
        here = local_path(mirror.address) is not None
        origin = sandbox_mirror(mirror.name) if here else mirror.address
        branch = branch_name(record)
        instead = f"on the host: jupyter loopat push {record.id[:8]}" if here else ""
        await lay(
            self.git,
            mirror,
            workdir,
            branch=branch,
            commit=record.commit,
            origin=origin,
            instead_of_push=instead,
        )
        warnings = []
        if record.commit is not None:
            warnings += await Submodules(self.git, mirror.address, access).fetch(workdir, tell)
            if await self._has_large_files(mirror, record.commit):
                warnings.append(
                    "Large files of this repo (Git LFS) are pointers. To fetch them, run `git lfs pull` in a terminal "
                    "of the loop (`sudo apt install git-lfs` first, where it is missing)."
                )
        borrow(mirror, workdir)
        return warnings

    async def _has_large_files(self, mirror: Mirror, commit: str) -> bool:
        answer = await self.git.run(
            "grep", "--quiet", "filter=lfs", commit, "--", ":(glob)**/.gitattributes", folder=mirror.path, ok=(0, 1)
        )
        return answer.returncode == 0
