"""How many kernels run, as `/metrics` tells: those of loops by their name inside, which says nothing of whose they are.

Jupyter Server counts by kernelspec, and those of loops carry the loop's title and id: a series for each loop, for ever.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import TYPE_CHECKING

from jupyter_server.prometheus.metrics import KERNEL_CURRENTLY_RUNNING_TOTAL
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from loopat_jupyter.kernelspecs import inner_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Gauge, Metric

_LABEL = "type"


class KernelCounts(Collector):
    """What a gauge of kernels by kernelspec says, without names of loops.

    Args:
        gauge: What counts; its one label is the kernelspec.
    """

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge

    def collect(self) -> Iterator[Metric]:
        """The gauge as it is now, with one sample for all kernels of one name inside."""
        for counted in self._gauge.collect():
            sums: Counter[str] = Counter()
            for sample in counted.samples:
                sums[inner_name(sample.labels[_LABEL])] += int(sample.value)
            shown = GaugeMetricFamily(counted.name, counted.documentation, labels=[_LABEL])
            for name, count in sums.items():
                shown.add_metric([name], count)
            yield shown


@functools.cache
def count_by_inner_name() -> None:
    """Have this process's metrics tell of kernels without names of loops, from now on."""
    REGISTRY.unregister(KERNEL_CURRENTLY_RUNNING_TOTAL)
    REGISTRY.register(KernelCounts(KERNEL_CURRENTLY_RUNNING_TOTAL))
