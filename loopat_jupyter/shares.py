"""What a loop shows to others: changed, and shown."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.deadlines import to_the_end
from loopat_jupyter.errors import BadInputError, ConflictError, LoopatError
from loopat_jupyter.household import ignore
from loopat_jupyter.models import LoopEvent, Progress
from loopat_jupyter.sandbox.facts import INSPECT_TIMEOUT_S
from loopat_jupyter.sandbox.plan import container_name, kernel_ports, publishing_host
from loopat_jupyter.sharing.checks import check_share, no_port_left
from loopat_jupyter.sharing.plan import host_of, label_of
from loopat_jupyter.sharing.ports import listening, used_ports
from loopat_jupyter.starting import way_out_of_archive
from loopat_jupyter.values import Share, Sharing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sharing.plan import Showing
    from loopat_jupyter.values import ListeningPort, SharingState
    from loopat_jupyter.workspace.config import ShareConfig

JUPYTER_PREFIX = "loopat/port"
"""Where the Jupyter server shows shared ports to who is logged in there, below its base URL."""

_FIRST_RANDOM_PORT = 32_768
"""Linux, and ZeroMQ with it, draws numbers from here on (ip(7), ip_local_port_range)."""

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with


async def change_share(
    manager: LoopManager, record: LoopRecord, share: Share, *, on_progress: Callable[[Progress], None] = ignore
) -> Sharing:
    """Share a loop, in another way, or not any more. The first time this builds the image of the edge.

    Nobody who is connected to another loop notices.

    Args:
        manager: The loops.
        record: The loop.
        share: What is wanted; a public port that is left out is chosen, or stays.
        on_progress: Told about long work.

    Raises:
        BadInputError: It makes no sense; names the field. Nothing was changed.
        ConflictError: The loop is archived, or alias or port are somebody else's. Nothing was changed.
        EngineError: Podman refused; nothing was changed.
    """
    check_share(share, manager.config)
    if share.mode != "off":
        _refuse(manager, record, share)
    manager.workspace.prepare()
    edge = manager.edge
    async with edge.lock():
        others = [other for other in edge.shared.settle() if other.id != record.id]
        await _refuse_taken(manager, record, share, others)
        before = manager.store.read(record.id).share
        if share.mode == before.mode == "direct" and share.public_port is None:
            share = msgspec.structs.replace(share, public_port=before.public_port)
        edge.shared.add(record.id)
        changed = await _write(manager, record.id, share)
        try:
            showing = await edge.settle(on_progress)
            changed = manager.store.read(record.id)
            if share.mode != "off":
                # It may have been archived meanwhile.
                _refuse(manager, changed, share)
            if share.mode == "direct" and changed.share.public_port is None:
                mine = sum(other.share.mode == "direct" for other in others)
                raise no_port_left(manager.config.share, mine)
        except (LoopatError, asyncio.CancelledError):
            # What somebody called off is not published later on, when the edge is next looked at.
            await to_the_end(_take_back(manager, record.id, before))
            raise
    manager.on_event(LoopEvent(action="updated", loop_id=record.id))
    return await _describe(manager, changed, showing)


async def _take_back(manager: LoopManager, loop_id: str, before: Share) -> None:
    await _write(manager, loop_id, before)
    with contextlib.suppress(LoopatError):
        await manager.edge.settle(ignore)


def _refuse(manager: LoopManager, record: LoopRecord, share: Share) -> None:
    if record.archived:
        raise ConflictError(f"Loop {record.title!r} is archived. To share it, {way_out_of_archive(record)}")
    if share.mode != "static" and manager.sandboxes.plan(record).network == "none":
        raise BadInputError("mode", "a loop without a network has no ports to share; its files can be")


async def _refuse_taken(manager: LoopManager, record: LoopRecord, share: Share, others: Sequence[LoopRecord]) -> None:
    label = label_of(msgspec.structs.replace(record, share=share))
    by_name = share.alias is not None or share.mode in ("static", "port")
    for other in others:
        if by_name and label == label_of(other):
            raise ConflictError(f"The name {label!r} is that of loop {other.title!r}. Choose another alias.")
        if share.public_port is not None and share.public_port == other.share.public_port:
            raise ConflictError(f"Port {share.public_port} is that of loop {other.title!r}. Choose another one.")
    if share.public_port is not None:
        showing = await manager.edge.showing()
        taken = frozenset() if showing else await asyncio.to_thread(used_ports)
        if share.public_port in taken or (showing and share.public_port not in showing.direct_ports):
            raise ConflictError(f"Port {share.public_port} of this machine is taken by somebody else. Choose another.")


async def _write(manager: LoopManager, loop_id: str, share: Share) -> LoopRecord:
    async with manager.sandboxes.lock(loop_id):
        changed = msgspec.structs.replace(manager.store.read(loop_id), share=share)
        manager.store.write(changed)
    return changed


async def look_at_share(manager: LoopManager, record: LoopRecord) -> Sharing:
    """What a loop shows to others, where, and whether it is there.

    Args:
        manager: The loops.
        record: The loop.

    Raises:
        EngineError: Podman could not say.
    """
    by_name = record.share.mode in ("static", "port")
    return await _describe(manager, record, await manager.edge.showing() if by_name else None)


async def _describe(manager: LoopManager, record: LoopRecord, showing: Showing | None) -> Sharing:
    share = record.share
    stamp = manager.sandboxes.state_files(record.id).running()
    ports = await asyncio.to_thread(listening, stamp.pid) if stamp else ()
    published = kernel_ports(manager.config)
    url = None if record.archived else await _url(manager, record, showing, running=stamp is not None)
    return Sharing(
        mode=share.mode,
        port=share.port,
        alias=share.alias,
        protocol=share.protocol,
        public_port=share.public_port,
        url=url,
        jupyter_path=f"{JUPYTER_PREFIX}/{record.id}/{share.port}/" if share.mode == "port" else None,
        state=judge(record, ports, running=stamp is not None, found=url is not None),
        listening=tuple(port for port in ports if not is_of_kernels(port, published)),
    )


def is_of_kernels(port: ListeningPort, published: Sequence[int]) -> bool:
    """Whether a port is what kernels open, and nothing that a person would share.

    Args:
        port: Something in a loop listens on it.
        published: Ports through which kernels are reached, where they are.
    """
    # For itself alone a kernel listens on the loopback, on a number that was drawn at random.
    return port.port in published or (port.port >= _FIRST_RANDOM_PORT and not port.reachable)


def judge(record: LoopRecord, ports: Sequence[ListeningPort], *, running: bool, found: bool) -> SharingState:
    """The state of a loop's sharing.

    Args:
        record: The loop.
        ports: What listens in it.
        running: Whether its sandbox runs.
        found: Whether it is published.
    """
    share = record.share
    if share.mode == "off":
        return "off"
    if record.archived:
        return "archived"
    if share.mode == "static":
        return "ready" if found else "stopped"
    if not running:
        return "stopped"
    if not found:
        return "restart_needed"
    reached = any((port.port, port.protocol, port.reachable) == (share.port, share.protocol, True) for port in ports)
    return "ready" if reached else "not_listening"


async def _url(manager: LoopManager, record: LoopRecord, showing: Showing | None, *, running: bool) -> str | None:
    share, config = record.share, manager.config.share
    if share.mode in ("static", "port"):
        return f"http://{host_of(record, config)}:{showing.web_port}/" if showing else None
    if share.mode == "direct":
        return f"{share.protocol}://{_public_host(config)}:{share.public_port}" if share.public_port else None
    if share.mode == "ephemeral" and running:
        answer = await manager.engine.run(
            "port",
            container_name(manager.workspace.name, record.id),
            f"{share.port}/{share.protocol}",
            ok=(0, 125),
            timeout_s=INSPECT_TIMEOUT_S,
            doing="look for the published port",
        )
        number = answer.stdout.decode().strip().rpartition(":")[2]
        return f"{share.protocol}://{_public_host(config)}:{number}" if number.isdecimal() else None
    return None


def _public_host(config: ShareConfig) -> str:
    return config.domain if config.host in _EVERYWHERE else publishing_host(config.host)
