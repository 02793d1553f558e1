"""`KernelKeeper`: kernels of loops that outlive the server: what the next server needs to find them again.

Each of them has a record in its loop's host-only runtime folder, which its server owns while it lives. Kernels that no
server started, as those of nbclient, have none: they belong to their program.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import msgspec
from jupyter_client.kernelspec import NoSuchKernel
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_server._tz import utcnow
from jupyter_server.prometheus.metrics import KERNEL_CURRENTLY_RUNNING_TOTAL
from tornado.ioloop import IOLoop
from traitlets import TraitError

from loopat_jupyter.errors import LoopatError
from loopat_jupyter.kernels.orders import encode_connection
from loopat_jupyter.models import Value
from loopat_jupyter.workspace.kept import Kept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopat_jupyter.kernels.launch import SandboxKernel
    from loopat_jupyter.workspace.paths import Workspace

_FILE_NAME = re.compile(r"[\w-]{1,100}\Z")
"""Ids of kernels may come from clients; those that are kept name a file."""


class SessionRow(Value, frozen=True):
    """A row of Jupyter Server's table of sessions."""

    session_id: str
    path: str | None
    name: str | None
    type: str | None


class KernelRecord(Value, frozen=True, kw_only=True):
    """What the next server needs of one kernel.

    Attributes:
        kernel_name: Its kernelspec.
        root_dir: Root folder of the server that the sessions' paths refer to.
        cwd: The folder of the host that it was started for.
        env: Variables that it was started with and that were not the server's own.
        interrupt_mode: How it wants to be interrupted.
        info: As `SandboxKernel.info` answers.
        connection: As in a connection file of the host.
        sessions: Notebooks and consoles that use it.
    """

    kernel_name: str
    root_dir: str
    cwd: str | None
    env: dict[str, str]
    interrupt_mode: str
    info: dict[str, Any]
    connection: dict[str, Any]
    sessions: tuple[SessionRow, ...] = ()


