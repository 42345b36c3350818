"""Recording of events in a catalogue that has so many studies already: HTTP request to commit.

Eight clients post one event after another, as the ingestion service's operations do.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import msgspec

from benchmarks.catalogues import Events
from benchmarks.plan import Plan
from benchmarks.rounds import Contestant, measure
from benchmarks.samples import Outcome, Row
from benchmarks.systems import System

FAMILY = "recording events"
_CLIENTS = 8
_HEADERS = {"Content-Type": "application/cloudevents+json"}
_ACCEPTED = (200, 201, 202, 204)


def case_name(size: int) -> str:
    """Return the name of the row for a catalogue of this size."""
    return f"{_CLIENTS} clients, beside {size:,} studies"


def measure_recording(
    systems: Mapping[str, System], events: Events, size: int, plan: Plan
) -> list[Row]:
    """Measure at each catalogue, then check that each has all events."""
    before = {name: system.count() for name, system in systems.items()}
    contestants = {
        name: Contestant(_recording(system, events, plan.events), system.processes)
        for name, system in systems.items()
    }
    rows = measure(FAMILY, case_name(size), contestants, plan.rounds)
    for row in rows:
        recorded = systems[row.system].count() - before[row.system]
        if recorded != row.operations:
            raise RuntimeError(f"{row.system} has {recorded} of {row.operations} events.")
    return rows


def _recording(system: System, events: Events, count: int) -> Callable[[], Outcome]:
    assert system.space is not None
    port, share, first = system.space.catalogue_port, max(1, count // _CLIENTS), 0

    def record() -> Outcome:
        nonlocal first
        bodies = [
            msgspec.json.encode(events.event(first + number)) for number in range(share * _CLIENTS)
        ]
        first += len(bodies)
        groups = [bodies[start::_CLIENTS] for start in range(_CLIENTS)]
        cpu, started = time.process_time(), time.perf_counter()
        with ThreadPoolExecutor(_CLIENTS) as clients:
            latencies = [each for some in clients.map(_post(port), groups) for each in some]
        return Outcome(
            operations=len(bodies),
            octets=sum(map(len, bodies)),
            seconds=time.perf_counter() - started,
            latencies=latencies,
            cpu={"client": time.process_time() - cpu},
        )

    return record


def _post(port: int) -> Callable[[list[bytes]], list[float]]:
    def post(bodies: list[bytes]) -> list[float]:
        connection, latencies = HTTPConnection("127.0.0.1", port, timeout=60), []
        for body in bodies:
            started = time.perf_counter()
            connection.request("POST", "/events", body, _HEADERS)
            response = connection.getresponse()
            content = response.read()
            if response.status not in _ACCEPTED:
                raise RuntimeError(f"The catalogue answers {response.status}: {content[:300]!r}")
            latencies.append(time.perf_counter() - started)
        connection.close()
        return latencies

    return post
