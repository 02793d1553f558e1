"""`Mirrors`: one bare copy of each repo, which only the host writes and loops borrow objects from.

Nothing is ever thrown away in a mirror that a loop may borrow: refs follow the remote, objects stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from loopat_jupyter.errors import BadInputError, GitError, LoopatError, UnsafePathError
from loopat_jupyter.models import Progress
from loopat_jupyter.repos.addresses import is_commit, short_name, shown
from loopat_jupyter.repos.git import TRANSFER_TIMEOUT_S, lines_of
from loopat_jupyter.repos.places import unsafe_place
from loopat_jupyter.repos.refs import FOLLOWED, FORMAT, Refs, listed
from loopat_jupyter.workspace.files import full_disk_told
from loopat_jupyter.workspace.locks import mirror_lock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from loopat_jupyter.repos.git import Access, Git
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.paths import Workspace

FIRST_BRANCH = "main"
"""Branch of a repo that has none yet and does not say."""

FIRST_CONTACT_TIMEOUT_S = 30.0
"""Until the remote has said which branches it has; one that accepts and says nothing keeps nobody longer."""

_MOST_REFS_BYTES = 2**20
"""Of a remote that has more of them, or does not stop to name some, nothing but its default branch is taken."""

_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_ADD = ("--no-auto-gc", "--no-write-fetch-head", "--no-recurse-submodules", "--progress")
_FOLLOW = ("--force", "--prune", *_ADD)
"""Refs are as the remote has them, where `_ADD` leaves those alone that are there."""

READERS = "loopat-readers"
"""Folder in a mirror: who reached which remote, with keys of their own."""

LOCKED = ".lock': File exists"
"""How git says that another git changes the same, or was killed while it did."""
_STALE_S = 60.0

_WAIT_TIMEOUT_S = 2 * TRANSFER_TIMEOUT_S

_Result = TypeVar("_Result")


class Mirror(NamedTuple):
    """The copy of a repo.

    Attributes:
        name: Its folder's name.
        path: The bare repo.
        address: What it is a copy of.
        default_branch: The remote's default branch, whatever its name.
        commit: Where that branch was when the mirror was brought up to date; None for a repo without commits.
        problem: Why it could not be brought up to date; empty when it is.
        origin: The remote, where it is a bare repo that the workspace itself keeps.
    """

    name: str
    path: Path
    address: str
    default_branch: str
    commit: str | None
    problem: str = ""
    origin: Path | None = None


def mirror_name(address: str) -> str:
    """Folder name of a repo's mirror: readable, and one to one.

    Args:
        address: As `check_address` answered.
    """
    return f"{short_name(address)}-{hashlib.sha256(address.encode()).hexdigest()[:12]}.git"


class Mirrors:
    """The mirrors of one workspace.

    Args:
        workspace: Where they are.
        config: Its settings, which say what sandboxes can write.
        git: Runs git.
    """

    def __init__(self, workspace: Workspace, config: Config, git: Git) -> None:
        self._workspace = workspace
        self._config = config
        self._git = git

    def refuse_unsafe(self, address: str, field: str = "repo") -> None:
        """Refuse a repo on this machine that a sandbox could change: its settings and hooks would count on the host.

        Args:
            address: As `check_address` answered.
            field: Name of the field.

        Raises:
            BadInputError: Sandboxes can write there, or put something else in its place.
        """
        problem = unsafe_place(address, self._workspace, self._config)
        if problem:
            raise BadInputError(field, problem)

    async def refresh(
        self,
        address: str,
        access: Access,
        tell: Callable[[Progress], None],
        *,
        name: str | None = None,
        default_branch: str | None = None,
    ) -> Mirror:
        """The mirror of a repo, as the remote is now; as it was when the remote is out of reach.

        Args:
            address: As `check_address` answered.
            access: How the remote is reached.
            tell: Told how far a transfer is.
            name: Its folder name; None takes the one that belongs to the address.
            default_branch: Its default branch, for a repo that the workspace itself made; others are asked for it.

        Raises:
            GitError: The remote is out of reach, and was never reached with these keys.
            StorageFullError: No space.
            UnsafePathError: It is a repo on this machine that a sandbox could change by now.
        """
        name = name or mirror_name(address)
        path = self._workspace.mirrors / name
        who = hashlib.sha256(f"{address}\0{access.reader}".encode()).hexdigest()[:16]
        reader = path / READERS / who
        problem = await asyncio.to_thread(unsafe_place, address, self._workspace, self._config)
        if problem:
            raise UnsafePathError(problem)
        async with self.lock(name):
            try:
                branch, commit = await self._update(path, address, access, tell, default_branch)
                with full_disk_told(reader):
                    reader.parent.mkdir(exist_ok=True)
                    reader.touch()
                    # When it was last of use, for who tidies up.
                    os.utime(path)
            except GitError as error:
                # Who never reached the remote with these keys must not read what others fetched with theirs.
                if not reader.exists():
                    raise
                branch = self.default_branch(name)
                commit = await self._commit(path, f"refs/heads/{branch}")
                return Mirror(name, path, address, branch, commit, error.message)
        origin = Path(address) if Path(address).parent == self._workspace.origins else None
        return Mirror(name, path, address, branch, commit, origin=origin)

    async def reach(self, address: str, access: Access) -> Refs:
        """See whether a remote answers, before anything that may take long.

        Args:
            address: As `check_address` answered.
            access: How it is reached.

        Returns:
            Its refs.

        Raises:
            GitError: It does not, or not soon.
        """
        answer = await self._git.run(
            "ls-remote", "--symref", "--", address, "HEAD", *(f"{prefix}*" for prefix in FOLLOWED),
            timeout_s=FIRST_CONTACT_TIMEOUT_S, doing=f"reach {shown(address)}", access=access,
            cut_bytes=_MOST_REFS_BYTES,
        )  # fmt: skip
        return listed(answer)

    def lock(
        self, name: str, on_wait: Callable[[], object] = lambda: None
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """The lock under which a mirror changes, across processes.

        Args:
            name: Its folder name.
            on_wait: Called where somebody else holds it, before it is waited for.
        """
        return mirror_lock(self._workspace, name, timeout_s=_WAIT_TIMEOUT_S, on_wait=on_wait)

    def default_branch(self, name: str) -> str:
        """The default branch as a mirror knows it.

        Args:
            name: The mirror's folder name.
        """
        try:
            # Its remote may call it anything, in any encoding.
            head = (self._workspace.mirrors / name / "HEAD").read_text(encoding="utf-8", errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return FIRST_BRANCH
        return head.removeprefix("ref: refs/heads/")

    async def resolve(self, mirror: Mirror, ref: str | None, access: Access) -> str | None:
        """The commit that a ref means; None for the default branch of a repo without commits.

        Args:
            mirror: The repo.
            ref: A branch, a tag or a commit; None is the default branch.
            access: How the remote is reached, for a commit that no branch or tag leads to.

        Raises:
            BadInputError: There is no such ref.
        """
        if ref is None:
            return mirror.commit
        names = (f"refs/heads/{ref}", f"refs/tags/{ref}", *([ref] if is_commit(ref) else ()))
        for name in names:
            found = await self._commit(mirror.path, name)
            if found is not None:
                return found
        if is_commit(ref) and not mirror.problem and await self._fetch_commit(mirror, ref, access):
            return await self._commit(mirror.path, ref)
        raise BadInputError("ref", f"{shown(mirror.address)} has no branch, tag or commit {ref!r}")

    async def note(self, mirror: Mirror, branch: str, commit: str | None, *was: str) -> None:
        """Note in a mirror what was pushed just now, which its remote need not be asked for.

        Args:
            mirror: The mirror, which has the commit.
            branch: The branch that was pushed.
            commit: Where it is now; None if it was deleted.
            was: Where it was, empty if it was not there; when it is elsewhere by now, the mirror knows something newer.
        """
        ref = f"refs/heads/{branch}"
        change = (ref, commit) if commit else ("-d", ref)
        # The remote has it. That it cannot be noted is no failure: whoever looks next fetches it.
        with contextlib.suppress(LoopatError):
            async with self.lock(mirror.name):
                await self._git.run("update-ref", *change, *was, folder=mirror.path)

    async def _commit(self, path: Path, name: str) -> str | None:
        answer = await self._git.run(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}", folder=path, ok=(0, 1, 128)
        )
        return answer.text if answer.returncode == 0 else None

    async def _fetch_commit(self, mirror: Mirror, commit: str, access: Access) -> bool:
        """Get a commit that no branch leads to, as of a pull request, and keep it."""
        refspec = f"{commit}:refs/loopat/pinned/{commit}"
        answer = await self._git.run(
            "fetch", *_ADD, "--", mirror.address, refspec,
            folder=mirror.path, timeout_s=TRANSFER_TIMEOUT_S, ok=(0, 1, 128), access=access,
        )  # fmt: skip
        return answer.returncode == 0

    def has(self, name: str) -> bool:
        """Whether a mirror is there.

        Args:
            name: Its folder name.
        """
        return (self._workspace.mirrors / name).is_dir()

    async def stand_in(self, name: str) -> None:
        """Make an empty mirror, which the next fetch fills, unless there is one by now.

        Args:
            name: Its folder name.
        """
        async with self.lock(name):
            if self.has(name):
                return
            with self._beside(name) as new:
                new.mkdir()
                await self._git.run(
                    "init", "--quiet", "--bare", "--template=", f"--initial-branch={FIRST_BRANCH}", ".", folder=new
                )
                new.rename(self._workspace.mirrors / name)

    async def _update(
        self, path: Path, address: str, access: Access, tell: Callable[[Progress], None], default_branch: str | None
    ) -> tuple[str, str | None]:
        """Fetch into the mirror; a first one is made beside its place and moved there when it is whole."""
        about = shown(address)
        tell(Progress(label=f"reaching {about}"))
        theirs = None if default_branch else await self.reach(address, access)
        head = theirs.head if theirs else default_branch
        if self.has(path.name):
            if head and head == self.default_branch(path.name):
                ours, theirs = await self._refs(path), theirs or await self._refs(Path(address))
                # A fetch that brings nothing takes several processes, and goes to the remote once more, to say so.
                if ours.lines and ours.lines == theirs.lines and (commit := ours.commit(head)):
                    return head, commit
            return await self._fetch(path, address, access, tell, head)
        # Of what the workspace itself made, the files can be taken as they are.
        transfer = () if default_branch else ("--no-local",)
        with self._beside(path.name) as new:
            # Only a clone learns the default branch of a repo that has no commit yet.
            await self._git.run(
                "clone", "--bare", *transfer, "--template=", "--progress", "--", address, str(new),
                timeout_s=TRANSFER_TIMEOUT_S, doing=f"reach {about}", access=access, on_progress=_teller(about, tell),
            )  # fmt: skip
            settled = await self._settle_default(new, self.default_branch(new.name))
            new.rename(path)
        return settled

    async def _refs(self, repo: Path) -> Refs:
        arguments = ("--git-dir=.", "for-each-ref", FORMAT, *FOLLOWED)
        return listed(await self._git.run(*arguments, folder=repo, doing=f"look into {repo}"))

    @contextlib.contextmanager
    def _beside(self, name: str) -> Iterator[Path]:
        """A place for a mirror that is being made, which nobody else uses; what killed processes left goes.

        Who is here has the mirror's lock, so nobody else is making it. Git may have outlived who started it for a
        moment, and finds its folder gone.
        """
        folder = self._workspace.mirrors
        with full_disk_told(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = folder / f".{name}.{os.urandom(4).hex()}.new"
        try:
            for left in folder.glob(f".{glob.escape(name)}.*.new"):
                shutil.rmtree(left, ignore_errors=True)
            yield new
        finally:
            shutil.rmtree(new, ignore_errors=True)

    async def _settle_default(self, path: Path, branch: str) -> tuple[str, str | None]:
        """Note the default branch, and say where it is. A remote may name one that is not there while it has others."""
        form = "--format=%(refname:lstrip=2) %(objectname)"
        listed = await self._git.run("for-each-ref", form, "refs/heads/", folder=path)
        there: dict[str, str] = dict(line.split(" ") for line in lines_of(listed.text))
        if there and branch not in there:
            branch = next((usual for usual in (FIRST_BRANCH, "master") if usual in there), next(iter(there)))
        if branch != self.default_branch(path.name):
            await self._git.run("symbolic-ref", "HEAD", f"refs/heads/{branch}", folder=path)
        return branch, there.get(branch)

    async def _fetch(
        self, path: Path, address: str, access: Access, tell: Callable[[Progress], None], head: str | None
    ) -> tuple[str, str | None]:
        about = shown(address)

        async def fetch() -> None:
            await self._git.run(
                "fetch", *_FOLLOW, "--", address, *_REFS,
                folder=path, timeout_s=TRANSFER_TIMEOUT_S, doing=f"fetch {about}", access=access,
                on_progress=_teller(about, tell),
            )  # fmt: skip

        await past_stale_locks(path, fetch)
        return await self._settle_default(path, head or self.default_branch(path.name))


async def past_stale_locks(path: Path, change: Callable[[], Awaitable[_Result]]) -> _Result:
    """What a change of a repo answers, tried once more where a git that was killed has left a lock behind.

    Args:
        path: A bare repo of the workspace.
        change: Runs git.

    Raises:
        GitError: As the change.
    """
    try:
        return await change()
    except GitError as error:
        if LOCKED not in error.stderr or not await asyncio.to_thread(_remove_stale_locks, path):
            raise
        return await change()


def _remove_stale_locks(path: Path) -> bool:
    """Remove git's own locks that a git left which was killed; whether there were any.

    Who is here has our own lock of the repo. Beside it only what loops give back is noted there, in a moment.
    """
    found = False
    for lock in (*path.glob("*.lock"), *path.glob("refs/**/*.lock")):
        # Its git may have ended just now.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - lock.lstat().st_mtime > _STALE_S:
                lock.unlink()
                found = True
    return found


def _teller(about: str, tell: Callable[[Progress], None]) -> Callable[[str, int], None]:
    return lambda label, percent: tell(Progress(label=f"{label} of {about}", step=percent, steps=100))
