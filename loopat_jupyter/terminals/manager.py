"""Which terminals belong to a loop, and how they start."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from jupyter_server._tz import utcnow
from jupyter_server.prometheus.metrics import TERMINAL_CURRENTLY_RUNNING_TOTAL
from terminado.management import DEFAULT_TERM_TYPE
from tornado import web
from tornado.ioloop import IOLoop

from loopat_jupyter.agents import agent_environment, find_agent, staying
from loopat_jupyter.attach import shell_spec
from loopat_jupyter.errors import BadInputError
from loopat_jupyter.folders import folder_inside
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.sandbox.process import Stem
from loopat_jupyter.terminals.keeping import TerminalKeeper
from loopat_jupyter.terminals.opening import open_terminal
from loopat_jupyter.terminals.places import Place, Places, told
from loopat_jupyter.terminals.terminal import LoopTerminal
from loopat_jupyter.terminals.throttled import ThrottledTerminalManager
from loopat_jupyter.wording import in_words, problem_and_place
from loopat_jupyter.workspace.paths import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from terminado.management import PtyWithClients

    from loopat_jupyter.models import ExecSpec, LoopRecord, Progress

DEFAULT_SIZE = (24, 80)
"""Rows and columns until the first client says its own."""


_Cells = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
"""The kernel keeps rows and columns in unsigned shorts (ioctl_tty(2), TIOCSWINSZ)."""

_SERVICE = "loopat_service"
"""Where the server's extension leaves what it shares with others."""


class _Asked(msgspec.Struct, kw_only=True):
    """What a client may say of a terminal in a loop; the rest is for the host and has no meaning inside."""

    shell_command: list[str] = []
    extra_env: dict[str, str | None] = {}
    height: _Cells = DEFAULT_SIZE[0]
    width: _Cells = DEFAULT_SIZE[1]


_FILE_NAME = re.compile(r"\w{1,100}\Z", re.ASCII)
"""Names of terminals in loops: the notes of one that outlives its server are files of this name."""


