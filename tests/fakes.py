"""A recording fake of the engine, for managers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.sandbox.podman import DEFAULT_TIMEOUT_S, Completed

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord, Progress


class FakeEngine:
    """Records each call and answers from a script.

    Args:
        answers: Called with the arguments; returns what podman would, or raises what the runner would.
    """

    def __init__(self, answers: Callable[[tuple[str, ...]], Completed]) -> None:
        self.calls: list[tuple[str, ...]] = []
        self._answers = answers

    def argv(self, *arguments: str) -> tuple[str, ...]:
        return ("podman", *arguments)

    def environment(self) -> dict[str, str]:
        return {}

    async def run(
        self, *arguments: str, timeout_s: float = DEFAULT_TIMEOUT_S, ok: Sequence[int] = (0,), doing: str = ""
    ) -> Completed:
        self.calls.append(arguments)
        return self._answers(arguments)

    def proxies(self) -> dict[str, str]:
        return {}

    def slot(self, timeout_s: float) -> contextlib.AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()

    def starting(self, where: Path, timeout_s: float) -> contextlib.AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()

    async def close(self) -> None:
        self.calls.append(("close",))

    @contextlib.asynccontextmanager
    async def open(self, *arguments: str, stdin: bool) -> AsyncIterator[asyncio.subprocess.Process]:
        self.calls.append(arguments)
        raise NotImplementedError
        yield

    @property
    def verbs(self) -> list[str]:
        """The first word of each call."""
        return [call[0] for call in self.calls]


class FakeImages:
    """An image that is there, or appears when it is asked for."""

    def __init__(self, reference: str = "localhost/image:latest") -> None:
        self._reference = reference
        self.ensured: list[str] = []
        self.unready: set[str] = set()

    def reference(self, record: LoopRecord) -> str:
        return self._reference

    async def ensure(self, record: LoopRecord, on_progress: Callable[[Progress], None]) -> str:
        self.ensured.append(record.id)
        self.unready.clear()
        return "image-id"

    def is_ready(self, reference: str, image_id: str) -> bool:
        return image_id not in self.unready

    def forget_ready(self, image_id: str) -> None:
        self.unready.add(image_id)


def inspected(*entries: dict[str, object], missing: bool = False) -> Completed:
    """What `podman inspect` answers."""
    stderr = 'Error: inspecting object: no such object: "x"' if missing else ""
    return Completed(125 if missing else 0, msgspec.json.encode(entries), stderr)
