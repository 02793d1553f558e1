from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from loopat_jupyter.models import ContainerFacts, InUse, Progress, Status
from loopat_jupyter.sandbox.judging import judged

if TYPE_CHECKING:
    from loopat_jupyter.models import State

RUNS = ContainerFacts(
    id="c", name="n", loop_id="l", config_hash="h", image_id="i", reference="r", running=True, pid=7, alive=True
)


def judge(facts: ContainerFacts | None, **changes: Any) -> Status:
    known: dict[str, Any] = {"progress": None, "failed": "", "outdated": False, "used": InUse()}
    return judged("May", facts, **{**known, **changes})


@pytest.mark.parametrize(("changes", "state"), [({}, "running"), ({"running": False, "alive": False}, "stopped")])
def test_a_sandbox_is_what_podman_and_its_processes_say(changes: dict[str, bool], state: State):
    assert judge(msgspec.structs.replace(RUNS, **changes)).state == state


def test_without_a_container_a_failed_build_is_told():
    assert judge(None) == Status(state="absent")
    assert judge(None, failed="why") == Status(state="absent", build_failed=True, warnings=("why",))


def test_what_is_under_way_counts_before_all_else():
    progress = Progress(label="starting the sandbox")
    assert judge(RUNS, progress=progress, failed="why") == Status(state="preparing", progress=progress)


def test_only_what_runs_needs_a_restart():
    assert judge(RUNS, outdated=True).restart_needed
    assert not judge(msgspec.structs.replace(RUNS, running=False, alive=False), outdated=True).restart_needed


def test_a_sandbox_whose_processes_are_gone_and_one_that_is_paused_are_errors():
    gone = judge(msgspec.structs.replace(RUNS, alive=False))
    assert (gone.state, "start it to repair it" in gone.warnings[0]) == ("error", True)
    halted = judge(msgspec.structs.replace(RUNS, paused=True))
    assert (halted.state, "podman unpause n" in halted.warnings[0]) == ("error", True)
