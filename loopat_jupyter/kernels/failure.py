"""The edge to Jupyter: errors of ours as Jupyter Server shows them, with their words and their status."""

from __future__ import annotations

import contextlib
import textwrap
from typing import TYPE_CHECKING

from tornado.web import HTTPError

from loopat_jupyter.errors import LoopatError

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLUMNS = 72
"""JupyterLab's dialog breaks no lines, and cuts off what does not fit."""


class KernelNotStarted(HTTPError):  # noqa: N818 - reads as a sentence where people meet it
    """A kernel did not start. Jupyter Server answers with the message; elsewhere it is what gets printed.

    Args:
        error: What happened.
    """

    def __init__(self, error: LoopatError) -> None:
        super().__init__(error.status, in_lines(error.message), reason=error.reason)
        self.error = error

    def __str__(self) -> str:
        return self.error.message


def in_lines(message: str) -> str:
    """A message in lines that JupyterLab's dialog has room for; the lines that it has stay, and no word is cut.

    Args:
        message: The message.
    """
    wrapper = textwrap.TextWrapper(_COLUMNS, break_long_words=False, break_on_hyphens=False, drop_whitespace=True)
    return "\n".join("\n".join(wrapper.wrap(line)) for line in message.split("\n"))


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turn errors of ours inside the block into one that Jupyter shows.

    Raises:
        KernelNotStarted: With the same words.
    """
    try:
        yield
    except LoopatError as error:
        # The chain of causes would bury the one sentence that helps.
        raise KernelNotStarted(error) from None
