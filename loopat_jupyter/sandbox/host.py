"""What the host offers to sandboxes, and what a person should know of a loop because of it."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

from loopat_jupyter.sandbox.isolation import TUN, Nesting, allowed, isolation_warnings, wanted_isolation
from loopat_jupyter.sandbox.plan import MOST_OPEN_FILES, HostFacts
from loopat_jupyter.sandbox.resources import CDI_FOLDERS, find_limits, resource_warnings, wanted_resources
from loopat_jupyter.sandbox.seccomp import find_profile
from loopat_jupyter.sandbox.trust import find_ca_bundle
from loopat_jupyter.workspace.fixed import bound, fixed_warnings
from loopat_jupyter.workspace.plugins import find_plugins

if TYPE_CHECKING:
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.toolchain import Toolchains
    from loopat_jupyter.values import Isolation
    from loopat_jupyter.workspace.config import Config


def look_at_host(config: Config) -> HostFacts:
    """What plans must know of this host.

    Args:
        config: The workspace's settings.

    Raises:
        BadInputError: `trust.ca_bundle` names no file.
        ConfigurationError: The installation lacks a template.
    """
    home = Path.home()
    nesting = Nesting(find_profile(home), tun=Path(TUN).exists())
    return HostFacts(
        find_ca_bundle(config.trust.ca_bundle),
        find_limits(os.getuid()),
        find_plugins(home),
        nesting,
        allowed_open_files(),
    )


def allowed_open_files() -> int:
    """How many files a process of a sandbox that this process makes may have open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN_FILES if most == resource.RLIM_INFINITY else min(most, MOST_OPEN_FILES)


class Advice:
    """What a person should know of a loop: what it was to have and does not.

    Args:
        config: The workspace's settings.
        host: What the host offers.
        toolchains: Says whose tools could not be built.
    """

    def __init__(self, config: Config, host: HostFacts, toolchains: Toolchains) -> None:
        self._config = config
        self._host = host
        self._toolchains = toolchains

    def __call__(self, record: LoopRecord) -> tuple[str, ...]:
        """The warnings of one loop. Asks no podman.

        Args:
            record: The loop.
        """
        problem, told = self._toolchains.problem(record), fixed_warnings(record, self._config)
        record = bound(record, self._config)
        wanted, isolation = wanted_resources(record, self._config), wanted_isolation(record, self._config)
        return (
            *((problem,) if problem else ()),
            *told,
            *isolation_warnings(isolation, self._host.nesting, wanted),
            *resource_warnings(allowed(wanted, isolation), self._host.limits, CDI_FOLDERS),
        )

    def isolation(self, record: LoopRecord) -> Isolation:
        """The level of a loop that counts: its own where the site has not fixed another one, else the workspace's.

        Args:
            record: The loop.
        """
        return wanted_isolation(bound(record, self._config), self._config)
