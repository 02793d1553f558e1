"""Stock restart of a kernel over REST, whose failure says why."""

from __future__ import annotations

from jupyter_core.utils import ensure_async
from jupyter_server.services.kernels.handlers import KernelActionHandler, _kernel_action_regex, _kernel_id_regex
from tornado.web import HTTPError


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


HANDLERS = ((rf"/api/kernels/{_kernel_id_regex}/{_kernel_action_regex}", LoopKernelActionHandler),)
