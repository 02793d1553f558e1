"""`Edge`: the containers that show what loops share; makes them what the records say."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec

from loopat_jupyter.deadlines import deadline
from loopat_jupyter.errors import ConflictError, EngineError, LoopatError
from loopat_jupyter.models import LoopEvent, Progress
from loopat_jupyter.sandbox.images import Images
from loopat_jupyter.sandbox.leftovers import Leftover, image_leftover
from loopat_jupyter.sandbox.network import ensure_network, was_ensured
from loopat_jupyter.sandbox.plan import network_name, publishing_host
from loopat_jupyter.sandbox.sockets import address_of
from loopat_jupyter.sandbox.template import template_folder
from loopat_jupyter.sharing.containers import accepting, is_lacking, list_shown, remove_shown, taken_ports
from loopat_jupyter.sharing.listener import giving, take_port, until_free
from loopat_jupyter.sharing.nginx import VERSION_PATH, config_version, edge_config
from loopat_jupyter.sharing.notes import Notes
from loopat_jupyter.sharing.plan import (
    EDGE,
    EDGE_IMAGE,
    Showing,
    assign_ports,
    choose_ports,
    edge_argv,
    edge_hash,
    files_argv,
    files_hash,
    files_name,
    is_shown,
    needed_by,
    plan_edge,
    plan_sites,
    plan_streams,
    web_ports,
)
from loopat_jupyter.sharing.ports import used_ports
from loopat_jupyter.sharing.records import SharedLoops
from loopat_jupyter.workspace.files import write_atomic
from loopat_jupyter.workspace.locks import file_lock, loop_lock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.sandbox.podman import Engine
    from loopat_jupyter.sharing.containers import Shown
    from loopat_jupyter.sharing.plan import EdgeSpec
    from loopat_jupyter.workspace.config import Config
    from loopat_jupyter.workspace.records import LoopStore

_log = logging.getLogger(__name__)

_LOCK_TIMEOUT_S = 600.0
"""The first to share builds the image meanwhile."""

_START_TIMEOUT_S = 90.0
"""Podman opens a thousand ports in some seconds."""

_ANSWER_TIMEOUT_S = 10.0
_ATTEMPTS = 12
_GLANCE_S = 1.0
_POLL_S = 0.02

_Result = TypeVar("_Result")

Wanted: TypeAlias = "tuple[Sequence[LoopRecord], Mapping[str, str]]"
"""What is to be shown, and the addresses of the containers behind that run, by loop id."""


class Edge:
    """What shows the shared loops of one workspace. Safe to use from any number of processes at once.

    Args:
        store: The records.
        config: The workspace's settings.
        engine: Runs podman.
        tell: Told when a loop's public port had to change.
    """

    def __init__(self, store: LoopStore, config: Config, engine: Engine, tell: Callable[[LoopEvent], None]) -> None:
        self._store = store
        self._config = config
        self._engine = engine
        self._tell = tell
        self._workspace = store.workspace
        self.shared = SharedLoops(store)
        self._notes = Notes(store.workspace)

    @property
    def socket(self) -> Path:
        """Where the edge answers this host alone."""
        return self._notes.socket

    def lock(self) -> contextlib.AbstractAsyncContextManager[None]:
        """The lock under which it changes what is shared, across processes; taken before that of a loop."""
        return file_lock(self._workspace.locks / "edge.lock", timeout_s=_LOCK_TIMEOUT_S, what="what is shared")

    async def follow(self, loop_id: str) -> None:
        """A loop was started, stopped, archived or deleted: what is shown follows, if it is shared at all.

        A failure is told and goes no further, for what the person wanted has happened; `keep` comes back to it.

        Args:
            loop_id: The loop.
        """
        if loop_id not in self.shared.ids():
            return
        try:
            async with self.lock():
                if not self._notes.up_to_date(self._wanted()):
                    await self.settle(_ignore)
        except LoopatError as error:
            self._tell(LoopEvent(action="warning", loop_id=loop_id, message=f"It is not shared: {error.message}"))

    async def keep(self) -> None:
        """Follow what started, stopped or died without a word. Asks no podman while everything is as it was.

        Raises:
            LoopatError: As `settle`.
        """
        if self.shared.ids() and not self._notes.up_to_date(self._wanted()):
            self._workspace.prepare()
            async with self.lock():
                await self.settle(_ignore)

    async def settle(self, tell: Callable[[Progress], None]) -> Showing | None:
        """Show what the records say, and nothing else. Only under the lock.

        Who is connected to one loop is not disturbed by what another one shares.

        Args:
            tell: Told about long work.

        Returns:
            What is shown; None when nothing needs the edge.

        Raises:
            BadInputError: The configuration makes no sense; names the key.
            ConflictError: No port of the host is left.
            EngineError: Podman refused, or nginx did not start.
            EngineTimeoutError: Podman did not answer in time.
            ImageBuildError: The image of the edge could not be built.
            StorageFullError: No space.
        """
        wanted = self._wanted()
        there = await list_shown(self._engine, self._workspace.name)
        showing = None
        if wanted:
            self._notes.make_folders()
            network = network_name(self._workspace.name)
            spec = plan_edge(self._workspace, self._config.share, network, self._images().template().tag)
            for record in wanted:
                if record.share.mode == "static":
                    await self._serve_files(record.id, there.get(record.id), spec, tell)
            addresses = self._notes.addresses(wanted)
            showing = await self._show(spec, (wanted, addresses), there.get(EDGE), tell)
            self._notes.write(self._wanted(), addresses)
        needed = needed_by(wanted)
        await self._remove([container for share, container in there.items() if share not in needed])
        if not wanted:
            self._notes.forget()
        return showing

    async def showing(self) -> Showing | None:
        """Where things are shown now; None where nothing is.

        Raises:
            EngineError: Podman could not say.
        """
        found = (await list_shown(self._engine, self._workspace.name)).get(EDGE)
        return found.showing if found is not None and found.alive else None

    async def sweep(self, *, remove: bool) -> tuple[Leftover, ...]:
        """Containers that show what is not shared any more, and images of older templates.

        Args:
            remove: Off: only look.

        Returns:
            What was found; with `remove`, what of it is gone.

        Raises:
            EngineError: Podman refused.
        """
        async with self.lock():
            needed = needed_by(self._wanted())
            there = await list_shown(self._engine, self._workspace.name)
            left = [container for share, container in there.items() if share not in needed]
            images = await self._images().obsolete()
            if remove:
                await self._remove(left)
                images = list(await self._images().remove(images))
        return (
            *(
                Leftover(kind="container", name=each.name, reason="nothing is shared by it", key=each.share)
                for each in left
            ),
            *map(image_leftover, images),
        )

    async def close(self) -> None:
        """Show nothing any more, until something changes or a server starts.

        Raises:
            EngineError: Podman refused.
        """
        if self.shared.ids():
            async with self.lock():
                self._notes.forget()
                await self._remove(list((await list_shown(self._engine, self._workspace.name)).values()))

    def _wanted(self) -> list[LoopRecord]:
        return [record for record in self.shared.settle() if is_shown(record)]

    def _images(self) -> Images:
        return Images(self._workspace, self._engine, self._config, template=template_folder(EDGE), name=EDGE_IMAGE)

    async def _having(self, make: Callable[[], Awaitable[_Result]], tell: Callable[[Progress], None]) -> _Result:
        """Make a container. Image and network are mostly there, so they are looked for once podman misses one."""
        if not was_ensured(self._workspace):
            await ensure_network(self._engine, self._workspace)
        try:
            return await make()
        except EngineError as error:
            if not is_lacking(error):
                raise
        await self._images().build(on_progress=tell)
        await ensure_network(self._engine, self._workspace)
        return await make()

    async def _serve_files(
        self, loop_id: str, found: Shown | None, spec: EdgeSpec, tell: Callable[[Progress], None]
    ) -> None:
        digest = files_hash(self._workspace, loop_id, spec)
        if found is not None:
            if found.alive and found.digest == digest:
                return
            await self._remove([found])
        arguments = files_argv(self._workspace, loop_id, spec, pidfile=self._notes.pidfile(loop_id))
        await self._having(lambda: self._start(arguments, files_name(self._workspace.name, loop_id)), tell)

    async def _show(
        self, spec: EdgeSpec, wanted: Wanted, found: Shown | None, tell: Callable[[Progress], None]
    ) -> Showing:
        """Make the edge run by the wanted configuration: the one that runs, if it can."""
        if found is not None and found.alive and found.digest == edge_hash(spec):
            showing = found.showing
            config = await self._configure(spec, wanted, showing)
            if await self._answers(config, timeout_s=0):
                return showing
            if (pid := self._notes.pid(EDGE)) is not None:
                # nginx takes its configuration anew, and goes on with the connections that there are.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGHUP)
                if await self._answers(config, timeout_s=_ANSWER_TIMEOUT_S):
                    return showing
            _log.warning("The edge %s did not take its new configuration, and is recreated", spec.name)
        if found is not None:
            await self._remove([found])
            await until_free(found.showing.direct_ports | {found.showing.web_port})
        return await self._having(lambda: self._create(spec, wanted), tell)

    async def _create(self, spec: EdgeSpec, wanted: Wanted) -> Showing:
        """Make the edge, on the ports that the host has left."""
        # Two edges of one person at once would want the same ports. Podman 4 does worse than refuse the second: it also
        # takes away the network of a container beside it.
        lock = self._workspace.runtime_root / "ports.lock"
        async with file_lock(lock, timeout_s=_LOCK_TIMEOUT_S, what="the ports for sharing"):
            taken = await asyncio.to_thread(used_ports)
            listener = take_port(spec.host, web_ports(spec, taken))
            async with giving(listener, self._notes.giving):
                for _ in range(_ATTEMPTS):
                    showing = choose_ports(spec, listener.getsockname()[1], taken)
                    config = await self._configure(spec, wanted, showing)
                    arguments = edge_argv(spec, showing, pidfile=self._notes.pidfile(EDGE))
                    try:
                        await self._start(arguments, spec.name)
                    except EngineError as error:
                        lost = taken_ports(error.stderr)
                        if not lost:
                            raise
                        # Somebody took it between the look at the host's ports and now.
                        taken |= lost | await asyncio.to_thread(used_ports)
                        continue
                    if await self._answers(config, timeout_s=_ANSWER_TIMEOUT_S):
                        return showing
                    raise EngineError(
                        f"The edge {spec.name} was started and does not answer. `podman exec {spec.name} nginx -t -c "
                        "/loopat/edge/conf/nginx.conf` may say why."
                    )
            raise ConflictError("The ports for sharing are taken again and again. Set share.port and share.port_range.")

    async def _configure(self, spec: EdgeSpec, wanted: Wanted, showing: Showing) -> str:
        """Write the configuration; loops whose public port cannot be had get another one first."""
        records, addresses = wanted
        ports = assign_ports(records, showing.direct_ports)
        records = [
            await self._with_port(record, ports[record.id]) if record.id in ports else record for record in records
        ]
        config = edge_config(
            f"{publishing_host(spec.host)}:{showing.web_port}",
            plan_sites(records, self._config.share, addresses),
            plan_streams(records, addresses),
        )
        await asyncio.to_thread(write_atomic, self._notes.config, config.encode())
        return config

    async def _with_port(self, record: LoopRecord, port: int | None) -> LoopRecord:
        before = record.share.public_port
        if before == port:
            return record
        async with loop_lock(self._workspace, record.id, timeout_s=_LOCK_TIMEOUT_S):
            current = self._store.read(record.id)
            share = msgspec.structs.replace(current.share, public_port=port)
            changed = msgspec.structs.replace(current, share=share)
            self._store.write(changed)
        if port is None:
            problem = "No port of the range share.port_range is left, so the loop's port is not shared."
            self._tell(LoopEvent(action="warning", loop_id=record.id, message=problem))
        elif before is not None:
            problem = f"Port {before} of this machine is taken by somebody else. The loop is shared at {port} now."
            self._tell(LoopEvent(action="warning", loop_id=record.id, message=problem))
        return changed

    async def _start(self, arguments: Sequence[str], name: str) -> None:
        """Make and start a container; one that failed leaves nothing behind."""
        try:
            await self._engine.run(*arguments, timeout_s=_START_TIMEOUT_S, doing="show what is shared")
        except EngineError:
            await remove_shown(self._engine, [name])
            raise

    async def _remove(self, containers: Sequence[Shown]) -> None:
        await remove_shown(self._engine, [container.name for container in containers])
        for container in containers:
            self._notes.pidfile(container.share).unlink(missing_ok=True)

    async def _answers(self, config: str, *, timeout_s: float) -> bool:
        """Whether the edge works by a configuration, now or within a time, and by no other."""
        with contextlib.suppress(TimeoutError):
            async with deadline(timeout_s or _GLANCE_S):
                while not await self._works_by(config):
                    if not timeout_s:
                        return False
                    await asyncio.sleep(_POLL_S)
                return True
        return False

    async def _works_by(self, config: str) -> bool:
        if not (await _ask(self.socket)).endswith(config_version(config).encode()):
            return False
        # For a moment the process with the old configuration takes connections too.
        pid = self._notes.pid(EDGE)
        return pid is not None and accepting(pid) == 1


async def _ask(socket: Path) -> bytes:
    """What the edge answers about its configuration; nothing where it does not run."""
    try:
        with address_of(socket) as address:
            reader, writer = await asyncio.open_unix_connection(address)
    except OSError:
        return b""
    try:
        writer.write(f"GET {VERSION_PATH} HTTP/1.0\r\n\r\n".encode())
        return await reader.read(4096) + await reader.read(4096)
    except OSError:
        return b""
    finally:
        writer.close()


def _ignore(_: object) -> None:
    """For those who do not follow progress."""
