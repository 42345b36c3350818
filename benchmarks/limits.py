"""Limits of the machine, beside which the other figures are to be read."""

import hashlib
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.ct_image import pixels
from benchmarks.plan import Plan, Selection
from benchmarks.processes import Processes
from benchmarks.rounds import Contestant, measure
from benchmarks.samples import Outcome, Row
from harness.nats_server import nats_server

FAMILY = "limits of the machine"
_THIS = "one process"
_SMALL, _CT, _BLOCK = 3_000, 2**19, 2**26


def rows(plan: Plan, _: object, selection: Selection) -> Iterator[list[Row]]:
    """Measure disk, memory, digest and NATS, each alone."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        folder = Path(name)
        nats = stack.enter_context(nats_server(folder / "nats"))
        assert nats.process is not None
        server = Processes({"NATS": nats.process.pid})
        block, count = pixels(_BLOCK), plan.limit_operations
        few = max(2, count // 40)
        cases: dict[str, tuple[Processes, int, int, Callable[[], object]]] = {
            f"write, fsync, rename and fsync of the folder, {_label(length)}": (
                Processes({}), count, length, _SyncedWrite(folder, length),
            )
            for length in (_SMALL, _CT)
        }  # fmt: skip
        for length in (_SMALL, _CT):
            link = stack.enter_context(_NatsLink(nats.port, length))
            cases[f"one message through NATS, {_label(length)}"] = (server, count, length, link)
        cases["copy of 64 MiB in memory"] = (Processes({}), few, _BLOCK, lambda: bytearray(block))
        cases["SHA-256 of 64 MiB"] = (Processes({}), few, _BLOCK, lambda: hashlib.sha256(block))
        for case, (processes, operations, octets, operate) in cases.items():
            if selection.wants(FAMILY, case):
                contestant = Contestant(_repetition(operations, octets, operate), processes)
                yield measure(FAMILY, case, {_THIS: contestant}, plan.rounds)


def _label(length: int) -> str:
    return f"{length // 1000} KB" if length < 2**17 else f"{length // 1024} KiB"


def _repetition(count: int, octets: int, operate: Callable[[], object]) -> Callable[[], Outcome]:
    def repeat() -> Outcome:
        latencies = []
        cpu, started = time.process_time(), time.perf_counter()
        for _ in range(count):
            begin = time.perf_counter()
            operate()
            latencies.append(time.perf_counter() - begin)
        seconds = time.perf_counter() - started
        spent = {"client": time.process_time() - cpu}
        return Outcome(count, count * octets, seconds, latencies, cpu=spent)

    return repeat


class _SyncedWrite:
    """A file written so that it survives a power cut, at each call."""

    def __init__(self, folder: Path, length: int) -> None:
        self._folder, self._content, self._number = folder, pixels(length), 0

    def __call__(self) -> None:
        self._number += 1
        path = self._folder / f"{len(self._content)}-{self._number}"
        file = os.open(f"{path}.part", os.O_CREAT | os.O_WRONLY)
        os.write(file, self._content)
        os.fsync(file)
        os.close(file)
        Path(f"{path}.part").rename(path)
        entries = os.open(self._folder, os.O_RDONLY)
        os.fsync(entries)
        os.close(entries)


class _NatsLink:
    """A publisher and a subscriber on raw sockets; a call sends one message through the server."""

    def __init__(self, port: int, length: int) -> None:
        self._publisher, self._subscriber = self._connect(port), self._connect(port)
        subject = f"bench.{length}"
        self._subscriber.sendall(f"SUB {subject} 1\r\nPING\r\n".encode())
        _receive_until(self._subscriber, b"PONG\r\n")
        self._message = f"PUB {subject} {length}\r\n".encode() + pixels(length) + b"\r\n"
        self._received = len(f"MSG {subject} 1 {length}\r\n") + length + 2

    def _connect(self, port: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\nPING\r\n')
        _receive_until(connection, b"PONG\r\n")
        return connection

    def __call__(self) -> None:
        self._publisher.sendall(self._message)
        if len(self._subscriber.recv(self._received, socket.MSG_WAITALL)) < self._received:
            raise RuntimeError("nats-server closed the connection.")

    def __enter__(self) -> "_NatsLink":
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.close()
        self._subscriber.close()


def _receive_until(connection: socket.socket, end: bytes) -> None:
    received = b""
    while not received.endswith(end):
        received += connection.recv(4096)
