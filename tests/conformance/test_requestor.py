"""Our requestor against DCMTK's storescp, pynetdicom and Orthanc, and against hostile acceptors."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID
from pynetdicom import AE, evt

from dimse_ingestion.upper_layer.associate_items import Roles
from dimse_ingestion.upper_layer.association_errors import (
    AssociationLost,
    AssociationRejected,
    PeerUnreachable,
)
from dimse_ingestion.upper_layer.requestor import RemoteAe, RequestorLimits, open_association
from dimse_ingestion.upper_layer.requestor_negotiation import ProposedContext
from harness import modalities, orthanc
from harness.modalities import Peer
from tests import acceptor_bytes, requestor_bytes
from tests.requestor_bytes import CT, EXPLICIT, IMPLICIT, VERIFICATION

needs_dcmtk = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())
needs_orthanc = pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing())

COMMITMENT = "1.2.840.10008.1.20.1"
CONTEXTS = (ProposedContext(VERIFICATION, (IMPLICIT,)), ProposedContext(CT, (EXPLICIT,)))
LIMITS = RequestorLimits(
    connect_timeout=5, association_timeout=0.5, response_timeout=0.5, release_timeout=0.5
)
FILE = Path(str(get_testdata_file("CT_small.dcm")))


def data_set_of(path: Path) -> bytes:
    """Return the bytes of a file's data set."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


def received(folder: Path) -> list[bytes]:
    """Return the data sets of the files in a folder."""
    return [data_set_of(file) for file in folder.iterdir()]


INSTANCE = str(dcmread(FILE, stop_before_pixels=True).SOPInstanceUID)
DATA_SET = data_set_of(FILE)


def remote(peer: Peer, **more: Any) -> RemoteAe:
    return RemoteAe(peer.called, peer.host, peer.port, **more)


async def chunks(content: bytes, length: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), length):
        yield content[start : start + length]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "received").mkdir()
    return tmp_path / "received"


async def stored(peer: RemoteAe, data_set: Any = None) -> int:
    """Store the file's instance and return the status."""
    limits = replace(LIMITS, association_timeout=10, response_timeout=10, release_timeout=10)
    async with open_association(peer, "PROXY", CONTEXTS, limits=limits) as association:
        context = association.context(CT)
        assert context is not None
        response = await association.store(context, INSTANCE, data_set or chunks(DATA_SET))
        return response.status


# DCMTK


@needs_dcmtk
async def test_storescp_answers_an_echo_and_stores_the_same_bytes(folder: Path) -> None:
    with modalities.storescp(folder, "--bit-preserving") as peer:
        async with open_association(remote(peer), "PROXY", CONTEXTS) as association:
            assert (await association.echo()).status == 0
            context = association.context(CT, EXPLICIT)
            assert context is not None
            for _ in range(3):
                response = await association.store(context, INSTANCE, chunks(DATA_SET))
                assert response.status == 0
    assert received(folder) == [DATA_SET]


@needs_dcmtk
async def test_storescp_that_refuses(folder: Path) -> None:
    with modalities.storescp(folder, "--refuse") as peer, pytest.raises(AssociationRejected):
        await stored(remote(peer))
    assert not received(folder)


@needs_dcmtk
@pytest.mark.parametrize("option", ["--abort-during", "--abort-after"])
async def test_storescp_that_aborts(option: str, folder: Path) -> None:
    with modalities.storescp(folder, option) as peer, pytest.raises(AssociationLost):
        await stored(remote(peer))


@needs_dcmtk
async def test_a_wrong_digest_stores_nothing(folder: Path) -> None:
    async def source() -> AsyncIterator[bytes]:
        digest = hashlib.sha256()
        async for chunk in chunks(DATA_SET):
            digest.update(chunk)
            yield chunk
        raise ValueError(f"not {digest.hexdigest()}")

    with modalities.storescp(folder) as peer:
        with pytest.raises(ValueError, match="not "):
            await stored(remote(peer), source())
        assert (await modalities.echoscu(peer)).status == 0
    assert DATA_SET not in received(folder)


@needs_dcmtk
async def test_storescp_that_answers_late_is_waited_for(folder: Path) -> None:
    with modalities.storescp(folder, "--sleep-after", "1") as peer:
        assert await stored(remote(peer)) == 0


