"""`TerminalKeeper`: terminals of loops that outlive the server: what the next server needs to find them again."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from loopat_jupyter.errors import LoopatError
from loopat_jupyter.sandbox.owners import release
from loopat_jupyter.sandbox.plan import container_name
from loopat_jupyter.sandbox.process import Stem
from loopat_jupyter.sandbox.sockets import connect
from loopat_jupyter.terminals.terminal import LoopTerminal
from loopat_jupyter.wording import going_on
from loopat_jupyter.workspace.kept import Found, Kept, folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from logging import Logger, LoggerAdapter

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.workspace.paths import Workspace

UNKNOWN_SIZE = (0, 0)


class _Record(msgspec.Struct, kw_only=True):
    stem: str
    exec_session: str


class TerminalKeeper:
    """The terminals of one server that may outlive it.

    Args:
        loops: Answers the server's loops.
        log: Answers where the server logs; it says so only after the manager of its terminals was made.
    """

    def __init__(self, loops: Callable[[], LoopManager], log: Callable[[], Logger | LoggerAdapter[Any]]) -> None:
        self._loops = loops
        self._log = log
        self._kept = Kept("t")

    def started(self, terminal: LoopTerminal) -> None:
        """Write down a terminal that can outlive this server; until then it belongs to this one."""
        if terminal.held and terminal.term_name is not None:
            data = msgspec.json.encode(_Record(stem=terminal.stem.name, exec_session=terminal.exec_session))
            try:
                if self._kept.keep(self._loops().workspace, terminal.loop_id, terminal.term_name, data):
                    release(terminal.stem)
                    return
                problem = "another server has one of this name"
            except (LoopatError, OSError) as error:
                problem = str(error)
            self._log().warning("Terminal %s will not outlive this server: %s", terminal.term_name, problem)

    def taken(self, loop_id: str, name: str) -> bool:
        """Whether some server of the workspace has a terminal of this name in the loop."""
        return (folder(self._loops().workspace, loop_id) / f"t-{name}.json").exists()

    async def tidy(self, terminal: LoopTerminal) -> None:
        """Let go of a program that has ended, and have podman forget it, if podman had started it.

        Args:
            terminal: Where it was shown.
        """
        # One that was never written down is still this server's.
        release(terminal.stem)
        if not terminal.exec_session:
            return
        loops = self._loops()
        name = container_name(loops.workspace.name, terminal.loop_id)
        arguments = ("container", "cleanup", "--exec", terminal.exec_session, "--rm", name)
        # The record goes with the container at the latest.
        with contextlib.suppress(LoopatError):
            await loops.engine.run(*arguments, ok=range(256), doing="tidy up after a terminal")

    def ended(self, name: str) -> None:
        """Forget a terminal that has ended."""
        self._kept.forget(name)

    def leave(self, terminals: Iterable[LoopTerminal]) -> list[LoopTerminal]:
        """Leave terminals to the next server.

        Args:
            terminals: All those in loops.

        Returns:
            Those that are left; the others have to end.
        """
        held = [terminal for terminal in terminals if terminal.held and (terminal.term_name or "") in self._kept]
        if not held or self._loops().config.on_shutdown != "keep":
            return []
        for terminal in held:
            self._kept.let_go(terminal.term_name or "")
        self._log().info("%s", going_on(len(held), "terminal"))
        return held

    def adopt(self, workspace: Workspace) -> Iterator[LoopTerminal]:
        """Take over the terminals that a server of this workspace left behind, whatever ended it.

        Args:
            workspace: The workspace.
        """
        for found in self._kept.claim(workspace):
            try:
                terminal = self._find(workspace, found)
            except msgspec.DecodeError as error:
                self._kept.set_aside(found.name, error)
                continue
            except LoopatError as error:
                self._log().warning("Terminal %s of loop %s stays alone: %s", found.name, found.loop_id, error.message)
                self._kept.let_go(found.name)
                continue
            if terminal is None:
                self._kept.forget(found.name)
            else:
                yield terminal

    def _find(self, workspace: Workspace, found: Found) -> LoopTerminal | None:
        record = msgspec.json.decode(found.data, type=_Record)
        stem = Stem(workspace.run(found.loop_id), record.stem)
        state = self._loops().sandboxes.state_files(found.loop_id)
        connection = connect(stem.socket())
        if connection is None:
            self._log().info("Terminal %s ended while no server ran", found.name)
            stem.remove()
            return None
        terminal = LoopTerminal(found.loop_id, stem, state, UNKNOWN_SIZE, self.tidy)
        terminal.term_name, terminal.exec_session = found.name, record.exec_session
        terminal.found(connection)
        return terminal
