"""An audit record repository for tests: syslog over TLS (RFC 5425) or UDP, read strictly.

Each message must have a header of RFC 5424 as PS3.15 A.6 profiles it, and content that the schema
of PS3.15 A.5.1.1 accepts; what is wrong is raised by `Repository.wait_for`.
"""

import re
import socket
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import trustme

_HEADER = re.compile(
    rb"<(?P<priority>84|85)>1 "
    rb"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) "
    rb"(?P<host>[!-~]{1,255}) (?P<application>[!-~]{1,48}) (?P<process>[!-~]{1,128}) "
    rb"DICOM\+RFC3881 - \xef\xbb\xbf"
)
_LENGTH = re.compile(rb"([1-9][0-9]{0,9}) ")  # MSG-LEN of RFC 5425
_LONGEST_TO_TAKE = 32_768  # octets, which a repository takes at least (PS3.15 A.6)


@dataclass(frozen=True)
class Received:
    """A message: its syslog header's parts, and its XML as an element of lxml."""

    priority: int
    application: str
    process_id: int
    xml: Any

    @property
    def event(self) -> str:
        """The meaning of its Event ID."""
        return str(self.xml.find("EventIdentification/EventID").get("originalText"))

    @property
    def type(self) -> str:
        """The meaning of its Event Type Code, or an empty string."""
        found = self.xml.find("EventIdentification/EventTypeCode")
        return "" if found is None else str(found.get("originalText"))

    def event_attribute(self, name: str) -> str:
        """An attribute of the event, as ActionCode, DateTime or OutcomeIndicator."""
        return str(self.xml.find("EventIdentification").get(f"Event{name}"))

    @property
    def participants(self) -> list[tuple[str, str, bool]]:
        """User ID, role's code and whether it is the requestor, of each active participant."""
        found = []
        for each in self.xml.findall("ActiveParticipant"):
            role = each.find("RoleIDCode")
            code = "" if role is None else role.get("csd-code")
            found.append((each.get("UserID"), code, each.get("UserIsRequestor") == "true"))
        return found

    def object(self, id_type: str) -> Any:
        """The participant object whose ID type has this code."""
        for each in self.xml.findall("ParticipantObjectIdentification"):
            if each.find("ParticipantObjectIDTypeCode").get("csd-code") == id_type:
                return each
        raise LookupError(id_type)

    @property
    def study(self) -> str:
        """The Study Instance UID."""
        return str(self.object("110180").get("ParticipantObjectID"))

    @property
    def patient(self) -> tuple[str, str]:
        """The patient's ID and name."""
        found = self.object("2")
        return found.get("ParticipantObjectID"), found.findtext("ParticipantObjectName") or ""

    @property
    def sop_classes(self) -> dict[str, int]:
        """The number of instances by SOP class."""
        found = self.object("110180").findall("ParticipantObjectDescription/SOPClass")
        return {each.get("UID"): int(each.get("NumberOfInstances")) for each in found}

    def detail(self, id_type: str, name: str) -> bytes:
        """A detail of an object, decoded."""
        for each in self.object(id_type).findall("ParticipantObjectDetail"):
            if each.get("type") == name:
                return b64decode(each.get("value"))
        raise LookupError(name)


def parse(message: bytes) -> Received:
    """Parse one syslog message. Raises AssertionError, DocumentInvalid for a wrong one."""
    assert len(message) <= _LONGEST_TO_TAKE, len(message)
    header = _HEADER.match(message)
    assert header, message[:120]
    return Received(
        int(header["priority"]),
        header["application"].decode(),
        int(header["process"]),
        check_xml(message[header.end() :]),
    )


def check_xml(content: bytes) -> Any:
    """Return the parsed XML of a message that the schema accepts."""
    from lxml import etree

    document = etree.fromstring(content)
    _schema().assertValid(document)
    return document


@cache
def _schema() -> Any:
    from lxml import etree

    return etree.RelaxNG(etree.parse(Path(__file__).with_name("audit_message.rng")))


