"""The sums of what processes write, with real processes: the mode is chosen at their start."""

import os
import re
import subprocess
import sys
from pathlib import Path

from prometheus_client import multiprocess

from dimse_ingestion.workers.metrics_of_all import MetricsOfAll
from dimse_ingestion.workers.process import METRICS_VARIABLE

COUNT = """
from dimse_ingestion.observability import metrics
metrics.proxy_operations.labels("store", "0000", "A").inc(5)
metrics.proxy_associations.labels("A").set(2)
metrics.proxy_operation_seconds.labels("store", "A").observe(0.02)
import os, sys
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def value(text: str, series: str) -> float:
    match = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert match, series
    return float(match[1])


def test_counters_of_ended_processes_stay_and_their_gauges_do_not(tmp_path: Path) -> None:
    environment = os.environ | {METRICS_VARIABLE: str(tmp_path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COUNT],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline()
    pids = [process.pid for process in processes]
    metrics = MetricsOfAll(tmp_path, lambda: pids)
    series = 'dimse_proxy_operations_total{service="store",space="A",status="0000"}'
    text = metrics.generate().decode()
    assert value(text, series) == 10
    assert value(text, 'dimse_proxy_associations{space="A"}') == 4
    assert value(text, 'dimse_proxy_operation_seconds_count{service="store",space="A"}') == 2
    assert text.count("# TYPE dimse_worker_restarts_total") == 1
    assert value(text, "process_resident_memory_bytes") > 2 * 2**20
    processes[0].kill()
    processes[0].wait()
    multiprocess.mark_process_dead(pids.pop(0), str(tmp_path))  # type: ignore[no-untyped-call]
    text = metrics.generate().decode()
    assert (value(text, series), value(text, 'dimse_proxy_associations{space="A"}')) == (10, 2)
    processes[1].communicate(b"")
    for process in processes:
        if process.stdout is not None:
            process.stdout.close()