class Certificates:
    """A CA with a certificate of 127.0.0.1, as files."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA(key_type=trustme.KeyType.RSA)
        leaf = self.authority.issue_cert("127.0.0.1", "localhost", key_type=trustme.KeyType.RSA)
        self.key, self.chain, self.ca = folder / "key.pem", folder / "chain.pem", folder / "ca.pem"
        leaf.private_key_pem.write_to_path(self.key)
        leaf.cert_chain_pems[0].write_to_path(self.chain)
        self.authority.cert_pem.write_to_path(self.ca)

    def client(self, authority: trustme.CA | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        (authority or self.authority).configure_trust(context)
        context.load_cert_chain(self.chain, self.key)
        return context


@needs_dcmtk
async def test_storescp_over_tls_with_both_certificates(folder: Path, tmp_path: Path) -> None:
    files = Certificates(tmp_path)
    options = ["--bit-preserving", "+tls", str(files.key), str(files.chain), "+cf", str(files.ca)]
    with modalities.storescp(folder, *options) as peer:
        assert await stored(remote(peer, tls=files.client())) == 0
        stranger = remote(peer, tls=files.client(trustme.CA()))
        with pytest.raises(PeerUnreachable, match=r"TLS handshake .* failed"):
            await stored(stranger)
        other_name = remote(peer, tls=files.client(), tls_server_name="ct1.example.org")
        with pytest.raises(PeerUnreachable, match=r"TLS handshake .* failed"):
            await stored(other_name)
        with pytest.raises(PeerUnreachable):
            await stored(remote(peer))
    assert received(folder) == [DATA_SET]


# Orthanc


@needs_orthanc
async def test_orthanc_stores_the_same_bytes(tmp_path: Path) -> None:
    with orthanc.running_orthanc(tmp_path / "orthanc") as other:
        assert await stored(remote(other.peer)) == 0
        (instance,) = other.get("/instances")
        (tmp_path / "stored.dcm").write_bytes(other.file(instance))
    assert data_set_of(tmp_path / "stored.dcm") == DATA_SET


# pynetdicom


@asynccontextmanager
async def served(ae: AE, handlers: list[Any]) -> AsyncIterator[RemoteAe]:
    server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield RemoteAe("OTHER", "127.0.0.1", server.socket.getsockname()[1])
    finally:
        await asyncio.to_thread(server.shutdown)


async def test_pynetdicom_reads_move_originator_priority_and_titles() -> None:
    seen: list[Any] = []

    def store(event: Any) -> int:
        request = event.request
        seen.append((request.MoveOriginatorApplicationEntityTitle, request.Priority))
        seen.append((request.MoveOriginatorMessageID, event.assoc.requestor.ae_title))
        seen.append((event.request.DataSet.getvalue(), str(request.AffectedSOPInstanceUID)))
        return 0xB000

    ae = AE("OTHER")
    ae.add_supported_context(CT, EXPLICIT)
    async with (
        served(ae, [(evt.EVT_C_STORE, store)]) as peer,
        open_association(peer, "PROXY", CONTEXTS) as association,
    ):
        assert association.context(VERIFICATION) is None
        context = association.context(CT)
        assert context is not None
        response = await association.store(
            context, INSTANCE, chunks(DATA_SET), priority=2, move_originator=("WS1", 77)
        )
    assert response.status == 0xB000
    assert seen == [("WS1", 2), (77, "PROXY"), (DATA_SET, INSTANCE)]


async def test_pynetdicom_takes_an_event_report_as_scu_of_storage_commitment() -> None:
    seen: list[Any] = []

    def report(event: Any) -> tuple[int, None]:
        seen.append((event.request.EventTypeID, event.event_information.TransactionUID))
        seen.append(str(event.request.AffectedSOPInstanceUID))
        return 0, None

    ae = AE("OTHER")
    ae.add_supported_context(COMMITMENT, IMPLICIT, scu_role=False, scp_role=True)
    transaction = b"\x08\0\x95\x11\x06\0\0\0" + b"1.2.3\0"
    async with (
        served(ae, [(evt.EVT_N_EVENT_REPORT, report)]) as peer,
        open_association(
            peer,
            "PROXY",
            [ProposedContext(COMMITMENT, (IMPLICIT,))],
            roles={COMMITMENT: Roles(scu=False, scp=True)},
        ) as association,
    ):
        assert association.roles(COMMITMENT) == Roles(scu=False, scp=True)
        context = association.context(COMMITMENT)
        assert context is not None
        response = await association.event_report(context, "1.2.840.10008.1.20.1.1", 1, transaction)
    assert response.status == 0
    assert seen == [(1, UID("1.2.3")), "1.2.840.10008.1.20.1.1"]


# hostile acceptors

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
AC = acceptor_bytes.associate_ac({1: (0, IMPLICIT), 3: (0, EXPLICIT)})


@asynccontextmanager
async def hostile(script: Script) -> AsyncIterator[RemoteAe]:
    """Run an acceptor that does what the script says, until the requestor closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield RemoteAe("HOSTILE", "127.0.0.1", server.sockets[0].getsockname()[1])


