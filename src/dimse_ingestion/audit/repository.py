"""The audit record repository: it gets syslog messages over TLS (RFC 5425) or UDP (RFC 5426).

Syslog has no answer, so a batch counts as sent when the repository's kernel has acknowledged all of
its bytes and the connection outlives that for a moment; with UDP, when no ICMP error comes back.
All methods block, and belong to one thread at a time.
"""

import fcntl
import select
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from dimse_ingestion.audit.syslog import frame
from dimse_ingestion.failures import Unavailable
from dimse_ingestion.settings.audit import AuditSettings, RepositoryAddress

_CONNECT_TIMEOUT = 5.0  # seconds
_TIMEOUT = 15.0  # seconds for the acknowledgement of a batch
_LINGER = 0.2
"""Seconds for which a connection must outlive the acknowledgement of its last byte."""
_POLL = 0.02
_LARGEST_DATAGRAM = 65_507  # bytes over IPv4
_CIPHERS_OF_TLS_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"  # RFC 9325 4.2


class NotSent(Unavailable):
    """A batch, or a part of it, may not have arrived: send all of it again.

    `was_reached` is True if a connection was open and the batch, or a part of it, was sent.
    """

    was_reached = False


class Repository(Protocol):
    """A repository; the connection is opened when it is needed."""

    batch: int
    """The most messages that one call may send."""

    def connect(self) -> None:
        """Open the connection unless it is open. Raises NotSent."""

    def send(self, messages: Sequence[bytes]) -> None:
        """Send messages in order. Raises NotSent."""

    def abort(self) -> None:
        """Have a call that waits for the repository fail soon; the only method for any thread."""

    def close(self) -> None:
        """Close the connection; harmless if repeated."""


def repository(settings: AuditSettings) -> Repository:
    """Return the repository of settings that have one."""
    address = settings.audit_repository
    if address is None:
        raise ValueError("There is no audit repository.")
    return _Udp(address) if address.is_udp else _Tls(address, settings)


class _Tls:
    batch = 256

    def __init__(self, address: RepositoryAddress, settings: AuditSettings) -> None:
        self._address = address
        self._settings = settings
        self._socket: ssl.SSLSocket | None = None

    def connect(self) -> None:
        """See `Repository`. Certificates are read again for each connection."""
        if self._socket is not None and not _is_closed_by_peer(self._socket):
            return
        self.close()
        host, port = self._address.host, self._address.port
        try:
            context = _context(self._settings)
            plain = socket.create_connection((host, port), _CONNECT_TIMEOUT)
        except OSError as error:
            raise _not_sent(error) from None
        try:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._socket = context.wrap_socket(plain, server_hostname=host)
        except OSError as error:
            plain.close()
            raise _not_sent(error) from None

    def send(self, messages: Sequence[bytes]) -> None:
        """See `Repository`."""
        self.connect()
        connection = self._socket
        if connection is None:
            raise NotSent("There is no connection.")
        try:
            connection.settimeout(_TIMEOUT)
            connection.sendall(b"".join(map(frame, messages)))
            _wait_until_acknowledged(connection)
        except OSError as error:
            self.close()
            failure = _not_sent(error)
            failure.was_reached = True
            raise failure from None

    def abort(self) -> None:
        """See `Repository`."""
        if (connection := self._socket) is not None:
            with suppress(OSError, ValueError):  # it is closed meanwhile
                if _unacknowledged(connection):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def close(self) -> None:
        """See `Repository`; a close_notify is sent first (RFC 5425 4.4)."""
        connection, self._socket = self._socket, None
        if connection is None:
            return
        with suppress(OSError, ValueError):
            connection.settimeout(0)
            connection.unwrap()
        connection.close()


class _Udp:
    batch = 16  # so many fit the receiver's buffer: nobody says when it is full

    def __init__(self, address: RepositoryAddress) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def connect(self) -> None:
        """See `Repository`; with UDP only the name is resolved."""
        if self._socket is not None:
            return
        try:
            found = socket.getaddrinfo(
                self._address.host, self._address.port, type=socket.SOCK_DGRAM
            )
            family, kind, protocol, _, target = found[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.connect(target)
        except OSError as error:
            self.close()
            raise _not_sent(error) from None

    def send(self, messages: Sequence[bytes]) -> None:
        """See `Repository`; a message that is too long for a datagram is cut (RFC 5426 3.2)."""
        self.connect()
        connection = self._socket
        if connection is None:
            raise NotSent("There is no socket.")
        try:
            for message in messages:
                connection.send(message[:_LARGEST_DATAGRAM])
            select.select([connection], [], [], _LINGER)
            _check_error(connection)
        except OSError as error:
            self.close()
            raise _not_sent(error) from None

    def abort(self) -> None:
        """See `Repository`; with UDP nothing waits for long."""

    def close(self) -> None:
        """See `Repository`."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()


def _context(settings: AuditSettings) -> ssl.SSLContext:
    """Return the TLS context. Raises OSError for files that can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS_OF_TLS_1_2)
    if (authority := settings.audit_ca_path) is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        load = partial(context.load_verify_locations, authority)
        _load(load, "DIMSE_AUDIT_CA_PATH", authority)
    certificate, key = settings.audit_certificate_path, settings.audit_key_path
    if certificate is not None and key is not None:
        load = partial(context.load_cert_chain, certificate, key)
        _load(load, "DIMSE_AUDIT_CERTIFICATE_PATH", certificate)
    return context


def _load(load: Callable[[], None], variable: str, path: Path) -> None:
    try:
        load()
    except OSError as error:
        reason = f"{variable}: {path} can't be used: {_reason(error)}"
        raise OSError(error.errno, reason) from None


def _is_closed_by_peer(connection: ssl.SSLSocket) -> bool:
    """Return whether the peer has closed; reads and drops what it has sent, as syslog has none."""
    connection.settimeout(0)
    try:
        while connection.recv(4096):
            pass
    except (ssl.SSLWantReadError, BlockingIOError):
        return False
    except OSError:
        return True
    return True


def _wait_until_acknowledged(connection: ssl.SSLSocket) -> None:
    """Wait until nothing is unacknowledged, and the connection has lasted. Raises OSError."""
    now = time.monotonic()
    earliest, latest = now + _LINGER, now + _TIMEOUT
    while True:
        if _is_closed_by_peer(connection):
            raise ConnectionResetError("the repository closed the connection")
        now = time.monotonic()
        waiting = _unacknowledged(connection)
        if not waiting and now >= earliest:
            return
        if now >= latest:
            raise TimeoutError(f"{waiting} bytes are not acknowledged after {_TIMEOUT:g} s")
        if waiting:
            earliest = now + _LINGER
        select.select([connection], [], [], _POLL if waiting else earliest - now)


def _unacknowledged(connection: socket.socket) -> int:
    """Return the bytes that the peer's kernel has not acknowledged (Linux, tcp(7) SIOCOUTQ)."""
    answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return int(struct.unpack("i", answer)[0])


def _check_error(connection: socket.socket) -> None:
    """Raise OSError if an ICMP message has said that a datagram did not arrive."""
    if number := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(number, "nothing listens there")


def _not_sent(error: OSError) -> NotSent:
    return NotSent(_reason(error))


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError):
        return str(error) or "no answer"
    return error.strerror or str(error) or type(error).__name__
