"""The faults: what is broken, how it is repaired, and the system it happens to.

A fault returns the moment of its repair. Each is one that a hospital, a cluster or a network
causes; the moment of a kill is chosen by the message or the file that it follows. Here are those
that happen while modalities store; `FAULTS` are all.
"""

import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from faults import backlog, commitment, decoding, disks, peers, retrieval, stores
from faults.fault import MODES, STORED, Fault
from faults.load import Load
from faults.stores import Happen
from faults.system import Deployment, System
from harness.pausing import pause, resume
from harness.services import ServiceProcess, eventually

_SHORT = 3.0  # seconds that a part is away
_LONG = 15.0  # seconds, longer than the time-out set with it
_PATIENCE = {"DIMSE_OPERATION_TIMEOUT": "5"}
_SOON = 60.0


def _storing(
    name: str,
    happen: Happen,
    deployment: Deployment | None = None,
    *,
    needs_root: bool = False,
    spool_on_small_disk: bool = False,
    modes: Sequence[str] = MODES,
) -> Fault:
    """Return the fault that happens while modalities store."""
    measure = partial(stores.measure, happen)
    deployment = deployment or Deployment()
    return Fault(name, measure, deployment, needs_root, spool_on_small_disk, modes)


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def _kill_on(message: str) -> Happen:
    """Return the fault that kills the proxy as a message passes between it and NATS."""

    def happen(system: System, load: Load) -> float:
        content = f"Dimse-Op: {message}\r\n".encode()
        assert system.to_nats.watch(content, system.proxy.kill).wait(_SOON), f"no {message} passed"
        system.restart(system.proxy)
        return time.monotonic()

    return happen


def _kill_at_random(system: System, load: Load) -> float:
    """Kill the proxy five times, each time a little later after its first success."""
    for number in range(5):
        load.wait_for_successes(2)
        _wait(0.013 * number)
        system.restart(system.proxy)
    return time.monotonic()


def _kill_everything(system: System, load: Load) -> float:
    for service in system.services:
        service.kill()
    system.nats.kill()
    system.nats.start()
    system.restart(*system.services)
    return time.monotonic()


def _kill_ingestion_between_object_and_event(system: System, load: Load) -> float:
    """Kill ingestion as the event's request passes: the object is in the bucket by then."""
    replica = system.ingestion[0]
    assert system.to_catalogue.watch(b"POST /events", replica.kill).wait(_SOON), "no event"
    system.restart(replica)
    return time.monotonic()


def _kill_catalogue_with_an_event(system: System, load: Load) -> float:
    """Kill the catalogue as the response to an event passes: before or after its commit."""
    seen = system.to_catalogue.watch(b"POST /events", lambda: None)
    assert seen.wait(_SOON), "no event"
    system.restart(system.catalogue)
    return time.monotonic()


def _lose_the_answer_to_an_event(system: System, load: Load) -> float:
    """Cut the connection as the catalogue's response passes: the event is committed."""
    assert system.to_catalogue.watch(b"HTTP/1.1 20", system.to_catalogue.cut).wait(_SOON)
    return time.monotonic()


def _stop_one(part: Callable[[System], ServiceProcess], seconds: float = _SHORT) -> Happen:
    def happen(system: System, load: Load) -> float:
        service = part(system)
        service.stop()
        _wait(seconds)
        service.start()
        service.ready()
        return time.monotonic()

    return happen


def _pause_one(part: Callable[[System], ServiceProcess], seconds: float = _SHORT) -> Happen:
    """Return the fault that holds a process without closing its connections."""

    def happen(system: System, load: Load) -> float:
        process = part(system).process
        assert process is not None
        pause(process)
        _wait(seconds)
        resume(process)
        return time.monotonic()

    return happen


def _kill_a_replica(system: System, load: Load) -> float:
    system.ingestion[0].kill()
    _wait(_SHORT)
    system.restart(system.ingestion[0])
    return time.monotonic()


def _roll_replicas(system: System, load: Load) -> float:
    for service in system.ingestion:
        service.stop()
        service.start()
        service.ready()
        load.wait_for_successes(2)
    return time.monotonic()


def _nats_away(seconds: float) -> Happen:
    def happen(system: System, load: Load) -> float:
        system.nats.kill()
        _wait(seconds)
        system.nats.start()
        return time.monotonic()

    return happen


def _pause_nats(system: System, load: Load) -> float:
    system.nats.pause()
    _wait(_SHORT)
    system.nats.resume()
    return time.monotonic()


def _cut_nats(system: System, load: Load) -> float:
    for _ in range(10):
        system.to_nats.cut()
        _wait(0.3)
    return time.monotonic()


def _restart_postgresql(system: System, load: Load) -> float:
    assert system.postgresql is not None
    system.postgresql.kill()
    system.postgresql.start()
    return time.monotonic()


def _minio_away(seconds: float) -> Happen:
    def happen(system: System, load: Load) -> float:
        assert system.minio is not None
        system.minio.stop(signal.SIGKILL)
        _wait(seconds)
        system.minio.start()
        return time.monotonic()

    return happen


