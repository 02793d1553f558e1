"""`Origins`: where each context is kept: a remote, or a bare repo of the workspace while there is none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.context.merging import push
from loopat_jupyter.errors import BadInputError, ConfigurationError, ConflictError, GitError, UnsafePathError
from loopat_jupyter.models import CONTEXT_KINDS, ContextKind, ContextRemote, LoopRecord, Progress
from loopat_jupyter.repos.addresses import check_address, shown
from loopat_jupyter.repos.git import TRANSFER_TIMEOUT_S, Access
from loopat_jupyter.repos.mirrors import FIRST_BRANCH, Mirror, Mirrors
from loopat_jupyter.sandbox.isolation import wanted_isolation
from loopat_jupyter.workspace.files import full_disk_told, write_atomic
from loopat_jupyter.workspace.locks import file_lock
from loopat_jupyter.workspace.paths import context_mirror, member_key

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable
    from pathlib import Path

    from loopat_jupyter.repos.git import Git
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.paths import Workspace


_GIVE_TIMEOUT_S = 2 * TRANSFER_TIMEOUT_S

_ROOT = {"NAME": "loopat", "EMAIL": "loopat@localhost", "DATE": "2000-01-01T00:00:00+00:00"}


def check_kind(kind: str) -> ContextKind:
    """One of the contexts.

    Raises:
        BadInputError: There is no such context.
    """
    if kind not in CONTEXT_KINDS:
        raise BadInputError("context", f"must be one of {', '.join(CONTEXT_KINDS)}")
    return kind


class Origins:
    """The contexts of one workspace.

    Args:
        workspace: Where those without a remote are kept.
        config: Its settings.
        git: Runs git.
        mirrors: Copies of the remotes.
    """

    def __init__(self, workspace: Workspace, config: Config, git: Git, mirrors: Mirrors) -> None:
        self._workspace = workspace
        self._config = config
        self._git = git
        self.mirrors = mirrors

    @property
    def used(self) -> bool:
        """Whether new loops get the contexts."""
        return self._config.context.use

    def remotes(self, member: str) -> tuple[ContextRemote, ...]:
        """Where each context is kept.

        Args:
            member: Whose personal files are meant.
        """
        return tuple(
            ContextRemote(
                kind=kind,
                remote=self._named(kind, member),
                gated=kind in self._config.context.gated,
                fixed=bool(self._configured(kind, member)),
            )
            for kind in CONTEXT_KINDS
        )

    def remote(self, kind: ContextKind, member: str) -> str | None:
        """The address of a context's remote; None while it is kept in the workspace alone.

        Args:
            kind: The context.
            member: Whose personal files are meant.

        Raises:
            ConfigurationError: The address is none, or may not be used any more.
        """
        text = self._named(kind, member)
        if text is None:
            return None
        try:
            check_address(text, f"context.{kind}")
            self.mirrors.refuse_unsafe(text, f"context.{kind}")
        except BadInputError as error:
            remedy = "Fix the configuration."
            if not self._configured(kind, member):
                command = f"jupyter loopat context attach {kind} ADDRESS"
                remedy = f"It is set in {self._workspace.contexts_file}; `{command}` puts another in its place."
            raise ConfigurationError(f"{error.message.rstrip('.')}. {remedy}") from error
        return text

    def _named(self, kind: ContextKind, member: str) -> str | None:
        return self._configured(kind, member) or self._written().get(_key(kind, member))

    def changing(
        self, kind: ContextKind, member: str, on_wait: Callable[[], object] = lambda: None
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """The lock of whoever gives to a context or moves it, so that nothing goes where it is kept no more.

        Nobody waits for a loop meanwhile: it could keep all others waiting.

        Args:
            kind: The context.
            member: Whose personal files are meant.
            on_wait: Called where somebody else holds it, before it is waited for.
        """
        return self.mirrors.lock(f"context-{_key(kind, member)}", on_wait)

    def giving(
        self, kind: ContextKind, loop_id: str, on_wait: Callable[[], object]
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """The lock of whoever gives what one loop has: what it packs goes to everybody in the order it was made.

        Args:
            kind: The context.
            loop_id: The loop.
            on_wait: Called where somebody else holds it, before it is waited for.
        """
        path, what = self._workspace.host(loop_id) / f"{kind}.lock", f"promoting the {kind} of this loop"
        return file_lock(path, timeout_s=_GIVE_TIMEOUT_S, what=what, on_wait=on_wait)

    def is_gated(self, kind: ContextKind) -> bool:
        """Whether what every loop promotes waits until somebody merges it."""
        return kind in self._config.context.gated

    def waits(self, kind: ContextKind, record: LoopRecord) -> bool:
        """Whether what a loop promotes waits until somebody merges it.

        What a loop gives is read by agents and people in all others, as if it were their own: nothing comes from one
        that nobody trusts without a person's word.

        Args:
            kind: The context.
            record: The loop.
        """
        return self.is_gated(kind) or wanted_isolation(record, self._config) == "strict"

    async def address(self, kind: ContextKind, member: str) -> str:
        """What to fetch from and push to; made first where the workspace itself keeps the context.

        Args:
            kind: The context.
            member: Whose personal files are meant.
        """
        return await asyncio.to_thread(self.remote, kind, member) or await self._own(kind, member)

    async def _own(self, kind: ContextKind, member: str) -> str:
        path = self._place(kind, member)
        if not self._is_there(path):
            async with self.mirrors.lock(f"origin-{path.name}"):
                if not self._is_there(path):
                    await self._make(path)
        return str(path)

    def _place(self, kind: ContextKind, member: str) -> Path:
        return self._workspace.origins / f"{_key(kind, member)}.git"

    async def refresh(self, kind: ContextKind, member: str, access: Access, tell: Callable[[Progress], None]) -> Mirror:
        """The mirror of a context, as its remote is now; as it was when the remote is out of reach.

        Args:
            kind: The context.
            member: Whose personal files are meant.
            access: How the remote is reached.
            tell: Told how far a transfer is.

        Raises:
            GitError: The remote is out of reach, and there is no mirror yet.
        """
        return await self._follow(await self.address(kind, member), kind, member, access, tell)

    async def mirror(self, kind: ContextKind, member: str, access: Access, tell: Callable[[Progress], None]) -> Path:
        """The folder of a context's mirror, however old; it is made where there is none.

        Args:
            kind: The context.
            member: Whose personal files are meant.
            access: How the remote is reached.
            tell: Told how far a transfer is.

        Raises:
            GitError: There is none, and the remote is out of reach.
        """
        name = context_mirror(kind, member)
        if self.mirrors.has(name):
            return self._workspace.mirrors / name
        return (await self.refresh(kind, member, access, tell)).path

    async def _follow(
        self, address: str, kind: ContextKind, member: str, access: Access, tell: Callable[[Progress], None]
    ) -> Mirror:
        name = context_mirror(kind, member)
        branch = FIRST_BRANCH if address == str(self._place(kind, member)) else None
        mirror = await self.mirrors.refresh(address, access, tell, name=name, default_branch=branch)
        if mirror.problem or mirror.commit is not None:
            return mirror
        root = await self._root(mirror.path)
        if await push(self._git, mirror, root, mirror.default_branch, access):
            tell(Progress(label=f"beginning {kind}"))
            await self.mirrors.note(mirror, mirror.default_branch, root)
            return mirror._replace(commit=root)
        return await self.mirrors.refresh(address, access, tell, name=name, default_branch=branch)

    async def _root(self, repo: Path) -> str:
        """The commit that every context begins with: the same everywhere, so that all have a history in common."""
        tree = await self._git.run("mktree", folder=repo, stdin=b"")
        author = {f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in _ROOT.items()}
        made = await self._git.run("commit-tree", tree.text, "-m", "Begin", folder=repo, environ=author)
        return made.text

    async def attach(self, kind: ContextKind, member: str, address: str, access: Access) -> None:
        """Give a context a remote: everything that the workspace has of it is pushed there, then it counts.

        Args:
            kind: The context.
            member: Whose personal files are meant.
            address: The remote; empty, or one with the same history.
            access: How it is reached.

        Raises:
            BadInputError: The address is none.
            ConflictError: The remote stands in the configuration.
            GitError: The remote refused, for instance because it has a history of its own; nothing has changed.
        """
        check_address(address, "remote")
        await asyncio.to_thread(self.mirrors.refuse_unsafe, address, "remote")
        if self._configured(kind, member):
            raise ConflictError(f"The remote of {kind} stands under [context] in the configuration. Change it there.")
        await self.mirrors.reach(address, access)
        async with self.changing(kind, member):
            folder = await self._source(kind, member, access)
            try:
                await self._git.run(
                    "push", "--quiet", "--", address, "refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*",
                    folder=folder, timeout_s=TRANSFER_TIMEOUT_S, doing=f"push to {shown(address)}", access=access,
                )  # fmt: skip
            except GitError as error:
                if "[rejected]" not in error.stderr:
                    raise
                raise GitError(
                    f"{shown(address)} has a history of its own. The remote of a context must be empty, or have this "
                    f"context's history. Nothing was changed: the {kind} is kept where it was.",
                    stderr=error.stderr,
                ) from error
            async with self.mirrors.lock("contexts"):
                written = {**self._written(), _key(kind, member): address}
                data = msgspec.json.format(msgspec.json.encode(dict(sorted(written.items()))), indent=2)
                write_atomic(self._workspace.contexts_file, data + b"\n")

    async def _source(self, kind: ContextKind, member: str, access: Access) -> Path:
        """All there is of a context: the mirror as it is where its remote may not be asked any more."""
        try:
            return (await self.refresh(kind, member, access, lambda _: None)).path
        except (ConfigurationError, UnsafePathError):
            name = context_mirror(kind, member)
            if self.mirrors.has(name):
                return self._workspace.mirrors / name
            own = await self._own(kind, member)
            return (await self._follow(own, kind, member, access, lambda _: None)).path

    def _configured(self, kind: ContextKind, member: str) -> str:
        settings = self._config.context
        text = {"knowledge": settings.knowledge, "notes": settings.notes, "personal": settings.personal}[kind]
        return text.replace("{member}", member_key(member))

    def _written(self) -> dict[str, str]:
        file = self._workspace.contexts_file
        try:
            return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file} cannot be read: {error}. Fix or remove the file.") from error

    @staticmethod
    def _is_there(path: Path) -> bool:
        return path.is_dir()

    async def _make(self, path: Path) -> None:
        """Make a bare repo beside its place, and move it there."""
        new = path.with_name(f".{path.name}.new")
        with full_disk_told(new):
            new.mkdir(parents=True, exist_ok=True, mode=0o700)
        await self._git.run(
            "init", "--quiet", "--bare", "--template=", f"--initial-branch={FIRST_BRANCH}", ".", folder=new
        )
        root = await self._root(new)
        await self._git.run("update-ref", f"refs/heads/{FIRST_BRANCH}", root, folder=new)
        new.rename(path)


def _key(kind: ContextKind, member: str) -> str:
    return f"personal-{member_key(member)}" if kind == "personal" else kind
