"""What happens to loops, as Jupyter events."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from jupyter_events import EventLogger

    from loopat_jupyter.models import LoopEvent

SCHEMA_ID = "urn:loopat:event:loop:v1"
SCHEMA_FILE = Path(__file__).parent / "event_schemas" / "loop" / "v1.yaml"


def event_data(event: LoopEvent) -> dict[str, Any]:
    """An event as the schema has it: fields without a value are left out."""
    fields = msgspec.to_builtins(event)
    return {name: value for name, value in fields.items() if value is not None}


class EventStream:
    """Hands events to the server's event logger, from whatever thread they come.

    Args:
        logger: The server's event logger.
        told: Told as well, on the server's event loop.
    """

    def __init__(self, logger: EventLogger, told: Callable[[LoopEvent], None]) -> None:
        self._logger = logger
        self._told = told
        self._loop: asyncio.AbstractEventLoop | None = None
        logger.register_event_schema(SCHEMA_FILE)

    def open(self) -> None:
        """Take the running event loop as the server's. Events before that have no listener and are dropped."""
        self._loop = asyncio.get_running_loop()

    def publish(self, event: LoopEvent) -> None:
        """Send an event to everybody who listens."""
        if self._loop is None or self._loop.is_closed():
            return
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            self._emit(event)
        else:
            self._loop.call_soon_threadsafe(self._emit, event)

    def _emit(self, event: LoopEvent) -> None:
        self._logger.emit(schema_id=SCHEMA_ID, data=event_data(event))
        self._told(event)
