"""Which terminals belong to a loop, and how they start."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
from jupyter_server_terminals.terminalmanager import TerminalManager
from terminado.management import DEFAULT_TERM_TYPE
from tornado import web
from tornado.ioloop import IOLoop

from loopat_jupyter.agents import agent_environment, find_agent
from loopat_jupyter.attach import client_argv, order_file, shell_spec, waiting_argv, with_notice
from loopat_jupyter.contents.drive import Drive, in_drive
from loopat_jupyter.errors import BadInputError, ConflictError, LoopatError
from loopat_jupyter.folders import folder_inside
from loopat_jupyter.loops import LoopManager, environment
from loopat_jupyter.sandbox.plan import inside_path
from loopat_jupyter.sandbox.process import Stem
from loopat_jupyter.terminals.terminal import LoopTerminal
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


class Place(NamedTuple):
    """Where in which loop a terminal opens. Never made from what a client sent.

    Attributes:
        record: The loop.
        cwd: Folder as seen inside.
    """

    record: LoopRecord
    cwd: str


class _Asked(msgspec.Struct, kw_only=True):
    """What a client may say of a terminal in a loop; the rest is for the host and has no meaning inside."""

    shell_command: list[str] = []
    extra_env: dict[str, str | None] = {}
    height: _Cells = DEFAULT_SIZE[0]
    width: _Cells = DEFAULT_SIZE[1]


class LoopTerminalManager(TerminalManager):
    """The stock terminal manager, whose terminals open inside a loop when their folder belongs to one."""

    @property
    def loops(self) -> LoopManager:
        """The loops of this server; of the environment where the server runs without our extension.

        Raises:
            LoopatError: The configuration is wrong.
        """
        service = self.parent.web_app.settings.get(_SERVICE) if self.parent is not None else None
        return self._own_loops if service is None else service.manager

    @functools.cached_property
    def _workspace(self) -> Workspace | None:
        """The workspace of the environment; None where it names none, and so all terminals are on the host."""
        try:
            return Workspace.from_environment(environment())
        except BadInputError as error:
            self.log.warning("%s Until then terminals open outside all loops.", error.message)
            return None

    @functools.cached_property
    def _own_loops(self) -> LoopManager:
        return LoopManager.from_environment(environment())

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
            agent: Name of an agent whose command line runs in place of a shell.
            on_progress: Told about long work.
            options: As the stock manager takes them: `name`, `shell_command`, `extra_env`, `height`, `width`.

        Returns:
            The stock model.

        Raises:
            BadInputError: There is no such folder.
            NotFoundError: There is no such agent.
            LoopatError: The sandbox cannot be made to run.
        """
        place = Place(record, folder_inside(self.loops.workspace, record.id, cwd))
        if agent is not None:
            found = find_agent(self.loops.config, agent)
            options |= {"shell_command": list(found.command), "extra_env": agent_environment(found, record)}
        await self.loops.start(record, on_progress)
        model: dict[str, Any] = self.create(place=place, **options)
        return model

    def new_terminal(self, **kwargs: Any) -> PtyWithClients:  # noqa: ANN401 - the stock signature
        """A terminal: inside a loop if its folder belongs to one, else the stock one.

        Raises:
            tornado.web.HTTPError: It belongs to a loop and cannot be opened there.
        """
        try:
            place = kwargs.pop("place", None)
            if not isinstance(place, Place):
                place = self._place(kwargs.get("cwd"))
            if place is not None:
                return self._in_loop(place, kwargs)
        except LoopatError as error:
            raise web.HTTPError(error.status, error.message, reason=error.reason) from error
        return super().new_terminal(**kwargs)

    def on_host(self, cwd: str) -> str:
        """A folder, on the host where it is one of the drive of loops.

        Args:
            cwd: As the client wrote it. JupyterLab leaves the name of the drive out, so a folder of the server's root
                comes first.
        """
        workspace = self._workspace
        inside = in_drive(cwd)
        if workspace is None or "\0" in cwd or (inside is None and os.path.lexists(self._root / cwd)):
            return cwd
        found = Drive(workspace).host_path(cwd if inside is None else inside)
        return cwd if found is None else str(found)

    @property
    def _root(self) -> Path:
        return Path(getattr(self.parent, "root_dir", None) or ".").expanduser()

    def refuse_way_out(self, cwd: str) -> None:
        """Refuse a folder that enters a loop as it is written and does not end in it.

        What runs in a loop can plant a symlink that leads out: a shell of the host, or of another loop, would open
        where a person means to open one of this loop.

        Args:
            cwd: As the client wrote it, before any symlink is followed: absolute, relative to the process, or
                relative to the server's root.

        Raises:
            tornado.web.HTTPError: 409, with the loop that it leads out of; 404 where there is no such folder.
        """
        workspace = self._workspace
        if workspace is None or "\0" in cwd:
            return
        for folder in (Path(cwd), self._root / cwd):
            entered = workspace.loop_entered(folder)
            if entered is not None and not os.path.isdir(folder):  # noqa: PTH112 - answers for any name
                # The stock handler would open a shell of the host, in the server's own folder.
                raise web.HTTPError(404, f"There is no folder {cwd[:200]} in loop {entered}.", reason="not_found")
            if workspace.loop_left(folder) is not None:
                problem = (
                    f"{cwd[:200]} is in loop {entered}, but a symbolic link in the loop's folder leads out of it. "
                )
                raise web.HTTPError(409, problem + "Remove the link, or name the folder itself.", reason="conflict")

    def on_eof(self, ptywclients: PtyWithClients) -> None:
        """The pty has closed: the program ended, or its client did.

        Args:
            ptywclients: The terminal.
        """
        if not isinstance(ptywclients, LoopTerminal):
            super().on_eof(ptywclients)
            return
        # The rest waits for the end inside, so that the client process is gone when the stock code closes the pty.
        IOLoop.current().remove_handler(ptywclients.ptyproc.fd)
        ptywclients.end().add_done_callback(lambda _: self._forget(ptywclients))

    def _forget(self, terminal: LoopTerminal) -> None:
        super().on_eof(terminal)
        terminal.closed()

    async def terminate_all(self) -> None:
        """End all terminals; those in loops side by side."""
        await self.end_in_loops()
        await super().terminate_all()

    async def end_in_loops(self) -> None:
        """End all terminals in loops, side by side."""
        inside = [name for name, terminal in self.terminals.items() if isinstance(terminal, LoopTerminal)]
        await asyncio.gather(*(self.terminate(name, force=True) for name in inside))

    def _place(self, cwd: object) -> Place | None:
        """The loop that a folder of the host belongs to; the server's own folder when none is named."""
        folder = cwd if isinstance(cwd, str) else getattr(self.parent, "root_dir", None)
        if not folder:
            return None
        workspace = self._workspace
        if workspace is None:
            return None
        path = Path(folder).expanduser()
        found, beside = workspace.loop_of(path), workspace.loop_beside(path)
        if beside is not None:
            raise ConflictError(
                f"{path} belongs to loop {beside} but not to its files. Open {workspace.workdir(beside)} instead."
            )
        if found is None:
            return None
        loop_id, relative = found
        return Place(self.loops.store.read(loop_id), inside_path(loop_id, relative))

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
        stem = Stem.new(loops.workspace.run(record.id), "t")
        order = order_file(loops.workspace.host(record.id), stem)
        with contextlib.ExitStack() as undo:
            # Variables may be secrets: without a terminal to remove them at its end they go at once.
            undo.callback(stem.remove)
            undo.callback(order.unlink, missing_ok=True)
            terminal = LoopTerminal(
                self._client(record, stem, spec),
                {**loops.engine.environment(), "TERM": spec.env["TERM"]},
                stem=stem,
                order=order,
                state=loops.sandboxes.state_files(record.id),
                size=(asked.height, asked.width),
            )
            undo.pop_all()
        return terminal

    def _client(self, record: LoopRecord, stem: Stem, spec: ExecSpec) -> tuple[str, ...]:
        """The client process: podman at once where the sandbox runs as it should, else what makes it run first."""
        loops = self.loops
        running = loops.sandboxes.known(record)
        if running is None or not _runnable(loops) or loops.vaults.may_wait(record):
            return waiting_argv(loops.workspace.host(record.id), stem, record.id, spec)
        argv = client_argv(loops.engine, running.name, stem, spec)
        equipped = loops.vaults.equip(record, spec)
        stem.prepare(with_notice(loops, record, equipped), loops.engine.proxies())
        loops.store.touch(record.id)
        return argv


def _runnable(loops: LoopManager) -> bool:
    command = loops.engine.argv()[0]
    return shutil.which(command, path=loops.engine.environment().get("PATH")) is not None


def _asked(values: dict[str, Any]) -> _Asked:
    try:
        return msgspec.convert(values, _Asked)
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at `$.")
        raise BadInputError(where.rstrip("`") or "terminal", problem) from error
