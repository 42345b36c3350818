"""Modalities that are the fault: too many, too slow, or never releasing their associations."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

from faults.load import Load
from faults.system import Deployment, System
from harness import scu
from harness.modalities import Peer

FEW_ASSOCIATIONS = Deployment(environment={"DIMSE_MAXIMUM_ASSOCIATIONS": "50"})
_CROWD = 200
_CRAWLERS = 20
_STAYING = 20
_BEGIN = bytes.fromhex("010000000100") + bytes(32)
"""The beginning of an A-ASSOCIATE-RQ (PS3.8 9.3.2) that announces 256 bytes."""


def crowd(system: System, load: Load) -> float:
    """Open 200 connections, each with an association as far as it is accepted."""
    with ExitStack() as stack:
        for _ in range(_CROWD):
            with suppress(OSError):
                stack.enter_context(_connection(system.peer))
        load.ended.wait(2)
    return time.monotonic()


def crawl(system: System, load: Load) -> float:
    """Send the bytes of A-ASSOCIATE-RQs, one a second, while the others send images."""
    with ExitStack() as stack:
        connections = [stack.enter_context(_connection(system.peer)) for _ in range(_CRAWLERS)]
        for byte in _BEGIN[:8]:
            for connection in connections:
                connection.send(bytes([byte]))
            load.wait_for_successes(1)
        return time.monotonic()


def stay(system: System, load: Load) -> float:
    """Open associations and never release them."""
    with ExitStack() as stack:
        for _ in range(_STAYING):
            stack.enter_context(scu.associate(system.peer, [(scu.VERIFICATION, None)]))
        load.wait_for_successes(6)
        return time.monotonic()


@contextmanager
def _connection(peer: Peer) -> Iterator[socket.socket]:
    with closing(socket.create_connection((peer.host, peer.port), timeout=10)) as opened:
        yield opened
