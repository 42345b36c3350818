"""Proxy and ingestion service as two worker processes each, killed, counted and drained."""

import asyncio
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from harness import scu
from harness.instances import made_instances
from harness.nats_server import nats_server
from harness.scu import VERIFICATION, Answer, associate
from harness.services import ServiceProcess, eventually
from tests.integration.whole.conftest import System, started
from tests.integration.whole.test_faults import all_well, assert_stored

KIB = 2**10
WORKERS = 2
MOST_ASSOCIATIONS = 9
SPACE = 'space="DICOM-INGEST"'
STORED = f'dimse_proxy_operations_total{{service="store",{SPACE},status="0000"}}'
OPEN = f"dimse_proxy_associations{{{SPACE}}}"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("workers")
    with nats_server(folder / "nats") as nats:
        system = started(
            folder / "space",
            nats,
            DIMSE_WORKERS=str(WORKERS),
            DIMSE_MAXIMUM_ASSOCIATIONS=str(MOST_ASSOCIATIONS),
        )
        yield system
        supervisors = (system.proxy, system.ingestion[0])
        left = [each for service in supervisors for each in workers(service)]
        system.space.close()
        psutil.wait_procs(left, timeout=60)


def workers(service: ServiceProcess) -> list[psutil.Process]:
    return psutil.Process(service.pid).children() if psutil.pid_exists(service.pid) else []


def counted(service: ServiceProcess, series: str) -> float:
    """Return a value of /metrics, 0 if the series is missing."""
    status, text = service.get("/metrics")
    assert status == 200
    match = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(match[1]) if match else 0.0


async def stored_more(system: System, before: int) -> None:
    """Wait until an object is in the bucket beside those that were there before."""
    await asyncio.to_thread(eventually, lambda: len(system.objects()), lambda count: count > before)


async def sent(system: System, groups: list[list[Path]]) -> list[Answer]:
    """Send groups of files, each on its own association, at once."""
    sending = (scu.store_in_thread(system.peer, paths) for paths in groups)
    return [answer for answers in await asyncio.gather(*sending) for answer in answers]


async def test_a_killed_worker_of_the_proxy_loses_no_image_and_is_started_again(
    system: System, tmp_path: Path
) -> None:
    made = [made_instances(tmp_path / f"in{n}", 12, 700 * KIB) for n in range(4)]
    groups = [[each.path for each in group] for group in made]
    everything = [each for group in made for each in group]
    victim, other = workers(system.proxy)
    objects = len(system.objects())
    answered_before = counted(system.proxy, STORED)
    sending = asyncio.create_task(sent(system, groups))
    await stored_more(system, objects)
    victim.kill()
    answers = await sending
    assert_stored(system, everything, answers)
    await asyncio.to_thread(
        eventually, lambda: len(workers(system.proxy)), lambda count: count == WORKERS
    )
    await asyncio.to_thread(system.proxy.ready)
    assert other.is_running()
    assert any("A worker process ended" in line for line in system.proxy.lines())
    assert counted(system.proxy, "dimse_worker_restarts_total") == 1
    again = await sent(system, groups)
    assert all_well(again), again
    assert len(assert_stored(system, everything, again)) == len(everything)
    answered = sum(answer.status == 0 for answer in (*answers, *again))
    in_all = counted(system.proxy, STORED) - answered_before
    assert in_all >= answered  # the killed worker's are not lost
    assert counted(system.proxy, OPEN) == 0


async def test_a_killed_worker_of_the_ingestion_service_fails_no_image(
    system: System, tmp_path: Path
) -> None:
    made = [made_instances(tmp_path / f"in{n}", 12, 700 * KIB) for n in range(4)]
    everything = [each for group in made for each in group]
    objects = len(system.objects())
    sending = asyncio.create_task(sent(system, [[each.path for each in group] for group in made]))
    await stored_more(system, objects)
    workers(system.ingestion[0])[0].kill()
    answers = await sending
    assert all_well(answers), answers
    assert len(assert_stored(system, everything, answers)) == len(everything)
    await asyncio.to_thread(system.ingestion[0].ready)


def test_connections_are_shared_evenly_and_the_limit_of_associations_holds_over_all_workers(
    system: System,
) -> None:
    context = [(VERIFICATION, None)]
    with ExitStack() as stack:
        for _ in range(MOST_ASSOCIATIONS):
            stack.enter_context(associate(system.peer, context))
        served = [len(each.net_connections("tcp")) for each in workers(system.proxy)]
        assert max(served) - min(served) == 1  # of nine, five and four
        with pytest.raises(ConnectionError), associate(system.peer, context):
            pass
        assert counted(system.proxy, OPEN) == MOST_ASSOCIATIONS
    eventually(lambda: counted(system.proxy, OPEN), lambda open_: not open_)
    with associate(system.peer, context) as assoc:
        assert assoc.send_c_echo().Status == 0


async def test_a_worker_that_hangs_fails_liveness_and_readiness(system: System) -> None:
    victim = workers(system.proxy)[0]
    victim.send_signal(signal.SIGSTOP)
    try:
        status, text = await asyncio.to_thread(system.proxy.get, "/livez")
        assert (status, "does not answer" in text) == (503, True)
        status, text = await asyncio.to_thread(system.proxy.readiness)
        assert (status, "worker" in text) == (503, True)
    finally:
        victim.send_signal(signal.SIGCONT)
    await asyncio.to_thread(system.proxy.ready)
    assert system.proxy.get("/livez")[0] == 200


async def test_sigterm_drains_all_workers_and_fails_no_image(
    system: System, tmp_path: Path
) -> None:
    made = [made_instances(tmp_path / f"in{n}", 6, 700 * KIB) for n in range(4)]
    everything = [each for group in made for each in group]
    left = workers(system.proxy)
    sending = asyncio.create_task(sent(system, [[each.path for each in group] for group in made]))
    await asyncio.to_thread(
        eventually,
        lambda: counted(system.proxy, OPEN),
        lambda open_: open_ == len(made),
    )
    assert await asyncio.to_thread(system.proxy.stop) == 0
    answers = await sending
    assert all_well(answers), answers
    assert len(assert_stored(system, everything, answers)) == len(everything)
    assert not any(each.is_running() for each in left)
    await asyncio.to_thread(system.proxy.start().ready)


def test_settings_that_no_worker_can_start_with_end_the_service_with_a_sentence(
    system: System,
) -> None:
    second = system.space.proxy("second")
    not_a_certificate = system.space.folder / "empty.pem"
    not_a_certificate.write_text("")
    second.environment = dict(second.environment) | {
        "DIMSE_PORT": "0",
        "DIMSE_TLS_CERTIFICATE_PATH": str(not_a_certificate),
        "DIMSE_TLS_KEY_PATH": str(not_a_certificate),
    }
    second.start()
    assert second.process is not None
    assert second.process.wait(60) == 2
    assert "DIMSE_TLS_CERTIFICATE_PATH" in second.last_lines()
