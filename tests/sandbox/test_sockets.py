from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.sandbox.sockets import address_of, connect

if TYPE_CHECKING:
    from pathlib import Path


def test_a_socket_is_connected_to_and_a_link_to_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Longer than the address of a socket may be.
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    own, link, file = folder / "own", folder / "link", folder / "file"
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(folder)
        listener.bind("own")
        listener.listen()
        link.symlink_to(own)
        file.touch()
        found = connect(own)
        assert found is not None
        found.close()
        for wrong in (link, file, folder, folder / "missing"):
            assert connect(wrong) is None
            with pytest.raises(OSError), address_of(wrong):
                pass
