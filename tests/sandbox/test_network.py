from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loopat_jupyter.errors import EngineError
from loopat_jupyter.sandbox.network import ensure_network, remove_network, was_ensured
from loopat_jupyter.sandbox.plan import network_name
from loopat_jupyter.sandbox.podman import Completed, Podman
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopat_jupyter.workspace.paths import Workspace


class Networks(FakeEngine):
    """A podman whose storage has no network, though the user's name server may know of some."""

    def __init__(self, runtime: Path) -> None:
        super().__init__(lambda arguments: Completed(int(arguments[1] == "exists"), b"", ""))
        self._runtime = runtime
        self.names = runtime / "containers/networks/aardvark-dns"
        self.names.mkdir(parents=True)

    def environment(self) -> dict[str, str]:
        return {"XDG_RUNTIME_DIR": str(self._runtime)}

    def hold(self, network: str, *container_ids: str) -> Path:
        """The names of a network."""
        lines = ["10.89.1.1", *(f"{each} 10.89.1.2  some-name,{each[:12]}" for each in container_ids)]
        file = self.names / network
        file.write_text("".join(f"{line}\n" for line in lines))
        return file


@pytest.fixture
def networks(tmp_path: Path) -> Networks:
    """None of them is known to podman."""
    return Networks(tmp_path / "runtime")


async def test_what_a_lost_network_of_the_workspace_left_goes_and_nothing_else(
    networks: Networks, workspace: Workspace
):
    mine = networks.hold(network_name(workspace.name), "a" * 64, "b" * 64)
    # Such names may be in use: podman knows the networks of one storage only.
    others = [networks.hold(name, "c" * 64) for name in (network_name("other"), f"{mine.name}2", "podman")]
    assert not was_ensured(workspace)
    await ensure_network(networks, workspace)
    assert was_ensured(workspace)
    assert not mine.exists()
    assert all(file.exists() for file in others)
    assert [call[:2] for call in networks.calls] == [("network", "exists"), ("network", "create")]


async def test_one_call_is_enough_where_the_name_server_knows_of_none(networks: Networks, workspace: Workspace):
    await ensure_network(networks, workspace)
    assert [call[:2] for call in networks.calls] == [("network", "create")]


async def test_what_podman_does_not_make_for_another_reason_is_told(networks: Networks, workspace: Workspace):
    def fail(_: tuple[str, ...]) -> Completed:
        raise EngineError("no", stderr="Error: unable to lock")

    networks._answers = fail
    with pytest.raises(EngineError):
        await ensure_network(networks, workspace)


@pytest.mark.parametrize(("answer", "gone"), [(0, True), (1, True), (2, False)])
async def test_one_that_was_removed_is_made_before_the_next_start(
    networks: Networks, workspace: Workspace, answer: int, gone: bool
):
    await ensure_network(networks, workspace)
    # Podman's answers: it is removed, it was not there, it is in use.
    networks._answers = lambda _: Completed(answer, b"", "")
    await remove_network(networks, workspace)
    assert was_ensured(workspace) != gone


@pytest.mark.podman
async def test_a_network_that_is_there_stays(workspace: Workspace):
    podman = Podman("podman", os.environ)
    await ensure_network(podman, workspace)
    await ensure_network(podman, workspace)
    assert not (await podman.run("network", "exists", network_name(workspace.name))).returncode


async def test_names_stay_while_one_of_their_containers_runs(networks: Networks, workspace: Workspace):
    alive = secrets.token_hex(32)
    mine = networks.hold(network_name(workspace.name), "a" * 64, alive)
    with subprocess.Popen(
        ["sh", "-c", "read line", "conmon", "-c", alive, "-u", alive], stdin=subprocess.PIPE
    ) as monitor:
        await ensure_network(networks, workspace)
        assert mine.exists()
        monitor.communicate(b"\n")
    await ensure_network(networks, workspace)
    assert not mine.exists()


@pytest.mark.parametrize("other_than_file", [Path.mkdir, lambda path: path.symlink_to("elsewhere")])
async def test_nothing_but_a_plain_file_is_taken_for_names(
    networks: Networks, workspace: Workspace, other_than_file: Callable[[Path], None]
):
    networks.hold("elsewhere", "a" * 64)
    mine = networks.names / network_name(workspace.name)
    other_than_file(mine)
    await ensure_network(networks, workspace)
    assert mine.exists()
