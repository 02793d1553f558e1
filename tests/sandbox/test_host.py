from __future__ import annotations

import datetime as dt
import resource
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.errors import EngineError
from loopat_jupyter.models import LoopConfig, NewLoop
from loopat_jupyter.sandbox.host import Advice, look_at_host
from loopat_jupyter.sandbox.plan import HostFacts
from loopat_jupyter.values import Resources
from loopat_jupyter.workspace.config import Config
from loopat_jupyter.workspace.records import new_record
from tests.sandbox.saying import said

if TYPE_CHECKING:
    from pathlib import Path

    from loopat_jupyter.loops import LoopManager
    from loopat_jupyter.models import LoopRecord

pytestmark = pytest.mark.lonely


LIMITED = Resources(cpus=1, memory_bytes=2**29, pids=300, shm_size_bytes=2**21)


def test_the_host_is_looked_at_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert look_at_host(Config()).plugins is None
    (tmp_path / ".claude" / "plugins").mkdir(parents=True)
    (tmp_path / ".claude" / "plugins" / "installed_plugins.json").write_text("{}")
    assert look_at_host(Config()).plugins == tmp_path / ".claude" / "plugins"


@pytest.mark.parametrize(("most", "allowed"), [(8192, 8192), (2**20, 65_536), (resource.RLIM_INFINITY, 65_536)])
def test_a_sandbox_may_open_as_many_files_as_whoever_makes_it_up_to_a_number(
    most: int, allowed: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, most))
    assert look_at_host(Config()).open_files == allowed


def test_a_limit_of_the_workspace_that_does_not_hold_is_told_of_each_loop():
    class Built:
        def problem(self, record: LoopRecord) -> str:
            return ""

    config, host = Config(isolation="strict", resources=Resources(pids=300)), HostFacts(None)
    record = new_record(title="Limited", created_by="ada", now=dt.datetime.now(dt.UTC))
    (warning,) = Advice(config, host, Built())(record)  # type: ignore[arg-type]
    assert warning.startswith("The limit on processes is not enforced on this machine.")


@pytest.mark.podman
async def test_a_device_that_is_not_there_is_told_and_limits_hold_in_a_new_sandbox_or_the_loop_says_that_they_do_not(
    manager: LoopManager,
):
    device = "example.org/thing=none"
    record = await manager.make(NewLoop(title="Limited", config=LoopConfig(resources=Resources(devices=(device,)))))
    with pytest.raises(EngineError, match=device):
        await manager.start(record)
    assert any(device in warning for warning in (await manager.get(record.id)).warnings)
    before = await manager.start(await manager.update(record.id, {"config": LoopConfig()}))
    (manager.workspace.workdir(record.id) / "kept").write_text("kept")
    changed = await manager.update(record.id, {"config": LoopConfig(resources=LIMITED, env={"GREETING": "hello you"})})
    running = await manager.start(changed)
    assert running.replaced
    assert running.init_pid != before.init_pid
    look = 'cat kept; echo "$GREETING"; stat --file-system --format="%b %S" /dev/shm'
    # The size of /dev/shm is a mount's own, and holds on every host.
    expected = f"kepthello you\n{2**21 // 4096} 4096\n"
    assert await said(manager, changed, "sh", "-c", look) == expected
    answer = await manager.engine.run("inspect", "--format={{json .HostConfig}}", running.name)
    host, limits = msgspec.json.decode(answer.stdout), look_at_host(manager.config).limits
    assert host["ShmSize"] == 2**21
    enforced = {
        "cpu": host["CpuQuota"] or host["NanoCpus"],
        "memory": host["Memory"] == 2**29,
        "pids": host["PidsLimit"] == 300,
    }
    assert {name for name, holds in enforced.items() if holds} == limits & enforced.keys()
    warnings = [text for text in (await manager.get(record.id)).warnings if "not enforced" in text]
    assert len(warnings) == (0 if limits >= enforced.keys() else 1)
