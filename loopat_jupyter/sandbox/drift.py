"""Pure: whether a container is as wanted, and what `ensure` must do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from loopat_jupyter.sandbox.template import is_built_here

if TYPE_CHECKING:
    from loopat_jupyter.models import ContainerFacts

Decision: TypeAlias = Literal["nothing", "start", "create", "replace", "restart-needed"]


def replaced(facts: ContainerFacts | None, wanted_hash: str, image_id: str | None) -> str:
    """What to tell of a sandbox that was replaced at its next use; empty where there was none.

    Args:
        facts: The container that there was.
        wanted_hash: Hash of the wanted container.
        image_id: The image of the new one.
    """
    if facts is None:
        return ""
    # Of one whose storage is lost, podman cannot say what it was.
    changed = ["its settings"] if facts.config_hash not in ("", wanted_hash) else []
    changed += ["its image"] if facts.image_id and image_id not in (None, facts.image_id) else []
    why = f"{' and '.join(changed)} had changed" if changed else "it could not go on as it was"
    return f"The sandbox was recreated: {why}. Files and home are as they were; what was installed with sudo is gone."


def drifted(facts: ContainerFacts, wanted_hash: str, reference: str, image_id: str | None) -> bool:
    """Whether a container is not as wanted.

    Args:
        facts: The container.
        wanted_hash: Hash of the wanted container.
        reference: What the image is called that it should run.
        image_id: That image; None when it is not there (any more), or not known, which by itself is no reason to
            replace a container. Nor is a newer template that nobody has built yet. Another image that was chosen is.
    """
    if facts.config_hash != wanted_hash:
        return True
    if image_id is not None:
        return image_id != facts.image_id
    built_here = is_built_here(reference) and is_built_here(facts.reference)
    return facts.reference not in ("", reference) and not built_here


def decide(
    facts: ContainerFacts | None, wanted_hash: str, reference: str, image_id: str | None, *, active: bool
) -> Decision:
    """What `ensure` has to do.

    Args:
        facts: The container; None when there is none.
        wanted_hash: Hash of the wanted container.
        reference: What the image is called that it should run.
        image_id: That image; None when it is not there (any more).
        active: Whether a kernel, terminal or command runs in it.

    Returns:
        `nothing`: running as wanted. `start`: stopped as wanted. `create`: make one. `replace`: remove it, then make
        one. `restart-needed`: it runs with outdated settings, and replacing it would end somebody's work.
    """
    if facts is None:
        return "create"
    if facts.running and not facts.alive:
        return "replace"
    if not drifted(facts, wanted_hash, reference, image_id):
        return "nothing" if facts.running else "start"
    return "restart-needed" if facts.running and active else "replace"
