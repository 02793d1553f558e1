"""Stock starts and restarts of kernels over REST, whose failures say why, with a status of their own."""

from __future__ import annotations

from jupyter_core.utils import ensure_async
from jupyter_server.services.kernels.handlers import KernelActionHandler, _kernel_action_regex, _kernel_id_regex
from jupyter_server.services.sessions.handlers import SessionRootHandler
from tornado import web
from tornado.web import HTTPError

from loopat_jupyter.kernels.failure import KernelNotStarted


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
        try:
            await ensure_async(super().post(kernel_id, action))
        except HTTPError as error:
            if isinstance(error.__cause__, HTTPError):
                raise error.__cause__ from None
            raise


class LoopSessionRootHandler(SessionRootHandler):
    """`/api/sessions`: as stock, but no 500 where the fault is not the server's."""

    @web.authenticated
    async def post(self) -> None:
        """Make a session.

        Raises:
            tornado.web.HTTPError: Its kernel did not start, or as stock.
        """
        try:
            await ensure_async(super().post())
        except HTTPError as error:
            if isinstance(error.__cause__, KernelNotStarted):
                raise error.__cause__ from None
            raise


HANDLERS = (
    (rf"/api/kernels/{_kernel_id_regex}/{_kernel_action_regex}", LoopKernelActionHandler),
    (r"/api/sessions", LoopSessionRootHandler),
)