class KernelKeeper:
    """The kernels of one server that may outlive it.

    Args:
        kernels: The server's manager of kernels.
    """

    def __init__(self, kernels: Any) -> None:  # noqa: ANN401 - Jupyter's own is not typed
        self._kernels = kernels
        self._kept = Kept("k")
        self._records: dict[str, KernelRecord] = {}
        self._places: dict[str, SandboxKernel] = {}

    def __contains__(self, kernel_id: str) -> bool:
        return kernel_id in self._kept

    def loops(self) -> dict[str, str]:
        """Kernels and the loops that they run in."""
        return {kernel_id: kernel.place.loop_id for kernel_id, kernel in self._places.items()}

    def started(self, km: Any, kernel: SandboxKernel) -> None:  # noqa: ANN401
        """Write down a kernel that this server has started, or restarted.

        Args:
            km: Its kernel manager.
            kernel: The kernel.
        """
        # Where the host cannot see its process, nobody could tell whether the kernel still runs.
        if not _FILE_NAME.match(km.kernel_id) or kernel.process is None or not kernel.process.pid:
            return
        arguments = km._launch_args or {}  # noqa: SLF001 - what a restart uses; there is no public way to it
        before = self._records.get(km.kernel_id)
        record = KernelRecord(
            kernel_name=km.kernel_name,
            root_dir=self._kernels.root_dir,
            cwd=arguments.get("cwd"),
            env=_own(arguments.get("env") or {}),
            interrupt_mode=km.kernel_spec.interrupt_mode,
            info=kernel.info(),
            connection=msgspec.json.decode(encode_connection(km.get_connection_info())),
            sessions=before.sessions if before is not None else (),
        )
        self._places[km.kernel_id] = kernel
        self._write(km.kernel_id, record)

    def _write(self, kernel_id: str, record: KernelRecord) -> None:
        place = self._places[kernel_id]
        self._records[kernel_id] = record
        try:
            data = msgspec.json.encode(record)
            if self._kept.keep(place.manager.workspace, place.place.loop_id, kernel_id, data):
                place.outlives()
                return
            problem = "another server has one of this id"
        except (LoopatError, OSError) as error:
            problem = str(error)
        self._kernels.log.warning("Kernel %s will not outlive this server: %s", kernel_id, problem)

    def note_sessions(self, sessions: Mapping[str, Sequence[SessionRow]]) -> None:
        """Write down which notebooks use the kernels.

        Args:
            sessions: All sessions of the server, by kernel id.
        """
        for kernel_id, record in list(self._records.items()):
            rows = tuple(sessions.get(kernel_id, ()))
            if rows != record.sessions and kernel_id in self._kept:
                km = self._kernels.get_kernel(kernel_id)
                env = _own((km._launch_args or {}).get("env") or {})  # noqa: SLF001 - the name of the notebook is in it
                self._write(kernel_id, msgspec.structs.replace(record, sessions=rows, env=env))

    def ended(self, kernel_id: str) -> None:
        """Forget a kernel that has ended."""
        self._records.pop(kernel_id, None)
        self._places.pop(kernel_id, None)
        self._kept.forget(kernel_id)

    def may_stay(self, kernel_id: str) -> bool:
        """Whether a kernel outlives this server, should the server end now."""
        kernel = self._places.get(kernel_id)
        return kernel_id in self._kept and kernel is not None and kernel.manager.config.on_shutdown == "keep"

    def let_go(self, kernel_id: str) -> None:
        """Leave a kernel to the next server."""
        self._records.pop(kernel_id, None)
        self._places.pop(kernel_id, None)
        self._kept.let_go(kernel_id)

    def adopt(self, workspace: Workspace) -> dict[str, tuple[SessionRow, ...]]:
        """Take over the kernels that a server of this workspace left behind, whatever ended it.

        Args:
            workspace: The workspace.

        Returns:
            The sessions that use them, by kernel id: those whose paths mean the same in this server.
        """
        sessions = {}
        for found in self._kept.claim(workspace):
            try:
                record = msgspec.json.decode(found.data, type=KernelRecord)
                kernel = self._take_over(found.name, record)
            except (msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError, TraitError) as error:
                self._kept.set_aside(found.name, error)
                continue
            except (NoSuchKernel, LoopatError, OSError) as error:
                self._kernels.log.warning("Kernel %s of loop %s stays alone: %s", found.name, found.loop_id, error)
                self._kept.let_go(found.name)
                continue
            if kernel is None:
                self._kernels.log.warning("Kernel %s ended while no server ran", found.name)
                self._kept.forget(found.name)
                continue
            kernel.outlives()
            self._records[found.name], self._places[found.name] = record, kernel
            self._kernels.log.info("Kernel %s of loop %s is found again", found.name, found.loop_id)
            same_root = record.root_dir == self._kernels.root_dir
            sessions[found.name] = tuple(
                row for row in record.sessions if same_root or self._kernels.meant_path(row.path or "") is not None
            )
        return sessions

    def _take_over(self, kernel_id: str, record: KernelRecord) -> SandboxKernel | None:
        """Make the managers of a kernel that runs; None when it has ended."""
        kernels = self._kernels
        km, _, _ = kernels.pre_start_kernel(record.kernel_name, {"kernel_id": kernel_id})
        km.kernel_id = kernel_id
        km.load_connection_info(record.connection)
        km._launch_args = {"cwd": record.cwd, "env": {**os.environ, **record.env}}  # noqa: SLF001
        km._attempted_start = True  # noqa: SLF001 - so a restart begins with a fresh `ready`
        km.kernel_spec.interrupt_mode = record.interrupt_mode
        factory = KernelProvisionerFactory.instance(parent=kernels)
        km.provisioner = factory.create_provisioner_instance(kernel_id, km.kernel_spec, parent=km)
        kernel: SandboxKernel | None = km.provisioner.take_over(record.info, km.get_connection_info())
        if kernel is None:
            return None
        try:
            km.write_connection_file()
        except OSError:
            kernel.outlives()
            kernel.close()
            raise
        km.ready.set_result(None)
        kernels._kernels[kernel_id] = km  # noqa: SLF001
        kernels._kernel_connections[kernel_id] = 0  # noqa: SLF001
        kernels._kernel_ports[kernel_id] = km.ports  # noqa: SLF001
        km.start_restarter()
        kernels.start_watching_activity(kernel_id)
        kernels.add_restart_callback(kernel_id, lambda: kernels._handle_kernel_died(kernel_id), "dead")  # noqa: SLF001
        kernels.initialize_culler()
        IOLoop.current().add_callback(km.provisioner.watch)
        KERNEL_CURRENTLY_RUNNING_TOTAL.labels(type=km.kernel_name).inc()
        _find_state(km)
        return kernel


def _own(env: Mapping[str, str]) -> dict[str, str]:
    """Variables that are not the server's own: those the next server has by itself, or must not have."""
    return {name: value for name, value in env.items() if os.environ.get(name) != value}


def _find_state(km: Any) -> None:  # noqa: ANN401
    """Find out whether a kernel is at work: it answers requests one after the other, so an answer means it is not."""
    km.execution_state, km.reason, km.last_activity = "busy", "", utcnow()
    channel = km.connect_shell()

    def close() -> None:
        km._pending_restart_cleanup = None  # noqa: SLF001 - called by Jupyter when the kernel is let go
        if not channel.closed():
            channel.close()

    def answered(_: object) -> None:
        close()
        km.execution_state = "idle"

    km._pending_restart_cleanup = close  # noqa: SLF001
    channel.on_recv(answered)
    km.session.send(channel, "kernel_info_request")
