"""Pure: the state that what is known of a sandbox amounts to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopat_jupyter.models import Status
from loopat_jupyter.sandbox.runtime import paused
from loopat_jupyter.sandbox.usage import unresponsive

if TYPE_CHECKING:
    from loopat_jupyter.models import ContainerFacts, InUse, Progress


def judged(
    title: str, facts: ContainerFacts | None, *, progress: Progress | None, failed: str, outdated: bool, used: InUse
) -> Status:
    """The state of a sandbox.

    Args:
        title: What the loop is called.
        facts: Its container; None when there is none.
        progress: The long work that is under way for it.
        failed: Why its last build failed; empty when it did not.
        outdated: Whether the container is not as wanted.
        used: What runs in it.
    """
    if progress is not None:
        return Status(state="preparing", progress=progress)
    told = (failed,) if failed else ()
    if facts is None:
        return Status(state="absent", build_failed=bool(failed), warnings=told)
    if facts.paused:
        return Status(state="error", warnings=(paused(title, facts.name).message,))
    if facts.running and not facts.alive:
        problem = "its processes are gone although podman says it runs; start it to repair it"
        return Status(state="error", warnings=(problem,))
    return Status(
        state="running" if facts.running else "stopped",
        restart_needed=facts.running and outdated,
        build_failed=bool(failed),
        warnings=(*told, *map(unresponsive, used.unresponsive)),
        in_use=used,
    )
