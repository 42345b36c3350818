"""A proxy that answers when a data set is in its spool: everything it answered arrives, once.

The proxy is killed at given steps by a `sitecustomize` module, which Python imports at its start.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness import scu
from harness.instances import MadeInstance, data_set_in, made_instances
from harness.nats_server import nats_server
from harness.services import ServiceProcess, eventually
from tests.integration.whole.conftest import System, started

MIB = 2**20
KILL = """
import itertools, os, signal
from dimse_ingestion.outbox import outbox, segment_writer

def die():
    os.kill(os.getpid(), signal.SIGKILL)

numbers = itertools.count(1)  # several calls may be under way at once

def dying(function, before):
    def call(*arguments, **named):
        number = next(numbers)
        if number == {call} and before:
            die()
        result = function(*arguments, **named)
        if number == {call}:
            die()
        return result
    return call

def dying_later(function):
    async def call(*arguments, **named):
        number = next(numbers)
        result = await function(*arguments, **named)
        if number == {call}:
            die()
        return result
    return call

"""
SLOW_RECOVERY = """
import time
from pathlib import Path
from dimse_ingestion.outbox import recovery

scan = recovery.scan

def slow(content, salt):
    while not Path("{file}").exists():
        time.sleep(0.01)
    return scan(content, salt)

