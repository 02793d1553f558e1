"""`RepoRegistry`: the repos that a person can pick by name.

They come from `[repos]` of the configuration, where an operator can fix them, and from `repos.json` of the workspace,
which the command line and REST write. The configuration wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.errors import BadInputError, ConfigurationError, ConflictError, NotFoundError
from loopat_jupyter.models import Repo
from loopat_jupyter.repos.addresses import check_address, check_name, is_name
from loopat_jupyter.workspace.files import write_atomic
from loopat_jupyter.workspace.locks import file_lock

if TYPE_CHECKING:
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.paths import Workspace

_LOCK_TIMEOUT_S = 10.0


class RepoRegistry:
    """The registered repos of one workspace.

    Args:
        workspace: Where `repos.json` is.
        config: Its settings.
    """

    def __init__(self, workspace: Workspace, config: Config) -> None:
        self._workspace = workspace
        self._config = config

    def all(self) -> tuple[Repo, ...]:
        """Every registered repo, by name.

        Raises:
            ConfigurationError: `repos.json` cannot be read.
        """
        urls = {**self._written(), **self._config.repos}
        return tuple(Repo(name=name, url=urls[name], fixed=name in self._config.repos) for name in sorted(urls))

    def address(self, repo: str) -> str:
        """The address that a person means.

        Args:
            repo: A registered name, or an address.

        Raises:
            BadInputError: It is neither, or the configuration gives the name an address that is none.
        """
        if is_name(repo):
            found = next((known.url for known in self.all() if known.name == repo), None)
            if found is None:
                raise BadInputError(
                    "repo",
                    f"there is no registered repo {repo!r}. `jupyter loopat repo list` shows them; an address such as "
                    "https://host/path, git@host:path or /absolute/path is taken too",
                )
            return check_address(found, f"repos.{repo}")
        return check_address(repo)

    async def add(self, name: str, url: str) -> Repo:
        """Register a repo; one of the same name is replaced. Loops that were made from it stay as they are.

        Raises:
            BadInputError: Name or address is not acceptable.
            ConflictError: The name stands in the configuration.
            StorageFullError: No space; nothing was changed.
        """
        repo = Repo(name=check_name(name), url=check_address(url, "url"))
        self._refuse_fixed(name)
        await self._change(name, url)
        return repo

    async def remove(self, name: str) -> None:
        """Forget a repo. Loops that were made from it stay as they are.

        Raises:
            ConflictError: The name stands in the configuration.
            NotFoundError: There is no such repo.
        """
        self._refuse_fixed(name)
        await self._change(name, None)

    def _refuse_fixed(self, name: str) -> None:
        if name in self._config.repos:
            raise ConflictError(f"The repo {name!r} stands under [repos] in the configuration. Change it there.")

    async def _change(self, name: str, url: str | None) -> None:
        self._workspace.prepare()
        lock = self._workspace.locks / "repos.lock"
        async with file_lock(lock, timeout_s=_LOCK_TIMEOUT_S, what="the registered repos"):
            urls = self._written()
            if url is None and name not in urls:
                raise NotFoundError(
                    f"There is no registered repo {name[:80]!r}. `jupyter loopat repo list` shows them."
                )
            changed = {key: value for key, value in urls.items() if key != name} | ({name: url} if url else {})
            data = msgspec.json.format(msgspec.json.encode(dict(sorted(changed.items()))), indent=2)
            write_atomic(self._workspace.repos_file, data + b"\n")

    def _written(self) -> dict[str, str]:
        file = self._workspace.repos_file
        try:
            found = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
            return {check_name(name): check_address(url, "url") for name, url in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, BadInputError) as error:
            raise ConfigurationError(f"{file} cannot be read: {error}. Fix or remove the file.") from error
