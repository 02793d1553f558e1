"""Stock starts and restarts of kernels over REST, whose failures say why, with a status of their own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from jupyter_core.utils import ensure_async
from jupyter_server.services.kernels.handlers import KernelActionHandler, _kernel_action_regex, _kernel_id_regex
from jupyter_server.services.sessions.handlers import SessionRootHandler
from tornado.web import HTTPError, authenticated

from loopat_jupyter.kernels.failure import KernelNotStarted

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def cause_answered(kind: type[HTTPError]) -> Iterator[None]:
    """Answer with what a stock handler wraps into an error of its own, where it is of some kind.

    Args:
        kind: The kind.
    """
    try:
        yield
    except HTTPError as error:
        if isinstance(error.__cause__, kind):
            raise error.__cause__ from None
        raise


class LoopKernelActionHandler(KernelActionHandler):
    """`/api/kernels/…/restart` and `…/interrupt`: as stock, and who restarts is told why it failed."""

    async def post(self, kernel_id: str, action: str) -> None:
        """Interrupt or restart a kernel.

        Args:
            kernel_id: The kernel.
            action: What to do.

        Raises:
            tornado.web.HTTPError: It did not start again; says why.
        """
        with cause_answered(HTTPError):
            await ensure_async(super().post(kernel_id, action))


class LoopSessionRootHandler(SessionRootHandler):
    """`/api/sessions`: as stock, but no 500 where the fault is not the server's."""

    @authenticated
    async def post(self) -> None:
        """Make a session.

        Raises:
            tornado.web.HTTPError: Its kernel did not start, or as stock.
        """
        with cause_answered(KernelNotStarted):
            await ensure_async(super().post())


HANDLERS = (
    (rf"/api/kernels/{_kernel_id_regex}/{_kernel_action_regex}", LoopKernelActionHandler),
    (r"/api/sessions", LoopSessionRootHandler),
)
