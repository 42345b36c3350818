"""A spool that fills while NATS is away, and is drained when it is back.

The images are made and sent as benchmarks do it, because there may be 100,000 of them.
"""

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from pathlib import Path

from benchmarks.association import Association, StoreMessage
from benchmarks.ct_image import CT_IMAGE_STORAGE, CtImage, Identity, patch
from faults import stores, tally
from faults.fault import SPOOLED, Fault
from faults.load import Load
from faults.system import System
from faults.tally import Tally
from harness.instances import MadeInstance
from harness.services import eventually

_COUNT = 2000
_ASSOCIATIONS = 4
_ROWS = 32
_SLOWEST = 20  # instances a second that are drained


def of(count: int) -> Fault:
    """Return the fault with a backlog of so many instances."""
    name = f"spool of {count} instances drained after an outage"
    return Fault(name, partial(measure, count), modes=(SPOOLED,))


def measure(count: int, system: System, folder: Path) -> Tally:
    """Store without NATS, kill the proxy half-way, then drain; the recovery is the drain's time."""
    image = CtImage(_ROWS, _ROWS, Identity(time.time_ns() // 10**6 % 10**11, 500))
    load = Load(system.peer, folder)
    system.nats.kill()
    half = count // 2
    _store(system, image, range(half), load)
    system.restart(system.proxy)
    _store(system, image, range(half, count), load)
    system.proxy.kill()
    system.nats.start()
    repaired = time.monotonic()
    system.proxy.start()
    eventually(lambda: _is_drained(system), bool, 300 + count / _SLOWEST)
    drained = time.monotonic() - repaired
    stores.wait_for_delivery(system, load, seconds=60)
    return tally.count(system, load, drained)


def _store(system: System, image: CtImage, numbers: range, load: Load) -> None:
    """Store images over several associations, and note them as acknowledged."""
    shares = [numbers[start::_ASSOCIATIONS] for start in range(_ASSOCIATIONS)]
    with ThreadPoolExecutor(_ASSOCIATIONS) as threads:
        list(threads.map(partial(_send, system.space.dimse_port, image), shares))
    for number in numbers:
        made = _made(image, number)
        load.acknowledged[made.path] = made
    load.statuses[0] += len(numbers)


def _send(port: int, image: CtImage, numbers: range) -> None:
    association = Association(port, CT_IMAGE_STORAGE)
    message = StoreMessage(image, association.longest_pdu)
    for number in numbers:
        message.identify(number)
        association.store(message)
    association.release()


def _made(image: CtImage, number: int) -> MadeInstance:
    values = image.identity.values(number)
    data_set = bytearray(b"".join(image.chunks(1 << 20)))
    patch(data_set, image.offsets(image.header), values)
    digest = hashlib.sha256(data_set).hexdigest()
    size = len(data_set)
    return MadeInstance(Path(str(number)), values["instance"], digest, size, values["study"])


def _is_drained(system: System) -> bool:
    status, text = system.proxy.readiness()
    return status == HTTPStatus.OK and "outbox" not in text


FAULTS = (of(_COUNT),)
