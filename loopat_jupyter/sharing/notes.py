"""`Notes`: runtime files of the edge, and whether it was told of everything that is so now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loopat_jupyter.sandbox.process import is_init
from loopat_jupyter.sandbox.state import StateFiles
from loopat_jupyter.sharing.plan import EDGE, edge_folder
from loopat_jupyter.sharing.ports import address_of
from loopat_jupyter.workspace.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from loopat_jupyter.models import LoopRecord
    from loopat_jupyter.workspace.paths import Workspace


class Notes:
    """Runtime files of one workspace's edge.

    Args:
        workspace: The workspace.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._folder = edge_folder(workspace)
        self._told = self._folder / "told.json"

    @property
    def config(self) -> Path:
        """The configuration of nginx, in a folder that the edge cannot write."""
        return self._folder / "conf" / "nginx.conf"

    @property
    def socket(self) -> Path:
        """Where the edge answers this host alone."""
        return self._folder / "run" / "http.sock"

    @property
    def giving(self) -> Path:
        """Where the edge, when it starts, is handed the socket for what goes by host name."""
        return self._folder / "run" / "give.sock"

    def pidfile(self, share: str) -> Path:
        """Where podman writes the first process of one of the edge's containers.

        Args:
            share: What it shows.
        """
        return self._folder / "pids" / share

    def make_folders(self) -> None:
        """Make the folders; the runtime directory may have been wiped."""
        for path in (self.config, self.socket, self.pidfile(EDGE)):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def pid(self, share: str) -> int | None:
        """First process of one of the edge's containers; None where it does not run.

        Args:
            share: What it shows.
        """
        try:
            pid = int(self.pidfile(share).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        return pid if is_init(pid) else None

    def addresses(self, records: Sequence[LoopRecord]) -> dict[str, str]:
        """Addresses of the containers behind the edge that run, by loop id. Asks the kernel, not podman.

        Args:
            records: Shared loops.
        """
        pids = {
            record.id: self.pid(record.id) if record.share.mode == "static" else self._sandbox(record.id)
            for record in records
        }
        found = {loop_id: address_of(pid) for loop_id, pid in pids.items() if pid is not None}
        return {loop_id: address for loop_id, address in found.items() if address is not None}

    def write(self, records: Sequence[LoopRecord], addresses: Mapping[str, str]) -> None:
        """Note what the edge was told.

        Args:
            records: What it shows.
            addresses: Where that is.

        Raises:
            StorageFullError: No space.
        """
        write_atomic(self._told, _encode(records, addresses))

    def forget(self) -> None:
        """There is no edge any more."""
        self._told.unlink(missing_ok=True)

    def up_to_date(self, records: Sequence[LoopRecord]) -> bool:
        """Whether the edge runs and was told of everything; where nothing is shared, that there is none.

        Args:
            records: What it should show.
        """
        try:
            told = self._told.read_bytes()
        except OSError:
            return not records
        return self.pid(EDGE) is not None and told == _encode(records, self.addresses(records))

    def _sandbox(self, loop_id: str) -> int | None:
        stamp = StateFiles(self._workspace.host(loop_id)).running()
        return stamp.pid if stamp else None


def _encode(records: Sequence[LoopRecord], addresses: Mapping[str, str]) -> bytes:
    shares = {record.id: record.share for record in sorted(records, key=lambda record: record.id)}
    return msgspec.json.encode((shares, dict(sorted(addresses.items()))))