def _pause_minio(system: System, load: Load) -> float:
    assert system.minio is not None
    system.minio.pause()
    _wait(_LONG)
    system.minio.go_on()
    return time.monotonic()


def _revoke_the_bucket_key(system: System, load: Load) -> float:
    """Give ingestion a wrong key, until an operation has failed for it, then the right one."""
    assert system.minio is not None
    system.write_key("revoked")
    if system.acknowledge == "spooled":
        load.wait_for_successes(12)
    else:
        refused = load.refused
        eventually(lambda: load.refused, lambda seen: seen > refused, 120)
    system.write_key(system.minio.secret_key)
    return time.monotonic()


def _bucket_read_only(system: System, load: Load) -> float:
    """Put a file where the folder of the bucket was, then the folder again."""
    bucket, aside = system.space.bucket, system.folder / "aside"
    bucket.rename(aside)
    bucket.write_text("no folder")
    _wait(_LONG)
    bucket.unlink()
    aside.rename(bucket)
    return time.monotonic()


def _spool_gone(system: System, load: Load) -> float:
    shutil.rmtree(system.spool, ignore_errors=True)
    return time.monotonic()


def _fill_the_spool(system: System, load: Load) -> float:
    """Fill the disk of the spool to its last byte, then free it."""
    with disks.filled(system.spool):
        _wait(_SHORT)
    return time.monotonic()


def _make_the_spool_read_only(system: System, load: Load) -> float:
    """Make the spool's disk read-only until a C-STORE has failed for it, then writable again."""
    with disks.read_only(system.spool):
        refused = load.refused
        eventually(lambda: load.refused, lambda seen: seen > refused, 120)
        _wait(_SHORT)
    return time.monotonic()


def _nothing(system: System, load: Load) -> float:
    """Break nothing for a while: the network is the fault."""
    load.wait_for_successes(12)
    return time.monotonic()


_TWO = Deployment(replicas=2)
_MINIO = Deployment(minio=True)
_POSTGRESQL = Deployment(postgresql=True)

_STORING: Sequence[Fault] = (
    _storing("proxy killed five times at any moment", _kill_at_random),
    _storing("proxy killed as it opens a store", _kill_on("STORE")),
    _storing("proxy killed as a chunk passes", _kill_on("DATA")),
    _storing("proxy killed as the end passes", _kill_on("END")),
    _storing("proxy killed as the result passes", _kill_on("RESULT")),
    _storing("everything killed at once", _kill_everything),
    _storing("ingestion killed between object and event", _kill_ingestion_between_object_and_event),
    _storing("ingestion stopped and started", _stop_one(lambda system: system.ingestion[0])),
    _storing("ingestion holds still", _pause_one(lambda system: system.ingestion[0])),
    _storing("one of two replicas killed", _kill_a_replica, _TWO),
    _storing("two replicas rolled over", _roll_replicas, _TWO),
    _storing("catalogue killed with an event", _kill_catalogue_with_an_event),
    _storing("response to an event lost", _lose_the_answer_to_an_event),
    _storing("catalogue stopped and started", _stop_one(lambda system: system.catalogue)),
    _storing("catalogue holds still", _pause_one(lambda system: system.catalogue)),
    _storing("PostgreSQL killed and started", _restart_postgresql, _POSTGRESQL),
    _storing("NATS killed for 3 s", _nats_away(_SHORT)),
    _storing(
        "NATS away longer than the operation time-out",
        _nats_away(_LONG),
        Deployment(environment=_PATIENCE),
    ),
    _storing("NATS holds still", _pause_nats),
    _storing("connection to NATS cut ten times", _cut_nats),
    _storing(
        "100 ms of distance, cut now and then", _nothing, Deployment(delay=0.05, cut_share=0.001)
    ),
    _storing("bucket away for 3 s", _minio_away(_SHORT), _MINIO),
    _storing(
        "bucket away longer than the operation time-out",
        _minio_away(_LONG),
        Deployment(minio=True, environment=_PATIENCE),
    ),
    _storing("bucket answers nothing for 15 s", _pause_minio, _MINIO),
    _storing(
        "bucket key revoked and granted again",
        _revoke_the_bucket_key,
        Deployment(minio=True, environment=_PATIENCE),
    ),
    _storing("bucket gone for 15 s", _bucket_read_only, Deployment(environment=_PATIENCE)),
    _storing("spool directory deleted", _spool_gone, modes=(STORED,)),
    _storing("spool full", _fill_the_spool, needs_root=True, spool_on_small_disk=True),
    _storing("spool read-only", _make_the_spool_read_only, needs_root=True),
    _storing("200 associations, 50 allowed", peers.crowd, peers.FEW_ASSOCIATIONS),
    _storing("a modality sends a byte a second", peers.crawl),
    _storing("a modality never releases", peers.stay),
)

FAULTS = (
    *_STORING,
    *commitment.FAULTS,
    *retrieval.FAULTS,
    *decoding.FAULTS,
    *backlog.FAULTS,
)
