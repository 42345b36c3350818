"""Requests for an HTTP service: recorded ones, changed in target, headers, body or as bytes."""

import random
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http.client import HTTPException, HTTPResponse

from tests.fuzz.mutation import UNCHANGED, mutate

_PATIENCE = 1.0
_LARGEST = 2**20
_ENOUGH = 64 * 1024
_METHODS = (
    *(b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE"),
    *(b"get", b"X" * 300),
)
_HEADERS = (
    *(b"Accept: */*;q=nan", b"Accept: multipart/related; type=", b"Accept: image/jpeg, ,;"),
    *(b'Accept: multipart/related; type="application/dicom"; transfer-syntax=*', b"Accept:"),
    *(b"Range: bytes=0-", b"Range: bytes=99999999999999999999-", b"Range: bytes=-0,1-2,3-"),
    *(b"If-None-Match: *", b"If-Modified-Since: yesterday", b"Accept-Encoding: gzip;q=x"),
    *(b"Accept-Charset: utf-7", b"Content-Type: multipart/related; boundary="),
    *(b"Content-Type: text/plain; x*=a; x*0=b", b"Content-Type: \xff/\xff"),
    b"Content-Type: application/dicom+json; charset=utf-16",
    b'Content-Type: multipart/related; type="application/dicom"; boundary="\xe4"',
    *(b"Content-Encoding: gzip", b"Transfer-Encoding: chunked", b"Expect: 100-continue"),
    *(b"Host:", b"Host: a, b", b"Forwarded: for=\xff", b"X-Forwarded-Proto: javascript"),
    *(b"ce-specversion: 9.9", b"ce-id: ", b"ce-type: x", b"Authorization: Bearer \xff.e30."),
    *(b"Cookie: a", b"A" * 9000),
)
WORDS = (
    *(b"%00", b"%ff", b"%2e%2e%2f", b"/..", b"//", b"?", b"&", b"=", b"%", b"+", b"#", b";"),
    *(b"\r\n", b"\n\n--", b"null", b"true", b"-1", b"0", b"1e999", b"99999999999999999999"),
    *(b'""', b"[]", b"{}", b"NaN", b"[" * 200, b'{"a":' * 200, b'"\\ud800"', b'"\\u0000"'),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"*" * 300, b"limit=-1", b"offset=99999999999999999999"),
    *(b"includefield=all", b"fuzzymatching=true", b"PatientName=*^*^*", b"00100010=%5c"),
    *(b"StudyDate=20200101-", b"quality=0", b"window=1,0,x", b"viewport=0,0", b"/frames/0"),
    *(b"/frames/1,1,99999", b"/rendered", b"/thumbnail", b"/metadata"),
    *(b'<Item number="1000000"/>', b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"</NativeDicomModel>"),
    *(b'"vr":"SQ"', b'"BulkDataURI":"file:///etc/passwd"', b'"InlineBinary":"="'),
    *(b'"Value":[null]', b"{}," * 20_000, b"--fuzz\r\n\r\n\r\n" * 5000),
)


@dataclass(frozen=True)
class Request:
    """A request in its parts; `head` are lines of headers without Content-Length."""

    line: bytes
    head: tuple[bytes, ...]
    body: bytes

    @property
    def wire(self) -> bytes:
        """Return the request as it is sent, with its right length."""
        length = [b"Content-Length: %d" % len(self.body)] if self.body else []
        return b"\r\n".join([self.line, *self.head, *length, b"", self.body])


@dataclass(frozen=True)
class Answer:
    """The status, 0 when none came in time, and what came with it."""

    status: int
    content: bytes


def parsed(raw: bytes) -> Request:
    """Return a recorded request in its parts."""
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    output = [each for each in headers if not each.lower().startswith(b"content-length:")]
    return Request(line, tuple(output), body)


def changed(choices: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Return one recorded request with changes of one kind, or now and then as it is."""
    request = parsed(choices.choice(corpus))
    if choices.random() < UNCHANGED:
        return request.wire
    kinds = [_bytes, _target, _target, _header, _header, _method]
    kinds += [_body] * 5 if request.body else []
    return choices.choice(kinds)(choices, request)


def _bytes(choices: random.Random, request: Request) -> bytes:
    return mutate(choices, request.wire, WORDS)[:_LARGEST]


def _target(choices: random.Random, request: Request) -> bytes:
    method, _, rest = request.line.partition(b" ")
    target, _, version = rest.rpartition(b" ")
    new = mutate(choices, target, WORDS).translate(None, b" \r\n")
    return replace(request, line=b" ".join([method, new or b"/", version])).wire


def _method(choices: random.Random, request: Request) -> bytes:
    _, _, rest = request.line.partition(b" ")
    return replace(request, line=choices.choice(_METHODS) + b" " + rest).wire


def _header(choices: random.Random, request: Request) -> bytes:
    head = [*request.head]
    if choices.random() < 0.5:
        at = choices.randrange(len(head))
        head[at] = mutate(choices, head[at], WORDS).translate(None, b"\r\n")
    else:
        head.insert(choices.randint(0, len(head)), choices.choice(_HEADERS))
    return replace(request, head=tuple(head)).wire


def _body(choices: random.Random, request: Request) -> bytes:
    return replace(request, body=mutate(choices, request.body, WORDS)[:_LARGEST]).wire


def play(address: tuple[str, int], wire: bytes) -> Answer:
    """Send a request and return its answer, of which a beginning is enough."""
    status, content = 0, b""
    with socket.create_connection(address, timeout=10) as peer:
        peer.settimeout(_PATIENCE)
        with suppress(OSError):  # an answer may have come before the request was over
            peer.sendall(wire)
        with suppress(OSError, HTTPException, ValueError):
            answer = HTTPResponse(peer, method="HEAD" if wire.startswith(b"HEAD ") else "GET")
            answer.begin()
            status, content = answer.status, str(answer.headers).encode()
            content += answer.read(_ENOUGH)
    return Answer(status, content)