def answers(*pieces: bytes) -> Script:
    """Return a script: each piece is sent after something was received."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            await reader.read(65536)
            writer.write(piece)

    return script


async def echoed(peer: RemoteAe) -> int:
    async with open_association(peer, "PROXY", CONTEXTS, limits=LIMITS) as association:
        return (await association.echo()).status


def echo_response(message_id: int, context_id: int = 1) -> bytes:
    content = acceptor_bytes.response(0x0030, message_id)
    return requestor_bytes.message(content, context_id=context_id)


NO_ANSWERS = {
    "silence": ((), "did not answer the association request within 0.5 s"),
    "half a PDU": ((b"\x02\0\0\0\x10",), "did not answer the association request within"),
    "huge": ((b"\x02\0\xff\xff\xff\xff",), "has length 4294967295"),
    "http": ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "none of DICOM's"),
    "no version": ((b"\x02\0\0\0\0\x01x",), "can't be read"),
}


@pytest.mark.parametrize(("pieces", "sentence"), NO_ANSWERS.values(), ids=NO_ANSWERS)
async def test_no_answer_to_the_association_request(
    pieces: tuple[bytes, ...], sentence: str
) -> None:
    async with hostile(answers(*pieces)) as peer:
        with pytest.raises(PeerUnreachable, match=sentence):
            await echoed(peer)


WRONG_RESPONSES = {
    "silence": ((AC,), "did not answer message 1"),
    "another message": ((AC, echo_response(9)), "message 9, which waits for none"),
    "another context": ((AC, echo_response(1, 3)), "in context 3"),
    "no context": ((AC, echo_response(1, 99)), "context 99 was not accepted"),
    "huge": ((AC, b"\x04\0\xff\xff\xff\xff\xff\xff\xff\xff\1\3"), "has length 4294967295"),
    "half": ((AC, echo_response(1)[:-4]), "did not answer message 1"),
    "garbage": ((AC, b"\xee" * 100), "none of DICOM's"),
    "abort": ((AC, requestor_bytes.abort()), "A-ABORT by its user"),
    "release": ((AC, requestor_bytes.release_rq()), "released the association"),
}


@pytest.mark.parametrize(("pieces", "sentence"), WRONG_RESPONSES.values(), ids=WRONG_RESPONSES)
async def test_no_response_or_a_wrong_one(pieces: tuple[bytes, ...], sentence: str) -> None:
    async with hostile(answers(*pieces)) as peer:
        with pytest.raises(AssociationLost, match=sentence):
            await echoed(peer)


async def test_an_endless_data_set_in_a_response_ends_with_the_time() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(AC)
        await reader.read(65536)
        writer.write(
            requestor_bytes.message(acceptor_bytes.response(0x30, 1, CommandDataSetType=1))
        )
        while True:
            writer.write(requestor_bytes.p_data((1, 0, bytes(10000))))
            await writer.drain()

    async with hostile(script) as peer:
        with pytest.raises(AssociationLost, match="did not answer message 1"):
            await echoed(peer)


async def test_a_peer_that_never_reads_ends_with_the_time() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(AC)
        await asyncio.sleep(60)

    limits = replace(LIMITS, write_timeout=0.3)
    async with (
        hostile(script) as peer,
        open_association(peer, "PROXY", CONTEXTS, limits=limits) as association,
    ):
        context = association.context(CT)
        assert context is not None
        with pytest.raises(AssociationLost, match=r"^HOSTILE read nothing for 0.3 s"):
            await association.store(context, INSTANCE, chunks(bytes(2**26), 2**20))


async def test_a_peer_that_never_releases_is_left() -> None:
    async with hostile(answers(AC, echo_response(1))) as peer:
        assert await echoed(peer) == 0


async def test_a_port_that_nobody_listens_at() -> None:
    async with hostile(answers()) as peer:
        pass
    with pytest.raises(PeerUnreachable, match=r"HOSTILE at 127.0.0.1:.* is not reached"):
        await echoed(peer)


async def test_a_name_that_is_not_known() -> None:
    with pytest.raises(PeerUnreachable, match="is not reached"):
        await echoed(RemoteAe("OTHER", "no-such-host.invalid", 104))


async def test_a_peer_without_tls_where_tls_is_expected() -> None:
    tls = ssl.create_default_context()
    async with hostile(answers(AC)) as peer:
        with pytest.raises(PeerUnreachable):
            await echoed(replace(peer, tls=tls))