recovery.scan = slow
"""
STEPS = {
    "before the fsync": "os.fdatasync = dying(os.fdatasync, True)",
    "after the fsync": "os.fdatasync = dying(os.fdatasync, False)",
    "during forwarding": "outbox.Outbox.open_entry = dying_later(outbox.Outbox.open_entry)",
    "after delivery, before the mark": (
        "outbox.Outbox.delivered = dying(outbox.Outbox.delivered, True)"
    ),
    "after the mark": "outbox.Outbox.delivered = dying(outbox.Outbox.delivered, False)",
}


@pytest.fixture
def spooled(tmp_path: Path) -> Iterator[System]:
    with nats_server(tmp_path / "nats") as nats:
        system = started(tmp_path / "space", nats, DIMSE_ACKNOWLEDGE="spooled")
        yield system
        system.space.close()


def catalogued(system: System) -> list[str]:
    """Return the UID of every instance in the catalogue, each as often as it is there."""
    database = system.space.folder / "catalogue.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT sop_instance_uid FROM instances").fetchall()
    return sorted(uid for (uid,) in rows)


def assert_all_arrived_once(system: System, made: list[MadeInstance]) -> None:
    wanted = sorted(each.sop_instance_uid for each in made)
    eventually(lambda: len(catalogued(system)), lambda count: count >= len(wanted), 120)
    eventually(lambda: waiting(system.proxy), lambda count: count == 0)
    assert catalogued(system) == wanted
    objects = system.objects()
    assert len(objects) == len(made)
    for each in made:
        stored, sent = objects[each.sha256].read_bytes(), each.path.read_bytes()
        assert data_set_in(stored) == data_set_in(sent)


def waiting(proxy: ServiceProcess) -> int:
    """Return the backlog as the metrics have it; -1 while nothing answers."""
    _, text = proxy.get("/metrics")
    lines = [line for line in text.splitlines() if line.startswith("dimse_outbox_waiting ")]
    return int(float(lines[0].split()[1])) if lines else -1


def store(system: System, made: list[MadeInstance]) -> list[scu.Answer]:
    return scu.store(system.peer, [each.path for each in made])


def succeeded(made: list[MadeInstance], answers: list[scu.Answer]) -> list[MadeInstance]:
    by_path = {each.path: each for each in made}
    return [by_path[answer.path] for answer in answers if answer.status == 0]


def test_while_nats_is_away_images_are_taken_and_arrive_when_it_is_back(
    spooled: System, tmp_path: Path
) -> None:
    made = made_instances(tmp_path / "small", 20, 2000)
    made += made_instances(tmp_path / "large", 2, 5 * MIB)
    spooled.nats.kill()
    assert {answer.status for answer in store(spooled, made)} == {0}
    eventually(lambda: waiting(spooled.proxy), lambda count: count == len(made))
    status, text = spooled.proxy.readiness()
    assert status == 200, text
    assert "outbox: 22 data sets" in text
    assert "nats: " in text
    spooled.nats.start()
    assert_all_arrived_once(spooled, made)
    status, text = spooled.proxy.readiness()
    assert (status, "outbox" in text) == (200, False)


@pytest.mark.parametrize("call", [1, 4])
@pytest.mark.parametrize("step", STEPS)
def test_a_proxy_killed_at_any_step_loses_nothing_that_it_answered(
    step: str, call: int, spooled: System, tmp_path: Path
) -> None:
    made = made_instances(tmp_path / "in", 8, 2000)
    patches = tmp_path / "patches"
    patches.mkdir()
    (patches / "sitecustomize.py").write_text(KILL.format(call=call) + STEPS[step])
    proxy, environment = spooled.proxy, spooled.proxy.environment
    proxy.kill()
    proxy.environment = {**environment, "PYTHONPATH": str(patches)}
    proxy.start().ready()
    process = proxy.process
    assert process is not None
    sending: list[scu.Answer] = []
    thread = threading.Thread(target=lambda: sending.extend(store(spooled, made)))
    thread.start()
    assert process.wait(60) == -9, proxy.last_lines()
    thread.join(60)
    answered = succeeded(made, sending)
    proxy.environment = environment
    proxy.start().ready()
    eventually(
        lambda: set(catalogued(spooled)),
        lambda uids: {each.sop_instance_uid for each in answered} <= uids,
    )
    again = [each for each in made if each not in answered]
    assert len(succeeded(again, store(spooled, again))) == len(again)
    assert_all_arrived_once(spooled, made)


def test_many_taken_without_nats_survive_kills_and_are_drained(
    spooled: System, tmp_path: Path
) -> None:
    made = made_instances(tmp_path / "in", 300, 2000)
    spooled.nats.kill()
    first, rest = made[:150], made[150:]
    assert len(succeeded(first, store(spooled, first))) == 150
    spooled.proxy.kill()
    spooled.proxy.start().ready()
    assert len(succeeded(rest, store(spooled, rest))) == 150
    spooled.proxy.kill()
    spooled.nats.start()
    spooled.proxy.start()
    eventually(lambda: len(catalogued(spooled)), lambda count: count > 20)
    spooled.proxy.kill()
    spooled.proxy.start().ready()
    assert_all_arrived_once(spooled, made)


def test_probes_answer_while_a_spool_is_read_and_modalities_are_put_off(
    spooled: System, tmp_path: Path
) -> None:
    made = made_instances(tmp_path / "in", 5, 2000)
    late = made_instances(tmp_path / "late", 1, 2000)
    spooled.nats.kill()
    assert len(succeeded(made, store(spooled, made))) == 5
    proxy, environment = spooled.proxy, spooled.proxy.environment
    proxy.kill()
    spooled.nats.start()
    (tmp_path / "patches").mkdir()
    go_on = tmp_path / "go-on"
    (tmp_path / "patches" / "sitecustomize.py").write_text(SLOW_RECOVERY.format(file=go_on))
    proxy.environment = {**environment, "PYTHONPATH": str(tmp_path / "patches")}
    proxy.start()
    reading = "spool: The spool of an earlier run is being read: recovering 0 of 1 files."
    eventually(proxy.readiness, lambda seen: seen[0] == 503 and reading in seen[1])
    assert proxy.get("/livez") == (200, "alive\n")
    assert [answer.status for answer in store(spooled, late)] == [-1]
    eventually(proxy.lines, lambda lines: any("Association rejected." in each for each in lines))
    go_on.touch()
    proxy.ready()
    assert len(succeeded(late, store(spooled, late))) == 1
    assert_all_arrived_once(spooled, made + late)


def test_what_was_spooled_is_forwarded_after_the_setting_is_changed(
    spooled: System, tmp_path: Path
) -> None:
    made = made_instances(tmp_path / "in", 5, 2000)
    spooled.nats.kill()
    assert len(succeeded(made, store(spooled, made))) == 5
    spooled.proxy.kill()
    spooled.nats.start()
    environment = {**spooled.proxy.environment, "DIMSE_ACKNOWLEDGE": "stored"}
    spooled.proxy.environment = environment
    spooled.proxy.start().ready()
    assert_all_arrived_once(spooled, made)


def test_a_second_proxy_on_the_same_spool_ends_with_a_sentence(
    spooled: System, tmp_path: Path
) -> None:
    second = spooled.space.proxy("second")
    spool = spooled.proxy.environment["DIMSE_SPOOL_DIRECTORY"]
    second.environment = {**second.environment, "DIMSE_SPOOL_DIRECTORY": spool, "DIMSE_PORT": "0"}
    second.start()
    assert second.process is not None
    assert second.process.wait(60) == 2
    assert "is in use by another proxy" in second.last_lines()
