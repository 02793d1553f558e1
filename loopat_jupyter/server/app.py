"""`LoopatApp`: the Jupyter Server extension. It wires; the rest of the package decides."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.utils import ensure_async
from traitlets import Unicode
from traitlets.config import Config

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

    from loopat_jupyter.contents.drive_manager import LoopDriveManager
    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopEvent
    from loopat_jupyter.server.events import EventStream
    from loopat_jupyter.server.follower import Follower
    from loopat_jupyter.server.service import LoopService

_OF_LOCAL_KERNELS = {
    "kernel_manager_class": "loopat_jupyter.kernels.mapping.LoopMappingKernelManager",
    "session_manager_class": "loopat_jupyter.kernels.sessions.LoopSessionManager",
}
"""What we set of the server, that is of no use where its kernels run at a gateway."""

_TERMINALS_EXTENSION = "jupyter_server_terminals"
_TERMINALS_SECTION = "TerminalsExtensionApp"


class LoopatApp(ExtensionApp):
    """Loops in a Jupyter server: REST, events, and the background work around sandboxes.

    What shapes a sandbox is no trait: it stands in the workspace's `config.toml`, which the command line reads too.
    """

    name = "loopat"
    load_other_extensions = True

    member = Unicode(
        "",
        help="Who works here: whose vaults, personal files and tier are meant, and who creates new loops; by default "
        "the Hub's user, else as the workspace's file `member` says, else the user of the host.",
    ).tag(config=True)

    service: LoopService
    events: EventStream
    follower: Follower
    _made_drive: LoopDriveManager | None = None

    def load_config_file(self, suppress_errors: bool = True) -> None:  # type: ignore[override]  # noqa: FBT001, FBT002
        """As stock, and a server whose kernels run at a gateway keeps the classes that it has for that.

        It chooses them by default, over which settings win; with some of them ours no kernel would start at all.

        Args:
            suppress_errors: As the stock application takes it.
        """
        super().load_config_file(suppress_errors=suppress_errors)
        if self.serverapp is not None and _has_gateway(self.serverapp):
            settings = self.config.ServerApp
            for name, ours in _OF_LOCAL_KERNELS.items():
                # What a person set there stands.
                if settings.get(name) == ours:
                    del settings[name]

    def _link_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Hand our settings over to the server, and to the terminals extension, which was linked before this one.

        What the user configured is merged over ours by the base class, so it wins.
        """
        super()._link_jupyter_server_extension(serverapp)
        section = self.config.get(_TERMINALS_SECTION)
        point = serverapp.extension_manager.extension_points.get(_TERMINALS_EXTENSION)
        if section and point is not None and point.app is not None:
            point.app.update_config(Config({_TERMINALS_SECTION: section}))
        if point is not None and point.app is not None and serverapp.terminals_enabled:
            from loopat_jupyter.terminals.handlers import HANDLERS  # noqa: PLC0415

            # The first of two handlers for one address answers, and the stock ones are added after this.
            point.app.handlers[:0] = HANDLERS

    def initialize_settings(self) -> None:
        """Make the service, which runs nothing yet."""
        from loopat_jupyter.server.events import EventStream  # noqa: PLC0415 - only a server that has us pays
        from loopat_jupyter.server.follower import Follower  # noqa: PLC0415
        from loopat_jupyter.server.service import LoopService  # noqa: PLC0415
        from loopat_jupyter.workspace.loading import ConfigLoader  # noqa: PLC0415

        server = self.serverapp
        self.events = EventStream(server.event_logger, self._told)  # type: ignore[union-attr, arg-type]
        self.follower = Follower(self.events.publish)
        self._config_loader = ConfigLoader()
        self.service = LoopService(self._make_manager, self.follower, self.log)
        self.settings["loopat_service"] = self.service
        self.settings["loopat_drive"] = self._drive
        # Extensions come in the order of their names, so it is there by now if it ever is.
        servers = getattr(server, "language_server_manager", None)
        if servers is not None:
            from loopat_jupyter.server.language_servers import keep_out_of_loops  # noqa: PLC0415

            keep_out_of_loops(servers)

    def _drive(self) -> LoopDriveManager:
        """The contents manager of the drive, made when a front end first asks for a file.

        Raises:
            ConfigurationError: The server's kernels would not follow; says what to do.
        """
        if self._made_drive is None:
            from loopat_jupyter.errors import ConfigurationError  # noqa: PLC0415
            from loopat_jupyter.kernels.mapping import LoopMappingKernelManager  # noqa: PLC0415

            if not isinstance(getattr(self.serverapp, "kernel_manager", None), LoopMappingKernelManager):
                why = (
                    "the kernels of this server run at a gateway. Work with loops in a server without one."
                    if self.serverapp is not None and _has_gateway(self.serverapp)
                    else "this server is configured with another ServerApp.kernel_manager_class than loopat_jupyter's. "
                    "Unset it."
                )
                raise ConfigurationError(
                    f"The files of loops are not shown, because their notebooks would run outside: {why}"
                )
            from loopat_jupyter.contents.drive import Drive  # noqa: PLC0415
            from loopat_jupyter.contents.drive_manager import LoopDriveManager  # noqa: PLC0415

            workspace = self.service.manager.workspace
            workspace.prepare()
            self._made_drive = LoopDriveManager(
                parent=self.serverapp, workspace=workspace, drive=Drive(workspace), root_dir=str(workspace.loops)
            )
        return self._made_drive

    def _make_manager(self) -> LoopManager:
        from loopat_jupyter.loops import LoopManager  # noqa: PLC0415
        from loopat_jupyter.workspace.member import other_member  # noqa: PLC0415

        manager = LoopManager.from_environment(
            os.environ, member=self.member or None, on_event=self._tell, load=self._config_loader.load, log=self.log
        )
        if told := other_member(manager.workspace, manager.member):
            self.service.tell_once(told)
        return manager

    def _tell(self, event: LoopEvent) -> None:
        self.follower.note(event)
        self.events.publish(event)

    def _told(self, event: LoopEvent) -> None:
        """Let terminals that wait to be opened in a loop find that it is gone; open ones ended with its sandbox."""
        if event.action == "deleted":
            waiting: Any = getattr(self.settings.get("terminal_manager"), "terminals", {})
            for terminal in waiting.values():
                if getattr(terminal, "loop_id", None) == event.loop_id:
                    terminal.try_again()

    def initialize_handlers(self) -> None:
        """Add the routes."""
        from loopat_jupyter.contents.handlers import handlers as drive_handlers  # noqa: PLC0415
        from loopat_jupyter.kernels.handlers import HANDLERS as KERNEL_HANDLERS  # noqa: PLC0415
        from loopat_jupyter.server.handlers.ports import handlers as port_handlers  # noqa: PLC0415
        from loopat_jupyter.server.routes import handlers  # noqa: PLC0415

        # The last of ours answers for whatever is not there, so the drive comes first.
        self.handlers.extend([*KERNEL_HANDLERS, *port_handlers(), *drive_handlers(), *handlers()])
        self._adopt()

    def _adopt(self) -> None:
        """Find again what outlived the last server, before the first request asks for it."""
        from loopat_jupyter.errors import LoopatError  # noqa: PLC0415
        from loopat_jupyter.workspace.paths import Workspace  # noqa: PLC0415

        kernels = getattr(getattr(self.serverapp, "kernel_manager", None), "keeper", None)
        sessions: Any = getattr(self.serverapp, "session_manager", None)
        terminals: Any = self.settings.get("terminal_manager")
        try:
            workspace = Workspace.from_environment(os.environ)
            if kernels is not None:
                found = kernels.adopt(workspace)
                if hasattr(sessions, "restore"):
                    sessions.restore(found)
            if hasattr(terminals, "adopt"):
                terminals.adopt(workspace)
        except (LoopatError, OSError) as error:
            self.log.warning("Kernels and terminals of the last server are left to the next one: %s", error)

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Begin the background work once the event loop runs."""
        from loopat_jupyter.server.activity import LOOK_S, ActivityNotes  # noqa: PLC0415

        self.events.open()
        self.service.start()
        kernels, terminals = serverapp.kernel_manager, self.settings.get("terminal_manager")
        notes = ActivityNotes(lambda: self.service.manager.store, kernels, terminals, dt.datetime.now(dt.UTC))
        self.service.repeat(notes.look, LOOK_S)

    async def stop_extension(self) -> None:
        """Leave or end the terminals and kernels in loops, then end the background work, and podman with it."""
        terminals: Any = self.settings.get("terminal_manager")
        kernels: Any = getattr(self.serverapp, "kernel_manager", None)
        try:
            if hasattr(terminals, "end_in_loops"):
                # The stock extension forgets to (jupyter_server_terminals 0.5.4), and their shells would go on inside.
                await terminals.end_in_loops()
            if kernels is not None:
                # The server does so after its extensions: too late for podman, and not at all if one only starts.
                await ensure_async(kernels.shutdown_all())
        finally:
            if hasattr(self, "service"):
                await self.service.stop()

    def current_activity(self) -> dict[str, Any] | None:
        """Sandboxes do not keep a server alive: they outlive it."""
        return None


def _has_gateway(serverapp: ServerApp) -> bool:
    """Whether the kernels of a server run at a gateway; also before the server itself has asked."""
    from jupyter_server.gateway.gateway_client import GatewayClient  # noqa: PLC0415 - the server has imported it

    # Not the one that the server will have: other extensions may still change its settings.
    client: Any = GatewayClient(parent=serverapp)  # type: ignore[no-untyped-call]
    return bool(client.gateway_enabled)
