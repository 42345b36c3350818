"""How data sets travel from the proxy to the service: below a rate limit, and compressed."""

import os
import signal
from pathlib import Path

from harness import scu
from harness.instances import data_set_in, made_instances
from harness.nats_server import nats_server
from harness.services import ServiceProcess, eventually
from tests.integration.whole.conftest import started

MIB = 2**20
FORWARDED = "dimse_outbox_forwarded_total"
WAITED = "dimse_transport_rate_limit_wait_seconds_total"


def metric(proxy: ServiceProcess, name: str) -> float:
    """Return the sum over a metric's series; -1 while nothing answers."""
    _, text = proxy.get("/metrics")
    values = [float(line.split()[-1]) for line in text.splitlines() if line.startswith(name)]
    return sum(values) if values else -1


def test_a_rate_limit_delays_no_answer_of_the_spool_and_ends_with_a_reload(tmp_path: Path) -> None:
    made = made_instances(tmp_path / "in", 6, MIB // 2) + made_instances(tmp_path / "l", 1, 2 * MIB)
    size = sum(each.size for each in made)
    file = tmp_path / "proxy.yaml"
    file.write_text("acknowledge: spooled\nnatsRateLimit: 64Ki\n")
    with nats_server(tmp_path / "nats") as nats:
        system = started(tmp_path / "space", nats)
        try:
            proxy = system.proxy
            proxy.kill()
            proxy.arguments = ["proxy", "--config", str(file)]
            proxy.start().ready()
            answers = scu.store(system.peer, [each.path for each in made])
            assert {answer.status for answer in answers} == {0}
            assert metric(proxy, FORWARDED) < len(made)  # that takes 80 s
            eventually(lambda: metric(proxy, WAITED), lambda seconds: seconds > 0)
            file.write_text("acknowledge: spooled\n")
            assert proxy.process is not None
            os.kill(proxy.process.pid, signal.SIGHUP)
            eventually(lambda: metric(proxy, FORWARDED), lambda count: count == len(made))
            assert metric(proxy, "dimse_transport_sent_bytes_total") >= size
            assert set(system.objects()) == {each.sha256 for each in made}
        finally:
            system.space.close()


def test_compressed_data_sets_are_stored_as_they_came(tmp_path: Path) -> None:
    sizes = (100, 2000, MIB // 2, 5 * MIB)
    made = [each for size in sizes for each in made_instances(tmp_path / str(size), 2, size)]
    with nats_server(tmp_path / "nats") as nats:
        system = started(tmp_path / "space", nats, DIMSE_NATS_COMPRESSION="zstd")
        try:
            answers = scu.store(system.peer, [each.path for each in made])
            assert {answer.status for answer in answers} == {0}
            objects = system.objects()
            assert set(objects) == {each.sha256 for each in made}
            for each in made:
                stored = data_set_in(objects[each.sha256].read_bytes())
                assert stored == data_set_in(each.path.read_bytes())
            saved = metric(system.proxy, "dimse_transport_saved_bytes_total")
            sent = metric(system.proxy, "dimse_transport_sent_bytes_total")
            assert saved > sum(each.size for each in made) / 2
            assert sent + saved >= sum(each.size for each in made)
        finally:
            system.space.close()