class LoopTerminalManager(ThrottledTerminalManager):
    """Jupyter's terminals, which open inside a loop when their folder belongs to one, and there outlive the server."""

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - the stock signature
        super().__init__(**kwargs)
        self._keeper = TerminalKeeper(lambda: self.loops, lambda: self.log)

    @property
    def loops(self) -> LoopManager:
        """The loops of this server; of the environment where the server runs without our extension.

        Raises:
            LoopatError: The configuration is wrong.
        """
        service = self.parent.web_app.settings.get(_SERVICE) if self.parent is not None else None
        if service is not None:
            manager: LoopManager = service.manager
            return manager
        self._own_loops.refresh()
        return self._own_loops

    @functools.cached_property
    def _workspace(self) -> Workspace | None:
        """The workspace of the environment; None where it names none, and so all terminals are on the host."""
        try:
            return Workspace.from_environment(os.environ)
        except BadInputError as error:
            self.log.warning("%s Until then terminals open outside all loops.", error.message)
            return None

    @property
    def places(self) -> Places:
        """Which folders and names mean which loop."""
        root = Path(getattr(self.parent, "root_dir", None) or ".").expanduser()
        return Places(self._workspace, root)

    @functools.cached_property
    def _own_loops(self) -> LoopManager:
        return LoopManager.from_environment(os.environ)

    async def create_in_loop(
        self,
        record: LoopRecord,
        *,
        cwd: str | None = None,
        agent: str | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
        **options: Any,  # noqa: ANN401 - the stock manager checks them
    ) -> dict[str, Any]:
        """Open a terminal in a loop, making its sandbox run first.

        Args:
            record: The loop.
            cwd: Folder relative to the loop's workdir, or absolute as seen inside.
            agent: Name of an agent whose command line runs in place of a shell; what it wrote last stays when it ends.
            on_progress: Told about long work.
            options: As the stock manager takes them: `name`, `shell_command`, `extra_env`, `height`, `width`.

        Returns:
            The stock model.

        Raises:
            BadInputError: There is no such folder.
            ConfigurationError: The configuration, which may have changed, is wrong.
            NotFoundError: There is no such agent.
            LoopatError: The sandbox cannot be made to run.
        """
        place = Place(record, folder_inside(self.loops.workspace, record.id, cwd))
        if agent is not None:
            found = find_agent(self.loops.workspace, agent)
            options |= {"shell_command": list(staying(found)), "extra_env": agent_environment(found, record)}
        await self.loops.start(record, on_progress)
        model: dict[str, Any] = self.create(place=place, **options)
        return model

    def create(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - the stock signature
        """Open a terminal; one of a name that there is already is answered as it is.

        Args:
            kwargs: As the stock manager takes them.
        """
        model: dict[str, Any]
        name = kwargs.get("name")
        model = self.get(name) if isinstance(name, str) and name in self.terminals else super().create(**kwargs)
        return model

    def new_named_terminal(self, **kwargs: Any) -> tuple[str, PtyWithClients]:  # noqa: ANN401 - the stock signature
        """A terminal and its name: inside a loop if its folder or its name belongs to one, else the stock one.

        Raises:
            tornado.web.HTTPError: It belongs to a loop and cannot be opened there.
        """
        kwargs["place"] = place = self._asked_place(kwargs)
        if place is not None:
            kwargs["name"] = name = str(kwargs.get("name") or self._free_name(place.record.id))
            if not _FILE_NAME.match(name):
                raise web.HTTPError(400, "The name must be 1 to 100 letters, digits and underscores.")
        named: tuple[str, PtyWithClients] = super().new_named_terminal(**kwargs)
        return named

    def _free_name(self, loop_id: str) -> str:
        names = (f"{loop_id[:8]}_{number}" for number in itertools.count(1))
        return next(name for name in names if name not in self.terminals and not self._keeper.taken(loop_id, name))

    def new_terminal(self, **kwargs: Any) -> PtyWithClients:  # noqa: ANN401 - the stock signature
        """A terminal: inside a loop if its folder belongs to one, else the stock one.

        Raises:
            tornado.web.HTTPError: It belongs to a loop and cannot be opened there.
        """
        place = self._asked_place(kwargs)
        kwargs.pop("place", None)
        with told():
            return super().new_terminal(**kwargs) if place is None else self._in_loop(place, kwargs)

    def _asked_place(self, asked: Mapping[str, Any]) -> Place | None:
        place = asked.get("place")
        if isinstance(place, Place):
            return place
        cwd = asked.get("cwd")
        folder = cwd if isinstance(cwd, str) else getattr(self.parent, "root_dir", None)
        with told():
            return self.places.named(asked.get("name")) or self.places.of_folder(folder)

    def start_reading(self, ptywclients: PtyWithClients) -> None:
        """Begin to read a terminal; one in a loop is opened first.

        Args:
            ptywclients: The terminal.
        """
        if isinstance(ptywclients, LoopTerminal) and ptywclients.begin is not None:
            ptywclients.opens(asyncio.ensure_future(self._open(ptywclients, ptywclients.begin)))
        else:
            super().start_reading(ptywclients)

    async def _open(self, terminal: LoopTerminal, spec: ExecSpec) -> None:
        def opened() -> None:
            terminal.begin = None
            self.start_reading(terminal)
            self._keeper.started(terminal)

        try:
            await open_terminal(self.loops, terminal, spec, opened)
            self._keeper.started(terminal)
        finally:
            if terminal.begin is not None:
                # Called off; whoever closes the terminal waits for this first.
                terminal.end().add_done_callback(lambda _: self._forget(terminal))

    def on_eof(self, ptywclients: PtyWithClients) -> None:
        """The pty has closed: the program ended, or its client did.

        Args:
            ptywclients: The terminal.
        """
        if not isinstance(ptywclients, LoopTerminal):
            super().on_eof(ptywclients)
            return
        # The rest waits for the end inside, so that a client process is gone when its pty is closed.
        IOLoop.current().remove_handler(ptywclients.ptyproc.fd)
        ptywclients.end().add_done_callback(lambda _: self._forget(ptywclients))

    async def terminate(self, name: str, force: bool = False) -> None:  # noqa: FBT001, FBT002 - the stock signature
        """End a terminal and everything in it.

        Args:
            name: The terminal.
            force: As the stock manager takes it.
        """
        terminal = self.terminals.get(name)
        await super().terminate(name, force=force)
        if isinstance(terminal, LoopTerminal):
            self._forget(terminal)

    def _forget(self, terminal: LoopTerminal) -> None:
        """Take a terminal that has ended off the list, and tell who watches it."""
        name = terminal.term_name or ""
        if self.terminals.get(name) is terminal:
            self._keeper.ended(name)
            self._drop(terminal)
            for client in [client for client in terminal.clients if client.terminal is not None]:
                client.on_pty_died()

    def _drop(self, terminal: LoopTerminal) -> None:
        self.terminals.pop(terminal.term_name or "", None)
        self.forget_flow(terminal)
        fd = terminal.ptyproc.fd
        if self.ptys_by_fd.get(fd) is terminal:
            del self.ptys_by_fd[fd]
            IOLoop.current().remove_handler(fd)
        terminal.close()

    def adopt(self, workspace: Workspace) -> None:
        """Take over the terminals that a server of this workspace left behind, whatever ended it.

        Args:
            workspace: The workspace.
        """
        for terminal in self._keeper.adopt(workspace):
            name = terminal.term_name or ""
            terminal.last_activity = utcnow()
            self.terminals[name] = terminal
            self.start_reading(terminal)
            self._initialize_culler()
            TERMINAL_CURRENTLY_RUNNING_TOTAL.inc()
            self.log.info("Terminal %s of loop %s is found again", name, terminal.loop_id)

    async def terminate_all(self) -> None:
        """The server ends: terminals in loops stay where the configuration says so, all others end."""
        await self.end_in_loops()
        await super().terminate_all()

    async def end_in_loops(self) -> None:
        """Leave the terminals in loops to the next server, or end them side by side."""
        inside = [terminal for terminal in self.terminals.values() if isinstance(terminal, LoopTerminal)]
        for terminal in self._keeper.leave(inside):
            self._drop(terminal)
        left = [name for name, terminal in self.terminals.items() if terminal in inside]
        await asyncio.gather(*(self.terminate(name, force=True) for name in left))

    def _in_loop(self, place: Place, kwargs: Mapping[str, Any]) -> LoopTerminal:
        record, loops = place.record, self.loops
        loops.workspace.prepare()
        asked = _asked({**self.term_settings, **kwargs})
        spec = shell_spec(
            loops.config,
            record.id,
            cwd=place.cwd,
            argv=asked.shell_command,
            env={name: value for name, value in asked.extra_env.items() if value is not None},
            term=self.term_settings.get("type", DEFAULT_TERM_TYPE),
        )
        terminal = LoopTerminal(
            record.id,
            Stem.new(loops.workspace.run(record.id), "t"),
            loops.sandboxes.state_files(record.id),
            (asked.height, asked.width),
            self._keeper.tidy,
        )
        terminal.begin = spec
        return terminal


def _asked(values: dict[str, Any]) -> _Asked:
    try:
        return msgspec.convert(values, _Asked)
    except msgspec.ValidationError as error:
        problem, place = problem_and_place(str(error))
        raise BadInputError(place or "terminal", in_words(problem)) from error
