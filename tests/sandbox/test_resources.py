from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec
import pytest

from loopat_jupyter.models import LoopConfig, LoopRecord
from loopat_jupyter.sandbox.resources import (
    enforced,
    find_limits,
    resource_arguments,
    resource_warnings,
    wanted_resources,
)
from loopat_jupyter.values import Resources
from loopat_jupyter.workspace.config import Config

if TYPE_CHECKING:
    from pathlib import Path

ALL = frozenset(("cpu", "memory", "pids", "io"))
WHOLE = Resources(
    cpus=1.5, memory_bytes=2**30, pids=500, shm_size_bytes=2**27, devices=("nvidia.com/gpu=0", "vendor.org/tpu=all")
)


def test_a_loop_wins_key_by_key():
    record = LoopRecord(
        id="0",
        title="t",
        slug="t",
        created_at=dt.datetime.now(dt.UTC),
        created_by="ada",
        config=LoopConfig(resources=Resources(cpus=2, devices=())),
    )
    wanted = wanted_resources(record, Config(resources=WHOLE))
    assert wanted == msgspec.structs.replace(WHOLE, cpus=2, devices=())
    assert wanted_resources(msgspec.structs.replace(record, config=LoopConfig()), Config(resources=WHOLE)) == WHOLE


def test_the_whole_of_the_arguments():
    assert resource_arguments(WHOLE) == (
        "--cpus=1.5",
        "--memory=1073741824b",
        "--pids-limit=500",
        "--shm-size=134217728b",
        "--device=nvidia.com/gpu=0",
        "--device=vendor.org/tpu=all",
    )
    assert resource_arguments(Resources()) == ()


def test_what_the_host_cannot_enforce_is_not_asked_of_podman():
    assert enforced(WHOLE, ALL) == WHOLE
    assert enforced(WHOLE, frozenset(("memory",))) == msgspec.structs.replace(WHOLE, cpus=None, pids=None)
    assert enforced(WHOLE, frozenset()).shm_size_bytes == 2**27


def test_what_does_not_hold_is_told(tmp_path: Path):
    (tmp_path / "gpu.yaml").write_text("")
    assert resource_warnings(WHOLE, ALL, (tmp_path,)) == ()
    (warning,) = resource_warnings(WHOLE, frozenset(("memory",)), (tmp_path,))
    assert warning.startswith("Limits on processors and processes are not enforced")
    (warning,) = resource_warnings(Resources(pids=500), frozenset(("memory",)), (tmp_path,))
    assert warning.startswith("The limit on processes is not enforced")
    (warning,) = resource_warnings(WHOLE, ALL, (tmp_path / "none",))
    assert "nvidia.com/gpu=0, vendor.org/tpu=all" in warning
    assert resource_warnings(Resources(), frozenset(), ()) == ()


def test_limits_come_from_the_controllers_of_the_user(tmp_path: Path):
    own = tmp_path / "own"
    own.write_text("0::/user.slice/session\n")
    assert find_limits(7, tmp_path, own) == frozenset()
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    assert find_limits(7, tmp_path, own) == frozenset()
    session = tmp_path / "user.slice" / "session"
    session.mkdir(parents=True)
    (session / "cgroup.controllers").write_text("pids\n")
    assert find_limits(7, tmp_path, own) == {"pids"}
    service = tmp_path / "user.slice" / "user-7.slice" / "user@7.service"
    service.mkdir(parents=True)
    (service / "cgroup.controllers").write_text("memory pids\n")
    assert find_limits(7, tmp_path, own) == {"memory", "pids"}
    assert find_limits(7, tmp_path, tmp_path / "none") == {"memory", "pids"}


@pytest.mark.parametrize(
    "values",
    [
        {"cpus": 0},
        {"memory_bytes": 1},
        {"pids": 0},
        {"shm_size_bytes": -1},
        {"devices": ["/dev/sda"]},
        {"devices": ["-v"]},
        {"devices": ["a/b=c:d\n"]},
        {"devices": ["a/b=c,ro"]},
    ],
)
def test_senseless_resources_are_refused(values: dict[str, object]):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(values, Resources)
