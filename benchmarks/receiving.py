"""Receiving, against DCMTK's `storescp` and pynetdicom's server, in one run and one table.

The senders are the same for all: processes that write prepared bytes as fast as the receiver takes
them and wait for each response, so that what is measured is the receiver. All receivers take PDUs
of 128 KiB, answer at once and keep nothing. The receivers take turns in each round, so that a busy
machine hurts all alike; a cell is the median of the rounds.
"""

import asyncio
import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.pool import Pool

from harness.modalities import program
from harness.services import eventually, free_port

_CT = b"1.2.840.10008.5.1.4.1.1.2\0"
_EXPLICIT = b"1.2.840.10008.1.2.1"
_INSTANCE = b"1.2.826.0.1.3680043.8.498.1\0"
_LONGEST = 128 * 1024
_ROUNDS = 5
_RECEIVERS = ("dimse-ingestion", "storescp", "pynetdicom")
_RELEASE = bytes.fromhex("05000000000400000000")


@dataclass(frozen=True)
class Load:
    """So many objects of one length in bytes, over so many associations at once."""

    name: str
    objects: int
    length: int
    associations: int

    def __str__(self) -> str:
        plural = "s" if self.associations > 1 else ""
        return f"{self.name}, {self.associations} association{plural}"


LOADS = [
    Load(name, objects, length, associations)
    for name, objects, length in (("900 of 3 KB", 900, 3000), ("300 CT of 512 KiB", 300, 2**19))
    for associations in (1, 4)
]


# the sender

_SUCCESS = struct.pack("<HHIH", 0, 0x0900, 2, 0)


def _item(item_type: int, content: bytes) -> bytes:
    return struct.pack(">BxH", item_type, len(content)) + content


def _associate() -> bytes:
    context = b"\x01\0\0\0" + _item(0x30, _CT.rstrip(b"\0")) + _item(0x40, _EXPLICIT)
    user = _item(0x51, struct.pack(">I", _LONGEST)) + _item(0x52, b"1.2.826.0.1.3680043.8.498.2")
    items = _item(0x10, b"1.2.840.10008.3.1.1.1") + _item(0x20, context) + _item(0x50, user)
    content = struct.pack(">H2x16s16s32x", 1, b"ANY-SCP".ljust(16), b"BENCH".ljust(16)) + items
    return struct.pack(">BxI", 1, len(content)) + content


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def _store(length: int) -> bytes:
    """A C-STORE-RQ and its data set, as P-DATA-TF."""
    elements = (
        _element(0x0002, _CT)
        + _element(0x0100, struct.pack("<H", 1))
        + _element(0x0110, struct.pack("<H", 1))
        + _element(0x0700, struct.pack("<H", 0))
        + _element(0x0800, struct.pack("<H", 1))
        + _element(0x1000, _INSTANCE)
    )
    command = _element(0x0000, struct.pack("<I", len(elements))) + elements
    return b"".join([_pdu(command, 0x03), *_data_set(length)])


def _data_set(length: int) -> Iterator[bytes]:
    identity = struct.pack("<HH2sH", 8, 0x16, b"UI", len(_CT)) + _CT
    identity += struct.pack("<HH2sH", 8, 0x18, b"UI", len(_INSTANCE)) + _INSTANCE
    rest = length - len(identity) - 12
    content = identity + struct.pack("<HH2s2xI", 0x7FE0, 0x10, b"OW", rest) + bytes(rest)
    longest = _LONGEST - 6
    for start in range(0, length, longest):
        yield _pdu(content[start : start + longest], 0x02 * (start + longest >= length))


def _pdu(content: bytes, control: int) -> bytes:
    return struct.pack(">BxIIBB", 4, len(content) + 6, len(content) + 2, 1, control) + content


def send(port: int, objects: int, length: int) -> None:
    """One association; each object is sent when the one before is answered."""
    message = _store(length)
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.sendall(_associate())
        _pdu_of(peer, 2)
        for _ in range(objects):
            peer.sendall(message)
            assert _SUCCESS in _pdu_of(peer, 4), "the object was not stored"
        peer.sendall(_RELEASE)
        _pdu_of(peer, 6)


