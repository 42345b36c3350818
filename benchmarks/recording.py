"""Recording of events in a catalogue that has so many studies already: HTTP request to commit.

Eight clients post one request after another: an event each, and batches as the ingestion service
gathers them while a post is under way. An operation is an event, a latency that of a request.
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
_EVENTS_A_REQUEST = (1, 16)
_ACCEPTED = (200, 201, 202, 204)


def case_names(size: int) -> dict[int, str]:
    """Return the names of the rows for a catalogue of this size, by events a request."""
    return {
        each: f"{each} event{'s' if each > 1 else ''} a request, beside {size:,} studies"
        for each in _EVENTS_A_REQUEST
    }


def measure_recording(
    systems: Mapping[str, System], events: Events, size: int, a_request: int, plan: Plan
) -> list[Row]:
    """Measure at each catalogue, then check that each has all events."""
    before = {name: system.count() for name, system in systems.items()}
    contestants = {
        name: Contestant(record_operation(system, events, plan.events, a_request), system.processes)
        for name, system in systems.items()
    }
    rows = measure(FAMILY, case_names(size)[a_request], contestants, plan.rounds)
    for row in rows:
        recorded = systems[row.system].count() - before[row.system]
        if recorded != row.operations:
            raise RuntimeError(f"{row.system} has {recorded} of {row.operations} events.")
    return rows


def record_operation(
    system: System, events: Events, count: int, a_request: int
) -> Callable[[], Outcome]:
    """Return an operation that records so many more events at each call.

    `count` is a multiple of the clients' number and of the events a request.
    """
    assert system.space is not None
    requests = max(1, count // a_request // _CLIENTS) * _CLIENTS
    port, first = system.space.catalogue_port, 0

    def record() -> Outcome:
        nonlocal first
        bodies = [_body(events, first + n * a_request, a_request) for n in range(requests)]
        first += requests * a_request
        groups = [bodies[start::_CLIENTS] for start in range(_CLIENTS)]
        cpu, started = time.process_time(), time.perf_counter()
        with ThreadPoolExecutor(_CLIENTS) as clients:
            latencies = [each for some in clients.map(_poster(port), groups) for each in some]
        return Outcome(
            operations=requests * a_request,
            octets=sum(len(body) for _, body in bodies),
            seconds=time.perf_counter() - started,
            latencies=latencies,
            cpu={"client": time.process_time() - cpu},
        )

    return record


def _body(events: Events, first: int, count: int) -> tuple[str, bytes]:
    """Return the content type and the body of a request with so many events."""
    if count == 1:
        return "application/cloudevents+json", msgspec.json.encode(events.event(first))
    batch = [events.event(number) for number in range(first, first + count)]
    return "application/cloudevents-batch+json", msgspec.json.encode(batch)


def _poster(port: int) -> Callable[[list[tuple[str, bytes]]], list[float]]:
    def post(bodies: list[tuple[str, bytes]]) -> list[float]:
        connection, latencies = HTTPConnection("127.0.0.1", port, timeout=60), []
        for content_type, body in bodies:
            started = time.perf_counter()
            connection.request("POST", "/events", body, {"Content-Type": content_type})
            response = connection.getresponse()
            content = response.read()
            if response.status not in _ACCEPTED:
                raise RuntimeError(f"The catalogue answers {response.status}: {content[:300]!r}")
            latencies.append(time.perf_counter() - started)
        connection.close()
        return latencies

    return post
