"""The containers that show what loops share, as podman tells of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from loopat_jupyter.errors import EngineError, EngineTimeoutError
from loopat_jupyter.sandbox.facts import INSPECT_TIMEOUT_S, understood
from loopat_jupyter.sandbox.plan import LABEL_HASH, LABEL_WORKSPACE
from loopat_jupyter.sandbox.process import is_init
from loopat_jupyter.sandbox.trees import descendants
from loopat_jupyter.sharing.plan import LABEL_PORT, LABEL_SHARE, Showing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopat_jupyter.sandbox.podman import Engine

_LACKING = ("image not known", "network not found")
_GRACE_S = 2
_AT_ONCE = 8
_STOP_TIMEOUT_S = 20.0
"""Enough for so many containers at once to end, or to be ended, one after the other."""

_PORT_IN_ADDRESS = re.compile(r":(\d{1,5})(?=[:\s])")


class Shown(NamedTuple):
    """One of the containers.

    Attributes:
        name: Its name.
        share: `edge`, or the id of the loop whose files it serves.
        digest: Hash of what it was made from.
        alive: It runs, and its init process is there.
        showing: The ports of the host that it has.
    """

    name: str
    share: str
    digest: str
    alive: bool
    showing: Showing


async def list_shown(engine: Engine, workspace: str) -> dict[str, Shown]:
    """The containers that are there, by what they show; one podman call.

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
        f"--filter=label={LABEL_SHARE}",
        "--format=json",
        timeout_s=INSPECT_TIMEOUT_S,
        doing="list what is shared",
    )
    with understood("ps"):
        found = [_shown(entry) for entry in msgspec.json.decode(answer.stdout or b"[]")]
    return {container.share: container for container in found}


async def remove_shown(engine: Engine, names: Sequence[str]) -> None:
    """Remove containers, of any number.

    Args:
        engine: Runs podman.
        names: Their names.

    Raises:
        EngineError: Podman refused; names what may still be there. Everything else is gone.
        EngineTimeoutError: Podman took too long; names what may still be there.
    """
    left: list[str] = []
    problem: EngineError | EngineTimeoutError | None = None
    for begin in range(0, len(names), _AT_ONCE):
        some = names[begin : begin + _AT_ONCE]
        try:
            await _remove_some(engine, some)
        except EngineError as error:
            left, problem = [*left, *some], error
        except EngineTimeoutError as error:
            # Podman hangs, and would for the others.
            left, problem = [*left, *names[begin:]], error
            break
    if problem is not None:
        what = f"What may be left of it, `jupyter loopat gc --yes` removes: {', '.join(left)}."
        raise type(problem)(f"{problem.message} {what}") from problem


async def _remove_some(engine: Engine, names: Sequence[str]) -> None:
    arguments = ("rm", "--force", "--ignore", f"--time={_GRACE_S}", *names)
    try:
        await engine.run(*arguments, timeout_s=_STOP_TIMEOUT_S, doing="end sharing")
    except EngineError:
        # After its monitor was killed, podman learns from the first attempt that the container is dead.
        await engine.run(*arguments, timeout_s=_STOP_TIMEOUT_S, doing="end sharing")


def taken_ports(stderr: str) -> frozenset[int]:
    """Ports that podman could not publish, because somebody has them.

    Args:
        stderr: What podman said.
    """
    lines = [line for line in stderr.splitlines() if "address already in use" in line]
    return frozenset(int(port) for line in lines for port in _PORT_IN_ADDRESS.findall(line))


def is_lacking(error: EngineError) -> bool:
    """Whether podman made no container because its image or its network is not there.

    Args:
        error: What became of it.
    """
    return any(words in error.stderr for words in _LACKING)


def _shown(entry: dict[str, Any]) -> Shown:
    labels, pid = entry["Labels"], int(entry.get("Pid") or 0)
    published = [
        int(found["host_port"]) + offset
        for found in entry.get("Ports") or ()
        for offset in range(int(found.get("range") or 1))
    ]
    return Shown(
        name=entry["Names"][0],
        share=labels[LABEL_SHARE],
        digest=labels.get(LABEL_HASH, ""),
        alive=entry.get("State") == "running" and is_init(pid),
        showing=Showing(web_port=int(labels.get(LABEL_PORT, 0)), direct_ports=frozenset(published)),
    )


def accepting(init_pid: int) -> int:
    """How many processes of an nginx take new connections; more than one while its configuration changes.

    Args:
        init_pid: Its first process on the host.
    """
    titles = []
    for pid in descendants(init_pid):
        try:
            titles.append(Path(f"/proc/{pid}/cmdline").read_bytes())
        except OSError:
            continue
    return len([title for title in titles if b"worker process" in title and b"shutting down" not in title])
