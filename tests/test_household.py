"""What a workspace consists of follows the files of its settings."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import msgspec
import pyrage
import pytest

from loopat_jupyter import upkeep
from loopat_jupyter.errors import EngineError
from loopat_jupyter.loops import LoopManager
from loopat_jupyter.models import ExecSpec, LoopConfig, LoopEvent
from loopat_jupyter.sandbox.activity import IdleWatch
from loopat_jupyter.sandbox.execution import Exit
from loopat_jupyter.sandbox.process import is_init
from loopat_jupyter.workspace.loading import ConfigLoader
from loopat_jupyter.workspace.vault_keys import Seal
from tests.sandbox.saying import occupy

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.workspace.paths import Workspace

NO_NETWORK = 'network = "none"\n'
BRIDGE = 'network = "bridge"\n'


@pytest.fixture
def events() -> list[LoopEvent]:
    return []


@pytest.fixture
def long_lived(workspace: Workspace, tmp_path: Path, events: list[LoopEvent]) -> LoopManager:
    """What a server has; nothing here runs podman."""
    environ = {**os.environ, "LOOPAT_HOME": str(workspace.home)}
    load = ConfigLoader(tmp_path / "site.toml").load
    return LoopManager.from_environment(environ, member="ada", on_event=events.append, load=load)


def test_changed_settings_count_from_then_on(long_lived: LoopManager, tmp_path: Path):
    record = long_lived.create(title="a")
    assert long_lived.sandboxes.plan(record).network != "none"
    long_lived.workspace.config_file.write_text(f'{NO_NETWORK}shell = "fish"\n[image]\nuse = "x/y:1"\n')
    assert long_lived.known(record) is None
    assert long_lived.sandboxes.plan(record).network == "none"
    assert (long_lived.config.shell, long_lived.images.reference(record)) == ("fish", "x/y:1")
    (tmp_path / "site.toml").write_text(f'fixed = ["network"]\n{BRIDGE}')
    long_lived.refresh()
    wanting = msgspec.structs.replace(record, config=LoopConfig(network="none"))
    assert long_lived.sandboxes.plan(wanting).network != "none"


def test_nothing_is_made_anew_while_the_settings_say_the_same(long_lived: LoopManager):
    before = long_lived.sandboxes
    long_lived.workspace.config_file.write_text(f"# as by default\n{BRIDGE}")
    long_lived.refresh()
    assert long_lived.sandboxes is before
    long_lived.workspace.config_file.write_text(NO_NETWORK)
    long_lived.refresh()
    assert long_lived.sandboxes is not before


async def test_who_watches_for_idle_sandboxes_goes_by_the_settings_of_now(
    long_lived: LoopManager, monkeypatch: pytest.MonkeyPatch
):
    timeouts: list[float] = []

    async def look(watch: IdleWatch) -> list[str]:
        timeouts.append(watch._idle_timeout_s)
        if len(timeouts) == 2:
            raise EngineError("enough")
        long_lived.workspace.config_file.write_text("idle_timeout_s = 60\n")
        long_lived.refresh()
        return []

    monkeypatch.setattr(IdleWatch, "look", look)
    monkeypatch.setattr(upkeep, "pause_s", lambda _: 0)
    with pytest.raises(EngineError, match="enough"):
        await long_lived.upkeep.watch_idle()
    assert timeouts == [1800, 60]


@pytest.mark.parametrize("wrong", ['network = "nome"\n', "[trust]\nca_bundle = '/no/such/file'\n"])
def test_wrong_settings_change_nothing_and_are_told_once(
    long_lived: LoopManager, wrong: str, caplog: pytest.LogCaptureFixture
):
    file = long_lived.workspace.config_file
    file.write_text(NO_NETWORK)
    long_lived.refresh()
    record = long_lived.create(title="a")
    for text in (wrong, NO_NETWORK, wrong):
        file.write_text(text)
        for _ in range(3):
            long_lived.refresh()
        assert long_lived.sandboxes.plan(record).network == "none"
    told = [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]
    assert len(told) == 2
    assert "those of before still count: " in told[0]
    file.write_text(BRIDGE)
    long_lived.refresh()
    assert long_lived.sandboxes.plan(record).network != "none"


def test_loops_that_run_are_looked_at_again(long_lived: LoopManager, events: list[LoopEvent]):
    running, _ = long_lived.create(title="a"), long_lived.create(title="b")
    note = long_lived.workspace.host(running.id) / "sandbox.json"
    note.parent.mkdir(parents=True)
    note.touch()
    events.clear()
    long_lived.workspace.config_file.write_text(NO_NETWORK)
    long_lived.refresh()
    assert events == [LoopEvent(action="updated", loop_id=running.id)]


def test_what_a_prompt_opened_stays_open(long_lived: LoopManager):
    before, identity = long_lived.vaults.store.keys, pyrage.x25519.Identity.generate()
    before.hold(identity)
    long_lived.workspace.config_file.write_text("[vault]\nidentity = '/other/identity.txt'\n")
    long_lived.refresh()
    keys = long_lived.vaults.store.keys
    assert keys is not before
    assert str(keys.identity_file) == "/other/identity.txt"
    seal = Seal(recipient=str(identity.to_public()), key="passphrase")
    assert keys.find(seal) is identity


@pytest.mark.podman
async def test_all_processes_agree_about_a_sandbox_after_the_settings_have_changed(
    workspace: Workspace, sandbox_image: str
):
    environ = {**os.environ, "LOOPAT_HOME": str(workspace.home), "LOOPAT_SANDBOX_IMAGE": sandbox_image}
    workspace.config_file.write_text("[context]\nuse = false\n")
    server = LoopManager.from_environment(environ)
    record = server.create(title="a")
    before = await server.use(record)
    workspace.config_file.write_text(f"{NO_NETWORK}[context]\nuse = false\n")
    at_the_command_line = LoopManager.from_environment(environ)
    now = await at_the_command_line.use(record)
    assert now.replaced
    assert not is_init(before.init_pid)
    found = [event async for event in server.exec(record, ExecSpec(argv=("sh", "-c", "test ! -e /sys/class/net/eth0")))]
    assert found == [Exit(0)]
    assert (await server.use(record)).init_pid == (await server.start(record)).init_pid == now.init_pid
    # Where somebody works, it goes on as it is.
    await occupy(server, record)
    workspace.config_file.write_text("[context]\nuse = false\n")
    kept = await server.use(record)
    assert (kept.init_pid, kept.restart_needed) == (now.init_pid, True)
