"""What podman and the host's kernel say of containers. Reading only; nothing here changes anything."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from loopat_jupyter.errors import EngineError
from loopat_jupyter.models import ContainerFacts
from loopat_jupyter.sandbox.plan import LABEL_HASH, LABEL_LOOP, LABEL_REFERENCE, LABEL_WORKSPACE
from loopat_jupyter.sandbox.process import is_init

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopat_jupyter.sandbox.podman import Engine

INSPECT_TIMEOUT_S = 60.0
"""For what podman answers at once, but not while it holds its storage: to commit an image takes a slow disk long."""

_HALF_REMOVED = ("container not known", "layer not known", "getting graph driver info")
"""What podman says of a container whose storage is gone already."""

_MISSING = ("no such object", "no such container", "no such image")
"""What podman says where something is not there. That some file is not there means no such thing."""


async def look(engine: Engine, name: str, reference: str) -> tuple[ContainerFacts | None, str | None]:
    """A container, and the id of the image it should run, in one call.

    Args:
        engine: Runs podman.
        name: Of the container.
        reference: Of the image.

    Returns:
        Facts and id; None for what is not there.

    Raises:
        EngineError: Podman could not say.
        EngineTimeoutError: Podman did not answer.
        EngineUnavailableError: There is no usable podman.
    """
    answer = await engine.run(
        "inspect", name, reference, timeout_s=INSPECT_TIMEOUT_S, ok=(0, 125), doing="inspect the sandbox"
    )
    if any(words in answer.stderr for words in _HALF_REMOVED):
        # A removal was cut short: what is left of the container has to go before there can be another.
        half = ContainerFacts(
            id="", name=name, loop_id="", config_hash="", image_id="", running=True, pid=0, alive=False
        )
        return half, await _image_id(engine, reference)
    if answer.returncode and not any(words in answer.stderr for words in _MISSING):
        raise EngineError(
            f"Podman failed to inspect the sandbox: {answer.stderr}. Run `jupyter loopat doctor`.",
            returncode=answer.returncode,
            stderr=answer.stderr,
        )
    facts = image_id = None
    shadowed = False
    with understood("inspect"):
        for entry in msgspec.json.decode(answer.stdout):
            if "State" not in entry:
                image_id = entry["Id"]
            elif entry["Name"].lstrip("/") == name:
                facts = _facts_from_inspect(entry)
            else:
                # Somebody's container is called like the image, and podman prefers containers.
                shadowed = True
    return facts, await _image_id(engine, reference) if shadowed else image_id


async def _image_id(engine: Engine, reference: str) -> str | None:
    answer = await engine.run(
        "image", "inspect", "--format={{.Id}}", reference, timeout_s=INSPECT_TIMEOUT_S, ok=(0, 125)
    )
    return answer.stdout.decode().strip() or None


async def find_container(engine: Engine, name: str) -> ContainerFacts | None:
    """A container; None when there is none.

    Args:
        engine: Runs podman.
        name: Of the container.

    Raises:
        EngineError: Podman could not say.
    """
    facts, _ = await look(engine, name, name)
    return facts


async def list_containers(engine: Engine, workspace: str) -> dict[str, ContainerFacts]:
    """All sandboxes of a workspace, by loop id; one podman call. What shows shared loops to others is none.

    Args:
        engine: Runs podman.
        workspace: Name of the workspace.

    Raises:
        EngineError: Podman could not say.
    """
    answer = await engine.run(
        "ps",
        "--all",
        f"--filter=label={LABEL_WORKSPACE}={workspace}",
        "--format=json",
        timeout_s=INSPECT_TIMEOUT_S,
        doing="list containers",
    )
    with understood("ps"):
        listed = [_facts_from_ps(entry) for entry in msgspec.json.decode(answer.stdout)]
    return {facts.loop_id: facts for facts in listed if facts.loop_id}


@contextlib.contextmanager
def understood(command: str) -> Iterator[None]:
    """Turn an answer of another shape than podman's into a typed error.

    Args:
        command: What podman was asked.

    Raises:
        EngineError: It makes no sense.
    """
    try:
        yield
    except (msgspec.DecodeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise EngineError(
            f"`podman {command}` answered something that makes no sense ({type(error).__name__}: {error}). "
            "Run `jupyter loopat doctor`: is the configured command really podman?"
        ) from error


def _facts_from_inspect(entry: dict[str, Any]) -> ContainerFacts:
    state, labels = entry["State"], entry["Config"].get("Labels") or {}
    return ContainerFacts(
        id=entry["Id"],
        name=entry["Name"].lstrip("/"),
        loop_id=labels.get(LABEL_LOOP, ""),
        config_hash=labels.get(LABEL_HASH, ""),
        image_id=entry["Image"],
        reference=labels.get(LABEL_REFERENCE, ""),
        running=bool(state["Running"]),
        pid=int(state["Pid"]),
        alive=is_init(int(state["Pid"])),
        paused=bool(state.get("Paused")),
    )


def _facts_from_ps(entry: dict[str, Any]) -> ContainerFacts:
    labels, pid = entry.get("Labels") or {}, int(entry.get("Pid") or 0)
    running = entry.get("State") == "running"
    return ContainerFacts(
        id=entry["Id"],
        name=entry["Names"][0],
        loop_id=labels.get(LABEL_LOOP, ""),
        config_hash=labels.get(LABEL_HASH, ""),
        image_id=entry["ImageID"],
        reference=labels.get(LABEL_REFERENCE, ""),
        running=running,
        pid=pid,
        alive=running and is_init(pid),
        paused=entry.get("State") == "paused",
    )
