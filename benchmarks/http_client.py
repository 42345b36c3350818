"""DICOMweb requests on one kept-alive connection, timed to the first byte and to the last."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection

from benchmarks.samples import Outcome

_PIECE = 1 << 20
_BOUNDARY = "benchmark-boundary"
_LONGEST_IDLE = 0.5
_SUCCESS = (200, 202)


@dataclass(frozen=True)
class Answer:
    """An answer that was read to its end."""

    first: float
    last: float
    body: bytes


@dataclass(frozen=True)
class Target:
    """A DICOMweb service."""

    port: int
    root: str


class Client:
    """A connection to a DICOMweb service."""

    def __init__(self, target: Target) -> None:
        self._root = target.root
        self._connection = HTTPConnection("127.0.0.1", target.port, timeout=600)
        self._used = 0.0

    def get(self, path: str, accept: str) -> Answer:
        """Send a GET."""
        return self._request("GET", path, {"Accept": accept})

    def store(self, files: Iterable[Iterable[bytes]], length: int | None = None) -> Answer:
        """Send Part-10 files in one STOW-RS request; chunked unless its length is known."""
        content_type = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY}'
        headers = {"Content-Type": content_type, "Accept": "application/dicom+json"}
        if length is not None:
            headers["Content-Length"] = str(length)
        return self._request("POST", "/studies", headers, _parts(files), chunked=length is None)

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Iterable[bytes] | None = None,
        *,
        chunked: bool = False,
    ) -> Answer:
        self._reconnect_if_idle()
        started = time.perf_counter()
        self._connection.request(
            method, self._root + path, body, dict(headers), encode_chunked=chunked
        )
        response = self._connection.getresponse()
        pieces = [response.read1(_PIECE)]
        first = time.perf_counter() - started
        while pieces[-1]:
            pieces.append(response.read1(_PIECE))
        last = time.perf_counter() - started
        response.read()  # `read1` leaves an empty rest, and with it the connection in use
        self._used = time.perf_counter()
        content = b"".join(pieces)
        if response.status not in _SUCCESS:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:300]!r}")
        return Answer(first, last, content)

    def _reconnect_if_idle(self) -> None:
        """Open a new connection when the server may have closed this one (Orthanc does after 1 s).

        Outside of what is timed.
        """
        if time.perf_counter() - self._used > _LONGEST_IDLE:
            self._connection.close()
            self._connection.connect()


def _parts(files: Iterable[Iterable[bytes]]) -> Iterable[bytes]:
    for file in files:
        yield f"--{_BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        yield from file
        yield b"\r\n"
    yield f"--{_BOUNDARY}--\r\n".encode()


def store_length(lengths: Sequence[int]) -> int:
    """Return the length of the body of a STOW-RS request for files of these lengths."""
    return sum(map(len, _parts([[] for _ in lengths]))) + sum(lengths)


def repeat(count: int, request: Callable[[int], Answer], octets: int | None = None) -> Outcome:
    """Send so many requests one after another; `octets` of each, its answer's if None.

    What the client does between requests, such as reading JSON, is not counted.
    """
    cpu = time.process_time()
    answers = [request(number) for number in range(count)]
    return Outcome(
        operations=count,
        octets=sum(len(each.body) for each in answers) if octets is None else count * octets,
        seconds=sum(each.last for each in answers),
        latencies=[each.last for each in answers],
        first=[each.first for each in answers],
        cpu={"client": time.process_time() - cpu},
    )