def _pdu_of(peer: socket.socket, wanted: int) -> bytes:
    """What follows the header of the next PDU, which must be of this type."""
    pdu_type, length = struct.unpack(">BxI", _exactly(peer, 6))
    assert pdu_type == wanted, f"a PDU of type {pdu_type} instead of {wanted}"
    return _exactly(peer, length)


def _exactly(peer: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        part = peer.recv(length - len(found))
        assert part, "the receiver closed the connection"
        found += part
    return found


# the receivers


@contextmanager
def receiver(name: str) -> Iterator[int]:
    """A receiver as a process of its own; the port."""
    port = free_port()
    arguments = {
        "storescp": [program("storescp"), "--fork", "--ignore", "-pdu", str(_LONGEST), str(port)],
    }.get(name, [sys.executable, "-m", "benchmarks.receiving", name, str(port)])
    process = subprocess.Popen(arguments, env=os.environ | {"TCP_NODELAY": "1"})
    try:
        eventually(lambda: _listens(port), bool)
        yield port
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        send(port, 1, 1000)
    except ConnectionRefusedError:
        return False
    return True


def serve(name: str, port: int) -> None:
    """Be a receiver until killed."""
    if name == "pynetdicom":
        _serve_pynetdicom(port)
    else:
        asyncio.run(_serve(port))


def _serve_pynetdicom(port: int) -> None:
    from pynetdicom import AE, evt

    ae = AE()
    ae.maximum_pdu_size = _LONGEST
    ae.add_supported_context(_CT.rstrip(b"\0").decode(), _EXPLICIT.decode())
    ae.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, lambda _: 0x0000)])


async def _serve(port: int) -> None:
    from dimse_ingestion.upper_layer.acceptor import listener
    from tests.recording_services import MemorySink, RecordingServices

    class Forgetful(RecordingServices):
        """Keeps each data set in memory until it is answered, as pynetdicom does."""

        def open_data_set(self, *_: object) -> MemorySink:
            return MemorySink()

        async def perform(self, message: object) -> None:
            await self.answer(message)

    async with listener(Forgetful(), "127.0.0.1", port):
        await asyncio.Event().wait()


# the table


def seconds(pool: Pool, port: int, load: Load) -> float:
    """How long a receiver takes for a load."""
    share = load.objects // load.associations
    started = time.perf_counter()
    pool.starmap(send, [(port, share, load.length)] * load.associations, chunksize=1)
    return time.perf_counter() - started


def measured(rounds: int = _ROUNDS) -> dict[Load, dict[str, float]]:
    """Median seconds by load and receiver."""
    taken: dict[tuple[Load, str], list[float]] = {}
    with ExitStack() as stack:
        pool = stack.enter_context(get_context("spawn").Pool(4))
        ports = {name: stack.enter_context(receiver(name)) for name in _RECEIVERS}
        for _ in range(rounds):
            for load in LOADS:
                for name, port in ports.items():
                    taken.setdefault((load, name), []).append(seconds(pool, port, load))
    return {
        load: {name: statistics.median(taken[load, name]) for name in _RECEIVERS} for load in LOADS
    }


def table(medians: dict[Load, dict[str, float]]) -> str:
    """The medians in seconds, and ours as part of each other's."""
    ours, *others = _RECEIVERS
    lines = [
        "| receiving | "
        + " | ".join(_RECEIVERS)
        + " | "
        + " | ".join(f"ours / {other}" for other in others)
        + " |"
    ]
    lines.append("|---" * (1 + len(_RECEIVERS) + len(others)) + "|")
    for load, cells in medians.items():
        values = [f"{cells[name]:.3f} s" for name in _RECEIVERS]
        ratios = [f"{cells[ours] / cells[other]:.2f}" for other in others]
        lines.append(f"| {load} | " + " | ".join([*values, *ratios]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    print(table(measured()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1], int(sys.argv[2]))
    else:
        main()
