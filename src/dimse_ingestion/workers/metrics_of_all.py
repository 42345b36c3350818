"""The metrics of all workers of a service as one: the sums of what the processes count.

prometheus_client writes the values of each worker to files in one folder (its multiprocess mode),
where they stay when a worker is killed, so that no counter ever goes back. The supervisor reads
them, and adds what it counts itself and what the processes use.
"""

import resource
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from dimse_ingestion.observability import metrics

_OF_SUPERVISOR = metrics.worker_restarts
_START_TIME, _CPU = "process_start_time_seconds", "process_cpu_seconds"
_LIMIT = "process_max_fds"


class MetricsOfAll:
    """Read the workers' metrics from a folder; `pids` returns the ids of their processes."""

    def __init__(self, folder: Path, pids: Callable[[], Sequence[int]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Workers(folder))
        self._registry.register(_Processes(pids))
        PlatformCollector(registry=self._registry)

    def generate(self) -> bytes:
        """Return the metrics as text."""
        return generate_latest(self._registry)


class _Workers(Collector):
    """What the workers count, and the restarts, which the supervisor counts."""

    def __init__(self, folder: Path) -> None:
        self._files = MultiProcessCollector(None, path=str(folder))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        own = list(_OF_SUPERVISOR.collect())
        names = {each.name for each in own}
        of_workers: Iterable[Metric] = self._files.collect()  # type: ignore[no-untyped-call]
        yield from (each for each in of_workers if each.name not in names)
        yield from own


class _Processes(Collector):
    """CPU time, memory and file descriptors of supervisor and workers together."""

    def __init__(self, pids: Callable[[], Sequence[int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        own = {each.name: each for each in _process_metrics("self")}
        for pid in filter(None, self._pids()):
            for each in _process_metrics(str(pid)):
                if each.name in own and each.name not in (_START_TIME, _LIMIT):
                    _add(own[each.name], each.samples[0].value)
        if _CPU in own:
            used = resource.getrusage(resource.RUSAGE_CHILDREN)  # of workers that have ended
            _add(own[_CPU], used.ru_utime + used.ru_stime)
        return own.values()


def _process_metrics(pid: str) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()


def _add(metric: Metric, number: float) -> None:
    first = metric.samples[0]
    metric.samples[0] = first._replace(value=first.value + number)
