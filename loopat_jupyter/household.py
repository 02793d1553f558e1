"""`Household`: what the loops of one workspace are made and kept with, by the settings as they are now."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from loopat_jupyter.cargo import Cargo
from loopat_jupyter.creation import Creation
from loopat_jupyter.errors import LoopatError
from loopat_jupyter.kernelspecs import LoopKernels, Registry
from loopat_jupyter.listing import Listing
from loopat_jupyter.models import LoopEvent
from loopat_jupyter.repos.git import Git
from loopat_jupyter.sandbox.glance import Glance
from loopat_jupyter.sandbox.host import Advice, look_at_host
from loopat_jupyter.sandbox.images import Images
from loopat_jupyter.sandbox.lifecycle import Sandboxes
from loopat_jupyter.sandbox.podman import Engine, Podman
from loopat_jupyter.sandbox.specs import KernelspecFinder
from loopat_jupyter.sandbox.toolchain import Toolchains
from loopat_jupyter.sharing.edge import Edge
from loopat_jupyter.starting import Underway
from loopat_jupyter.vaults import Vaults
from loopat_jupyter.workspace.loading import ConfigLoader
from loopat_jupyter.workspace.member import find_member
from loopat_jupyter.workspace.paths import Workspace
from loopat_jupyter.workspace.records import LoopStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Self

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.config import Config

_log = logging.getLogger(__name__)


def ignore(_: object) -> None:
    """For callers that do not follow progress or events."""


class Household:
    """What a workspace consists of.

    Args:
        workspace: Where the loops are.
        config: The workspace's settings.
        engine: Runs podman.
        member: Who works here: recorded as creator of new loops.
        on_event: Told about everything that happens to a loop through this manager.
        registry: Where the kernels of loops are offered to other Jupyter clients; None offers them to nobody.
        git: Runs git; None runs it in this process's environment.
        settings: The settings as they are now, the same object while nothing has changed; None: they never do.
        log: Told when the settings change, or should and cannot.
    """

    config: Config
    images: Images
    toolchains: Toolchains
    sandboxes: Sandboxes
    vaults: Vaults
    cargo: Cargo
    edge: Edge

    def __init__(
        self,
        workspace: Workspace,
        config: Config,
        engine: Engine,
        *,
        member: str,
        on_event: Callable[[LoopEvent], None] = ignore,
        registry: Registry | None = None,
        git: Git | None = None,
        settings: Callable[[], Config] | None = None,
        log: logging.Logger = _log,
    ) -> None:
        self.workspace = workspace
        self.engine = engine
        self.member = member
        self.store = LoopStore(workspace)
        self.on_event = on_event
        self.underway = Underway()
        self._git = git or Git(os.environ)
        self._glance = Glance(engine, workspace.name)
        self._settings = settings
        self._seen, self._problem = config, ""
        self._log = log
        self._furnish(config)
        finder = KernelspecFinder(workspace, engine)
        self.kernels = LoopKernels(finder, registry, workspace.home, self._hint)

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        *,
        member: str | None = None,
        on_event: Callable[[LoopEvent], None] = ignore,
        load: Callable[[Path, Mapping[str, str]], Config] | None = None,
        log: logging.Logger = _log,
    ) -> Self:
        """That of the workspace that the environment names. It follows the files of its settings: see `refresh`.

        Args:
            environ: Usually `os.environ`.
            member: Who works here; by default the Hub's user, else as `find_member` says.
            on_event: Told about everything that happens.
            load: Reads the configuration; by default the files, once they have changed.
            log: Told when the settings change, or should and cannot.

        Raises:
            BadInputError: The configuration is wrong.
        """
        workspace = Workspace.from_environment(environ)
        load = load or ConfigLoader().load

        def settings() -> Config:
            return load(workspace.config_file, environ)

        config = settings()
        engine = Podman(config.podman_bin, environ, parallel=config.podman_parallel)
        who = find_member(workspace, member or environ.get("JUPYTERHUB_USER"))
        registry = Registry.of_user()
        return cls(
            workspace, config, engine, member=who, on_event=on_event, registry=registry, settings=settings, log=log
        )

    def refresh(self) -> None:
        """Take the settings as they are now, where anybody has changed them. Else this costs a look at two files.

        Those that are wrong or cannot be read change nothing; that is logged once. Podman stays the same command.
        """
        if self._settings is None:
            return
        problem = ""
        try:
            config = self._settings()
            if config is not self._seen:
                if config != self.config:
                    self._change(config)
                self._seen = config
        except (LoopatError, OSError) as error:
            problem = str(error)
        if problem and problem != self._problem:
            self._log.warning("The new settings cannot be used, so those of before still count: %s", problem)
        self._problem = problem

    def _change(self, config: Config) -> None:
        held = self.vaults.store.keys
        self._furnish(config)
        self.vaults.store.keys.share_held(held)
        self._log.info("The settings have changed, and count from now on")
        # Whoever looks at a loop that runs is to see whether it runs as wanted.
        for loop_id in self.workspace.started_loops():
            self.on_event(LoopEvent(action="updated", loop_id=loop_id))

    def _furnish(self, config: Config) -> None:
        """Make everything that depends on the settings; nothing has changed if that fails.

        Raises:
            BadInputError: `trust.ca_bundle` names no file.
            ConfigurationError: The installation lacks a template.
        """
        host = look_at_host(config)
        workspace, engine, store = self.workspace, self.engine, self.store
        self.config = config
        self.images = Images(workspace, engine, config)
        self.toolchains = Toolchains(workspace, engine, self.images, self._tell)
        self.sandboxes = Sandboxes(workspace, config, engine, self.toolchains, host)
        self.vaults = Vaults(self.sandboxes, store, self.member)
        self.cargo = Cargo(store, config, self._git, member=self.member, plugins=host.plugins)
        self._creation = Creation(store, (self.vaults, *self.cargo.steps))
        advice = Advice(config, host, self.toolchains)
        self._listing = Listing(workspace, store, self.sandboxes, self._glance, advice)
        self.edge = Edge(store, config, engine, self._tell)

    def _tell(self, event: LoopEvent) -> None:
        """As `on_event`, which may be another one by then."""
        self.on_event(event)

    def _hint(self, record: LoopRecord) -> str:
        """As `Toolchains.hint` of the settings of then."""
        return self.toolchains.hint(record)
