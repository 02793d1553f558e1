"""What `/metrics` tells of kernels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from loopat_jupyter.kernels.counts import KernelCounts, count_by_inner_name
from loopat_jupyter.kernelspecs import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.kernels.conftest import Place

TOTAL = "kernel_currently_running_total"


def test_kernels_of_loops_count_together_with_others_of_their_name_inside():
    gauge = Gauge("kernels", "how many", ["type"], registry=CollectorRegistry())
    gauge.labels(type="python3").inc()
    gauge.labels(type="loop-fix-deadbeef-it-40e854ac-python3").inc()
    gauge.labels(type="loop-two-40e854ad-ir-4.3").inc()
    gauge.labels(type="loop-gone-40e854ae-ir-4.3").inc()
    gauge.labels(type="loop-gone-40e854ae-ir-4.3").dec()
    gauge.labels(type="loop-like").inc()
    (shown,) = KernelCounts(gauge).collect()
    assert (shown.name, shown.documentation, shown.type) == ("kernels", "how many", "gauge")
    assert {sample.labels["type"]: sample.value for sample in shown.samples} == {
        "python3": 2,
        "ir-4.3": 1,
        "loop-like": 1,
    }


def test_the_metrics_of_a_process_are_told_once_however_many_servers_it_has():
    count_by_inner_name()
    count_by_inner_name()
    assert [metric.name for metric in REGISTRY.collect()].count(TOTAL) == 1


@pytest.mark.podman
@pytest.mark.usefixtures("small_kernels")
class TestServer:
    @pytest.fixture
    def jp_environ(self, jp_environ, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in place.environ.items():
            monkeypatch.setenv(name, value)

    @pytest.fixture
    def jp_server_config(self) -> dict[str, object]:
        return {"ServerApp": {"kernel_manager_class": "loopat_jupyter.kernels.mapping.LoopMappingKernelManager"}}

    async def test_no_loop_is_named(self, place: Place, jp_data_dir: Path, jp_fetch):
        async def counted() -> dict[str, float]:
            text = (await jp_fetch("metrics")).body.decode()
            (family,) = (each for each in text_string_to_metric_families(text) if each.name == TOTAL)
            assert "a-loop" not in text
            return {sample.labels["type"]: sample.value for sample in family.samples}

        specs = await place.manager.kernelspecs(place.record)
        Registry(jp_data_dir / "kernels").sync(place.record, specs, place.manager.workspace.home)
        before = (await counted()).get("python3", 0)
        body = json.dumps({"name": place.kernel_name})
        kernel_id = json.loads((await jp_fetch("api", "kernels", method="POST", body=body)).body)["id"]
        assert (await counted())["python3"] == before + 1
        await jp_fetch("api", "kernels", kernel_id, method="DELETE")
        assert (await counted())["python3"] == before
