"""Store and retrieve 1 GiB over a DICOMweb process; misbehaving clients; its memory is bounded."""

import hashlib
import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse
from itertools import repeat
from pathlib import Path
from select import select

import pytest

from harness.multi_frames import FRAME, MultiFrame, frame
from harness.services import ServiceProcess, StorageSpace, eventually

BOUNDARY = "frontier"
BOUNDED = 200 * 2**20
LARGE = MultiFrame(2048)  # a GiB


@pytest.fixture(scope="module")
def running_space(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[StorageSpace, ServiceProcess]]:
    space = StorageSpace(
        tmp_path_factory.mktemp("large") / "space", "", extra={"DICOMWEB_SILENCE": "2"}
    )
    space.catalogue().start()
    dicomweb = space.dicomweb().start()
    dicomweb.ready()
    yield space, dicomweb
    space.close()


def part(content: Iterable[bytes], *headers: str) -> Iterator[bytes]:
    yield "\r\n".join([f"--{BOUNDARY}", *headers, "", ""]).encode()
    yield from content
    yield b"\r\n"


def posted(space: StorageSpace, kind: str, *parts: Iterable[bytes]) -> tuple[int, bytes]:
    """Yield status and body for a request whose parts are made while it is sent."""

    def body() -> Iterator[bytes]:
        for each in parts:
            yield from each
        yield f"--{BOUNDARY}--\r\n".encode()

    content_type = f'multipart/related; type="{kind}"; boundary={BOUNDARY}'
    connection = HTTPConnection("127.0.0.1", space.dicomweb_port, timeout=120)
    connection.request(
        "POST", "/dicomweb/studies", body(), {"Content-Type": content_type}, encode_chunked=True
    )
    answer = connection.getresponse()
    return answer.status, answer.read()


def got(space: StorageSpace, path: str, accept: str) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", space.dicomweb_port, timeout=120)
    connection.request("GET", f"/dicomweb{path}", headers={"Accept": accept})
    return connection.getresponse()


def digest(pieces: Iterable[bytes]) -> str:
    match = hashlib.sha256()
    for piece in pieces:
        match.update(piece)
    return match.hexdigest()


def read(service: ServiceProcess) -> int:
    """Return the bytes the process has read so far, from files and peers."""
    counts = Path(f"/proc/{service.pid}/io").read_text().split()
    return int(counts[counts.index("rchar:") + 1])


def test_a_gib_goes_in_and_out_and_memory_stays_small(
    running_space: tuple[StorageSpace, ServiceProcess],
) -> None:
    space, dicomweb = running_space
    status, body = posted(
        space, "application/dicom", part(LARGE.file(), "Content-Type: application/dicom")
    )
    assert status == 200, body
    answer = got(space, LARGE.path, "application/dicom")
    assert answer.status == 200
    answer.read(int(answer.headers["content-length"]) - LARGE.frames * FRAME)
    pixels = iter(lambda: answer.read(FRAME), b"")
    assert digest(pixels) == digest(map(frame, range(1, LARGE.frames + 1)))
    assert dicomweb.peak_memory() < BOUNDED

    before = read(dicomweb)
    requested = got(space, f"{LARGE.path}/frames/1234", "application/octet-stream")
    assert requested.read() == frame(1234)
    assert read(dicomweb) - before < 4 * FRAME


def test_a_gib_of_bulk_data_is_stored_in_small_memory(
    running_space: tuple[StorageSpace, ServiceProcess],
) -> None:
    space, dicomweb = running_space
    image = MultiFrame(LARGE.frames)
    output = image.data_set().to_json_dict()
    output["7FE00010"] = {"vr": "OW", "BulkDataURI": "pixels"}
    metadata = json.dumps([output]).encode()
    status, body = posted(
        space,
        "application/dicom+json",
        part([metadata], "Content-Type: application/dicom+json"),
        part(
            map(frame, range(1, image.frames + 1)),
            "Content-Type: application/octet-stream",
            "Content-Location: pixels",
        ),
    )
    assert status == 200, body
    requested = got(space, f"{image.path}/frames/2048", "application/octet-stream")
    assert requested.read() == frame(2048)
    assert dicomweb.peak_memory() < BOUNDED


def test_a_flood_of_headers_is_refused_and_the_service_stays(
    running_space: tuple[StorageSpace, ServiceProcess],
) -> None:
    space, dicomweb = running_space
    with ExitStack() as stack:
        for _ in range(20):
            address = ("127.0.0.1", space.dicomweb_port)
            peer = stack.enter_context(socket.create_connection(address, timeout=30))
            assert _flooded(peer).startswith(b"HTTP/1.1 4")
    assert got(space, "/studies", "application/dicom+json").status in (200, 204)
    assert dicomweb.readiness()[0] == 200
    assert dicomweb.peak_memory() < BOUNDED


def _flooded(peer: socket.socket) -> bytes:
    """Return the answer to a request of endless headers, to a client that reads while it writes."""
    peer.sendall(b"GET /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\n")
    for line in repeat(b"X-Header: " + b"x" * 1000 + b"\r\n", 10_000):
        if select([peer], [], [], 0)[0]:
            break
        peer.sendall(line)
    return peer.recv(1000)


def test_readers_that_read_nothing_are_left(
    running_space: tuple[StorageSpace, ServiceProcess],
) -> None:
    space, dicomweb = running_space
    posted(space, "application/dicom", part(LARGE.file(), "Content-Type: application/dicom"))
    request = f"GET /dicomweb{LARGE.path} HTTP/1.1\r\nHost: x\r\nAccept: application/dicom\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(40):
            peer = stack.enter_context(
                socket.create_connection(("127.0.0.1", space.dicomweb_port), timeout=30)
            )
            peer.sendall(request.encode())
        eventually(lambda: _left(dicomweb), lambda left: left >= 40)
        assert got(space, "/studies", "application/dicom+json").status == 200
    assert dicomweb.readiness()[0] == 200
    assert dicomweb.peak_memory() < BOUNDED + BOUNDED // 2


def _left(service: ServiceProcess) -> int:
    return sum(
        "A client was disconnected because it read too slowly" in line for line in service.lines()
    )
