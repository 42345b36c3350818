"""DCMTK's tools and pynetdicom as strangers, against the acceptor with a service that keeps all."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
import trustme
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID
from pynetdicom import AE, _config
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)

from dimse_ingestion.dicom.status import Status
from dimse_ingestion.upper_layer.acceptor import listener
from dimse_ingestion.upper_layer.limits import UpperLayerLimits
from dimse_ingestion.upper_layer.services import Message
from harness import modalities
from harness.modalities import Peer
from tests.recording_services import MemorySink, RecordingServices

needs_dcmtk = pytest.mark.skipif(bool(modalities.missing()), reason=modalities.missing())

PRIVATE = "1.3.46.670589.5.0.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
JPEG = "1.2.840.10008.1.2.4."

PROPOSALS = {
    "-x=": ("CT_small.dcm", EXPLICIT),
    "-xe": ("CT_small.dcm", EXPLICIT),
    "-xb": ("MR_small_bigendian.dcm", BIG_ENDIAN),
    "-xi": ("MR_small_implicit.dcm", IMPLICIT),
    "-xs": ("JPEG-LL.dcm", JPEG + "70"),
    "-xy": ("SC_rgb_jpeg_dcmtk.dcm", JPEG + "50"),
    "-xx": ("JPEG-lossy.dcm", JPEG + "51"),
    "-xv": ("MR_small_jp2klossless.dcm", JPEG + "90"),
    "-xw": ("JPEG2000.dcm", JPEG + "91"),
    "-xt": ("MR_small_jpeg_ls_lossless.dcm", JPEG + "80"),
    "-xu": ("JPEG-lossy.dcm", JPEG + "81"),
    "-xm": ("JPEG-lossy.dcm", JPEG + "100"),
    "-xh": ("JPEG-lossy.dcm", JPEG + "101"),
    "-xn": ("JPEG-lossy.dcm", JPEG + "102"),
    "-xl": ("JPEG-lossy.dcm", JPEG + "103"),
    "-x2": ("JPEG-lossy.dcm", JPEG + "104"),
    "-x3": ("JPEG-lossy.dcm", JPEG + "105"),
    "-xo": ("JPEG-lossy.dcm", JPEG + "106"),
    "-x4": ("JPEG-lossy.dcm", JPEG + "107"),
    "-x5": ("JPEG-lossy.dcm", JPEG + "108"),
    "-xr": ("MR_small_RLE.dcm", "1.2.840.10008.1.2.5"),
    "-xd": ("image_dfl.dcm", DEFLATED),
}


@dataclass
class Acceptor:
    """One acceptor and its recorded requests."""

    services: RecordingServices
    peer: Peer


@pytest.fixture
async def acceptor() -> AsyncIterator[Acceptor]:
    services = RecordingServices()
    async with listener(services, "127.0.0.1", 0) as (host, port):
        yield Acceptor(services, Peer(host, port))


def sample(name: str, transfer_syntax_uid: str, folder: Path) -> FileDataset:
    """Return a file of pydicom, declared as another transfer syntax if none of it exists.

    An SCU doesn't look into a compressed stream.
    """
    found = dcmread(str(get_testdata_file(name, download=False)))
    assert found.file_meta.TransferSyntaxUID == transfer_syntax_uid or name == "JPEG-lossy.dcm"
    found.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    found.save_as(folder / "sample.dcm")
    return found


def received(message: Message) -> Dataset:
    """Return the data set of a C-STORE, decoded in the transfer syntax of its context."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(message.context.transfer_syntax_uid)
    meta.MediaStorageSOPClassUID = UID(message.command.affected_sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(message.command.affected_sop_instance_uid)
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    write_file_meta_info(file, meta, enforce_standard=False)
    assert isinstance(message.data_set, MemorySink)
    content = bytes(128) + b"DICM" + file.getvalue() + bytes(message.data_set.content)
    return dcmread(BytesIO(content))


@needs_dcmtk
@pytest.mark.parametrize("option", PROPOSALS)
async def test_every_transfer_syntax_storescu_proposes_arrives(
    acceptor: Acceptor, option: str, tmp_path: Path
) -> None:
    name, transfer_syntax_uid = PROPOSALS[option]
    sent = sample(name, transfer_syntax_uid, tmp_path)
    ended = await modalities.storescu(
        acceptor.peer, tmp_path / "sample.dcm", options=["-v", option]
    )
    assert ended.status == 0, ended.output
    (message,) = acceptor.services.performed
    assert message.context.transfer_syntax_uid == transfer_syntax_uid
    stored = received(message)
    assert stored.SOPInstanceUID == sent.SOPInstanceUID
    assert stored.PixelData == sent.PixelData
    await acceptor.services.eventually(lambda: acceptor.services.ends == ["released"])


@needs_dcmtk
@pytest.mark.parametrize("option", ["-xi", "-xr", "-xw", "-xt", "-xd"])
async def test_storescp_keeps_the_same_bytes(
    acceptor: Acceptor, option: str, tmp_path: Path
) -> None:
    sample(*PROPOSALS[option], tmp_path)
    (tmp_path / "theirs").mkdir()
    with modalities.storescp(tmp_path / "theirs", "+B", "+xa") as theirs:
        for peer in (theirs, acceptor.peer):
            ended = await modalities.storescu(peer, tmp_path / "sample.dcm", options=[option])
            assert ended.status == 0, ended.output
    (archived,) = (tmp_path / "theirs").iterdir()
    assert acceptor.services.stored == [data_set_bytes(str(archived))]


@needs_dcmtk
async def test_a_folder_of_many_kinds_arrives_over_several_associations_at_once(
    acceptor: Acceptor, tmp_path: Path
) -> None:
    for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "rtplan.dcm"):
        shutil.copy(str(get_testdata_file(name)), tmp_path)
    wanted = ["+sd", "+r", "-xw"], ["+sd", "-xr"], ["+sd", "-xw", "-R"], ["+sd", "+r", "+C"]
    ends = await asyncio.gather(
        *(
            modalities.storescu(acceptor.peer, tmp_path, options=["-nh", "-v", *option])
            for option in wanted
        )
    )
    assert all("Association Accepted" in ended.output for ended in ends)
    kinds = {message.command.affected_sop_class_uid for message in acceptor.services.performed}
    assert len(kinds) >= 3
    assert len(acceptor.services.performed) >= 4 * 3
    await acceptor.services.eventually(lambda: acceptor.services.ends == ["released"] * 4)