class Repository:
    """What was received so far; `address` is that of the setting DIMSE_AUDIT_REPOSITORY.

    `is_reached` is set by a TCP connection, `connections` counts those whose TLS handshake ended
    well: a client that closes at once may end its own before the repository does.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.messages: list[Received] = []
        self.mistakes: list[BaseException] = []
        self.is_reached = threading.Event()
        self.connections = 0
        self.client_certificates: list[dict[str, Any]] = []
        self.hangs_up_at = b""
        """Bytes of a message at which the connection is closed, so that it is not taken."""
        self._changed = threading.Condition()

    def take(self, message: bytes) -> None:
        """Parse and keep one message."""
        with self._changed:
            try:
                self.messages.append(parse(message))
            except Exception as mistake:  # noqa: BLE001 - raised where the test waits
                self.mistakes.append(mistake)
            self._changed.notify_all()

    def wait_for(
        self, wanted: Callable[[Received], bool], number: int = 1, longest: float = 30.0
    ) -> list[Received]:
        """Wait for so many messages that are wanted, and return them."""
        with self._changed:

            def found() -> list[Received]:
                return [each for each in self.messages if wanted(each)]

            self._changed.wait_for(lambda: self.mistakes or len(found()) >= number, longest)
            if self.mistakes:
                raise self.mistakes[0]
            assert len(found()) >= number, [(each.event, each.type) for each in self.messages]
            return found()

    def wait_for_event(self, event: str, number: int = 1, longest: float = 30.0) -> list[Received]:
        """Wait for so many messages of an event."""
        return self.wait_for(lambda each: each.event == event, number, longest)


class TlsServer:
    """A receiver at a port that it may leave and take again."""

    def __init__(self, context: ssl.SSLContext, port: int = 0) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.repository = Repository(f"tls://localhost:{self.port}")
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Stop listening, and cut all connections."""
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.repository.is_reached.set()
            thread = threading.Thread(target=self._serve, args=(plain,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        self._open.add(plain)
        with suppress(OSError):
            connection = self._context.wrap_socket(plain, server_side=True)
            self._open.add(connection)
            self.repository.connections += 1
            certificate = connection.getpeercert()
            if certificate:
                self.repository.client_certificates.append(certificate)
            self._read(connection)

    def _read(self, connection: ssl.SSLSocket) -> None:
        buffer = b""
        while received := connection.recv(65536):
            buffer += received
            while (header := _LENGTH.match(buffer)) is not None:
                end = header.end() + int(header[1])
                if len(buffer) < end:
                    break
                message = buffer[header.end() : end]
                if self.repository.hangs_up_at and self.repository.hangs_up_at in message:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                self.repository.take(message)
                buffer = buffer[end:]
            if buffer and not re.match(rb"[1-9][0-9]{0,9}( |$)", buffer):
                self.repository.mistakes.append(AssertionError(f"no frame: {buffer[:40]!r}"))
                return


@dataclass(frozen=True)
class Certificates:
    """A CA of its own, with the repository's context; the paths are for a client's settings."""

    server: ssl.SSLContext
    authority: Path
    client_certificate: Path
    client_key: Path


def certificates(folder: Path, *, requires_client: bool = False) -> Certificates:
    """Create certificates in a folder."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.minimum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert("localhost").configure_cert(server)
    if requires_client:
        authority.configure_trust(server)
        server.verify_mode = ssl.CERT_REQUIRED
    client = authority.issue_cert("proxy.hospital.example")
    paths = folder / "audit-ca.pem", folder / "audit-client.pem", folder / "audit-client.key"
    authority.cert_pem.write_to_path(paths[0])
    client.cert_chain_pems[0].write_to_path(paths[1])
    client.private_key_pem.write_to_path(paths[2])
    return Certificates(server, *paths)


@contextmanager
def tls_repository(context: ssl.SSLContext, port: int = 0) -> Iterator[Repository]:
    """Run a repository behind TLS within the block."""
    server = TlsServer(context, port)
    try:
        yield server.repository
    finally:
        server.close()


@contextmanager
def udp_repository() -> Iterator[Repository]:
    """Run a repository at a UDP port within the block."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        repository = Repository(f"udp://127.0.0.1:{receiver.getsockname()[1]}")
        thread = threading.Thread(target=_receive, args=(receiver, repository), daemon=True)
        thread.start()
        try:
            yield repository
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(b"", receiver.getsockname())
            thread.join(10)


def _receive(receiver: socket.socket, repository: Repository) -> None:
    while message := receiver.recv(65536):
        repository.take(message)
