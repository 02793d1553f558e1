"""`LoopSessionManager`: Jupyter Server's sessions, of which those with kernels of loops outlive the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_server.services.sessions.sessionmanager import SessionManager

from loopat_jupyter.kernels.keeping import KernelKeeper, SessionRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class LoopSessionManager(SessionManager):
    """The stock manager, which also writes down the sessions of kernels that are kept."""

    async def save_session(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the stock signature
        """As stock, and it is written down."""
        model = await super().save_session(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._note()
        return model

    async def update_session(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """As stock, and it is written down."""
        await super().update_session(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._note()

    async def delete_session(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """As stock, and it is written down."""
        await super().delete_session(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._note()

    def restore(self, sessions: Mapping[str, Sequence[SessionRow]]) -> None:
        """Add the sessions of kernels that were taken over, under the ids that front ends know.

        They take the place of those that a table in a file still has of the last server.

        Args:
            sessions: By kernel id.
        """
        for kernel_id, rows in sessions.items():
            self.cursor.execute("DELETE FROM session WHERE kernel_id=?", (kernel_id,))
            for row in rows:
                self.cursor.execute("DELETE FROM session WHERE session_id=?", (row.session_id,))
                values = (row.session_id, row.path, row.name, row.type, kernel_id)
                self.cursor.execute("INSERT INTO session VALUES (?,?,?,?,?)", values)

    def _note(self) -> None:
        keeper = getattr(self.kernel_manager, "keeper", None)
        if not isinstance(keeper, KernelKeeper):
            return
        sessions: dict[str, list[SessionRow]] = {}
        for row in self.cursor.execute("SELECT * FROM session").fetchall():
            found = SessionRow(row["session_id"], row["path"], row["name"], row["type"])
            sessions.setdefault(row["kernel_id"], []).append(found)
        keeper.note_sessions(sessions)