@needs_dcmtk
@pytest.mark.parametrize("longest", ["4096", "131072"])
async def test_a_large_object_arrives_in_pdus_of_any_length(
    acceptor: Acceptor, longest: str, tmp_path: Path
) -> None:
    large = dcmread(str(get_testdata_file("CT_small.dcm")))
    large.Rows = large.Columns = 4096
    large.PixelData = bytes(range(256)) * (2 * 4096 * 4096 // 256)
    large.save_as(tmp_path / "large.dcm")
    options = ["--max-send-pdu", longest]
    ended = await modalities.storescu(acceptor.peer, tmp_path / "large.dcm", options=options)
    assert ended.status == 0, ended.output
    assert received(acceptor.services.performed[0]).PixelData == large.PixelData


@needs_dcmtk
async def test_an_scu_killed_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    started, gate = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        started.set()
        await gate.wait()

    large = dcmread(str(get_testdata_file("CT_small.dcm")))
    large.Rows = large.Columns = 4096
    large.PixelData = bytes(2 * 4096 * 4096)
    large.save_as(tmp_path / "large.dcm")
    services = RecordingServices(slow=slow)
    async with listener(services, "127.0.0.1", 0) as (host, port):
        storing = asyncio.create_task(modalities.storescu(Peer(host, port), tmp_path / "large.dcm"))
        await asyncio.wait_for(started.wait(), 30)
        storing.cancel()
        await asyncio.wait({storing})
        gate.set()
        await services.eventually(lambda: services.ends == ["lost"])
    assert services.sinks[0].abandoned
    assert len(services.sinks[0].content) < 2 * 4096 * 4096
    assert services.performed == []


@needs_dcmtk
async def test_an_abort_differs_from_a_release(acceptor: Acceptor) -> None:
    file = str(get_testdata_file("CT_small.dcm"))
    assert (await modalities.storescu(acceptor.peer, file, options=["--abort"])).status == 0
    await acceptor.services.eventually(lambda: acceptor.services.ends == ["aborted"])


@needs_dcmtk
@pytest.mark.parametrize(
    "options",
    [(), ("-ppc", "128"), ("-pts", "38"), ("-pdu", "4096", "--repeat", "20"), ("--abort",)],
    ids=" ".join,
)
async def test_echoscu_is_answered(acceptor: Acceptor, options: tuple[str, ...]) -> None:
    ended = await modalities.echoscu(acceptor.peer, *options)
    assert ended.status == 0, ended.output
    assert len(acceptor.services.performed) == (20 if "--repeat" in options else 1)


@needs_dcmtk
async def test_a_user_identity_is_tolerated(acceptor: Acceptor) -> None:
    file = str(get_testdata_file("CT_small.dcm"))
    options = ["-usr", "somebody", "-pwd", "something"]
    ended = await modalities.storescu(acceptor.peer, file, options=options)
    assert ended.status == 0, ended.output


async def matches(message: Message) -> None:
    """Answer a C-FIND with itself, for ever or until it is cancelled."""
    assert isinstance(message.data_set, MemorySink)
    for _ in range(1000):
        if message.cancelled.is_set():
            await message.respond(Status.CANCEL)
            return
        await message.respond(Status.PENDING, identifier=bytes(message.data_set.content))
        await asyncio.sleep(0.001)
    await message.respond(Status.SUCCESS)


@needs_dcmtk
@pytest.mark.parametrize("model", ["-P", "-S", "-W"])
async def test_findscu_gets_its_matches(acceptor: Acceptor, model: str) -> None:
    async def three(message: Message) -> None:
        assert isinstance(message.data_set, MemorySink)
        for _ in range(3):
            await message.respond(Status.PENDING, identifier=bytes(message.data_set.content))
        await message.respond(Status.SUCCESS)

    acceptor.services.answer = three
    keys = "0008,0052=STUDY", "0020,000d=1.2.3"
    ended = await modalities.findscu(acceptor.peer, *keys, options=[model, "-pdu", "4096"])
    assert ended.status == 0, ended.output
    assert ended.output.count("(Pending)") == 3
    assert ended.output.count("[1.2.3") == 4


@needs_dcmtk
async def test_findscu_can_cancel(acceptor: Acceptor) -> None:
    acceptor.services.answer = matches
    options = ["-S", "--cancel", "2"]
    ended = await modalities.findscu(acceptor.peer, "0008,0052=STUDY", options=options)
    assert ended.status == 0, ended.output
    assert "Cancel" in ended.output
    assert 2 <= ended.output.count("(Pending)") < 1000
    assert acceptor.services.performed[0].cancelled.is_set()


@needs_dcmtk
async def test_storescu_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    modality = authority.issue_cert("modality")
    modality.private_key_pem.write_to_path(tmp_path / "key.pem")
    modality.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.configure_trust(tls)
    services = RecordingServices()
    files = [str(tmp_path / name) for name in ("key.pem", "cert.pem", "ca.pem")]
    async with listener(services, "127.0.0.1", 0, tls=tls) as (host, port):
        ended = await modalities.storescu(
            Peer(host, port),
            str(get_testdata_file("CT_small.dcm")),
            options=["-v", "+tls", *files[:2], "+cf", files[2]],
        )
    assert ended.status == 0, ended.output
    assert len(services.stored) == 1


# pynetdicom


def data_set_bytes(path: str) -> bytes:
    """Return the bytes after the file meta information."""
    content = Path(path).read_bytes()
    length = int.from_bytes(content[140:144], "little")
    return content[144 + length :]


async def test_pynetdicoms_data_sets_arrive_byte_for_byte(
    acceptor: Acceptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    names = ["CT_small.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "image_dfl.dcm"]
    paths = [str(get_testdata_file(name)) for name in names]

    def send() -> list[int]:
        ae = AE()
        for path in paths:
            header = dcmread(path, stop_before_pixels=True)
            ae.add_requested_context(header.SOPClassUID, header.file_meta.TransferSyntaxUID)
        assoc = ae.associate(acceptor.peer.host, acceptor.peer.port)
        statuses = [assoc.send_c_store(path).Status for path in paths]
        assoc.release()
        return statuses

    assert await asyncio.to_thread(send) == [0] * len(paths)
    assert acceptor.services.stored == [data_set_bytes(path) for path in paths]


async def test_pynetdicom_negotiates_everything_there_is(acceptor: Acceptor) -> None:
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 0
    window.maximum_number_operations_performed = 0
    identity = UserIdentityNegotiation()
    identity.user_identity_type, identity.primary_field = 1, b"somebody"
    relational = SOPClassExtendedNegotiation()
    relational.sop_class_uid = STUDY_ROOT_FIND
    relational.service_class_application_information = b"\x01"

    def associate() -> tuple[list[str], tuple[int, int]]:
        ae = AE()
        for context in (VERIFICATION, STUDY_ROOT_FIND, PRIVATE):
            ae.add_requested_context(context, [IMPLICIT, "1.2.3.4.5.6"])
        for number in range(125):
            ae.add_requested_context(f"1.2.3.{number}")
        assoc = ae.associate(
            acceptor.peer.host, acceptor.peer.port, ext_neg=[window, identity, relational]
        )
        accepted = [str(context.abstract_syntax) for context in assoc.accepted_contexts]
        assert assoc.send_c_echo().Status == 0
        operations = assoc.acceptor.asynchronous_operations
        assoc.release()
        return accepted, operations

    accepted, operations = await asyncio.to_thread(associate)
    assert len(accepted) == 128
    assert PRIVATE in accepted
    assert operations == (1, 1)
    assert acceptor.services.requests[0].extended == {STUDY_ROOT_FIND: b"\x01"}


async def test_pynetdicom_finds_and_cancels(acceptor: Acceptor) -> None:
    acceptor.services.answer = matches

    def find() -> list[int]:
        ae = AE()
        ae.add_requested_context(STUDY_ROOT_FIND)
        assoc = ae.associate(acceptor.peer.host, acceptor.peer.port)
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "STUDY"
        statuses = []
        for status, _ in assoc.send_c_find(identifier, STUDY_ROOT_FIND, msg_id=9):
            statuses.append(int(status.Status))
            if len(statuses) == 2:
                assoc.send_c_cancel(9, query_model=STUDY_ROOT_FIND)
        assoc.release()
        return statuses

    statuses = await asyncio.to_thread(find)
    assert statuses[-1] == Status.CANCEL
    assert set(statuses[:-1]) == {Status.PENDING}


async def test_pynetdicom_sees_why_it_was_aborted() -> None:
    services = RecordingServices()
    limits = UpperLayerLimits(idle_timeout=0.2)
    async with listener(services, "127.0.0.1", 0, limits) as (host, port):

        def wait() -> bool:
            ae = AE()
            ae.add_requested_context(VERIFICATION)
            assoc = ae.associate(host, port)
            assoc.join(60)
            return bool(assoc.is_aborted)

        assert await asyncio.to_thread(wait)
    assert services.ends == ["aborted"]
