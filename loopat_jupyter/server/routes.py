"""Every route of the extension, as the OpenAPI file names them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from loopat_jupyter.server.handlers.commands import ExecHandler
from loopat_jupyter.server.handlers.contexts import (
    ContextHandler,
    ContextsHandler,
    MergeHandler,
    PromoteHandler,
    ProposalHandler,
    ProposalsHandler,
    PushHandler,
)
from loopat_jupyter.server.handlers.health import HealthHandler, OpenAPIHandler, UnknownHandler
from loopat_jupyter.server.handlers.inside import BuildLogHandler, KernelspecsHandler, TerminalsHandler, UsageHandler
from loopat_jupyter.server.handlers.loops import LoopHandler, LoopsHandler
from loopat_jupyter.server.handlers.offers import AgentsHandler, DefaultsHandler, ProfilesHandler, ProjectHandler
from loopat_jupyter.server.handlers.repos import FetchHandler, RepoHandler, ReposHandler
from loopat_jupyter.server.handlers.shares import ShareHandler
from loopat_jupyter.server.handlers.states import CancelHandler, RecreateHandler, StartHandler, StopHandler
from loopat_jupyter.server.handlers.vaults import VariableHandler, VaultHandler, VaultsHandler

if TYPE_CHECKING:
    from loopat_jupyter.server.base import LoopatHandler

PREFIX = "/loopat/api"


class Route(NamedTuple):
    """A path and who handles it.

    Attributes:
        path: Below `PREFIX`, parameters in braces.
        handler: The handler.
    """

    path: str
    handler: type[LoopatHandler]

    @property
    def pattern(self) -> str:
        """The path as a regular expression, parameters as named groups."""
        return PREFIX + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path.replace(".", r"\."))


ROUTES = (
    Route("/health", HealthHandler),
    Route("/openapi.yaml", OpenAPIHandler),
    Route("/repos", ReposHandler),
    Route("/repos/{name}", RepoHandler),
    Route("/contexts", ContextsHandler),
    Route("/contexts/{kind}", ContextHandler),
    Route("/proposals", ProposalsHandler),
    Route("/proposals/{kind}/{loop_id}", ProposalHandler),
    Route("/proposals/{kind}/{loop_id}/merge", MergeHandler),
    Route("/profiles", ProfilesHandler),
    Route("/agents", AgentsHandler),
    Route("/defaults", DefaultsHandler),
    Route("/loops", LoopsHandler),
    Route("/loops/{loop_id}", LoopHandler),
    Route("/loops/{loop_id}/start", StartHandler),
    Route("/loops/{loop_id}/stop", StopHandler),
    Route("/loops/{loop_id}/recreate", RecreateHandler),
    Route("/loops/{loop_id}/cancel", CancelHandler),
    Route("/loops/{loop_id}/terminals", TerminalsHandler),
    Route("/loops/{loop_id}/exec", ExecHandler),
    Route("/loops/{loop_id}/promote", PromoteHandler),
    Route("/loops/{loop_id}/push", PushHandler),
    Route("/loops/{loop_id}/fetch", FetchHandler),
    Route("/loops/{loop_id}/share", ShareHandler),
    Route("/loops/{loop_id}/kernelspecs", KernelspecsHandler),
    Route("/loops/{loop_id}/project", ProjectHandler),
    Route("/loops/{loop_id}/usage", UsageHandler),
    Route("/loops/{loop_id}/build-log", BuildLogHandler),
    Route("/vaults", VaultsHandler),
    Route("/vaults/{vault}", VaultHandler),
    Route("/vaults/{vault}/variables/{variable}", VariableHandler),
)


def handlers() -> list[tuple[str, type[LoopatHandler]]]:
    """What the server's web application takes; the last one answers for paths that do not exist."""
    return [(route.pattern, route.handler) for route in ROUTES] + [(f"{PREFIX}(?:/.*)?", UnknownHandler)]
