"""Make the corpus anew: what modalities, viewers and services say to a running space.

`python -m tests.fuzz.record_corpus` writes `corpus`; small, so that most changes hit something.
"""

import asyncio
import base64
import json
import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nats
from nats.aio.msg import Msg
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dimse_ingestion.events import cloudevents
from dimse_ingestion.queries import wire
from harness import scu
from harness.instances import made_instances
from harness.modalities import Peer
from harness.ports import free_port
from tests.fuzz.nats_input import OPERATION_ID, Message, saved
from tests.fuzz.space import AttackedSpace, attacked_space
from tests.instances import event

_OPERATION = re.compile(rb"(operation_id\xd9\x24)[0-9a-f-]{36}")
CORPUS = Path(__file__).parent / "corpus"
STUDY, SERIES, INSTANCE = "1.2.826.0.1.1", "1.2.826.0.1.1.1", "1.2.826.0.1.1.1.1"
_TOLD = f"{STUDY}.9"  # a study of events alone, which no upload changes
_JSON = "application/dicom+json"
_PAYLOAD = 8192  # so that a few kilobytes are several chunks
_SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}


def image() -> Dataset:
    """Return a small image with a sequence, a private element and text beyond ASCII."""
    made = Dataset()
    made.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, INSTANCE
    made.StudyInstanceUID, made.SeriesInstanceUID = STUDY, SERIES
    made.StudyDate, made.StudyTime, made.Modality = "20260102", "101112.5", "CT"
    made.PatientName, made.PatientID, made.AccessionNumber = "Doe^Jane=山田", "FUZZ-1", "A1"
    made.InstanceNumber, made.WindowCenter, made.WindowWidth = "1", "40", "400"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "one"
    made.ProcedureCodeSequence = Sequence([code])
    made.private_block(0x0009, "FUZZ", create=True).add_new(1, "UN", b"private!")
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows = made.Columns = 4
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.PixelData = bytes(range(32))
    return made


def file(folder: Path, name: str) -> Path:
    """Write the image in a transfer syntax."""
    path, meta = folder / f"{name}.dcm", FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(INSTANCE)
    meta.TransferSyntaxUID = UID(_SYNTAXES[name])
    made = FileDataset(path, image(), preamble=bytes(128), file_meta=meta)
    dcmwrite(path, made, enforce_file_format=True)
    return path


@contextmanager
def recording(address: tuple[str, int], into: Path) -> Iterator[int]:
    """Forward connections, and write what their clients send to `into`, one after another."""
    port = free_port()
    content = bytearray()
    with socket.create_server(("127.0.0.1", port)) as listening:
        thread = threading.Thread(target=_pass_on, args=(listening, address, content), daemon=True)
        thread.start()
        yield port
        thread.join(10)
    into.write_bytes(content)


def _pass_on(listening: socket.socket, address: tuple[str, int], content: bytearray) -> None:
    client, _ = listening.accept()
    with client, socket.create_connection(address) as server:
        back = threading.Thread(target=_copy, args=(server, client, bytearray()), daemon=True)
        back.start()
        _copy(client, server, content)
        back.join(10)


def _copy(source: socket.socket, target: socket.socket, content: bytearray) -> None:
    while piece := source.recv(65536):
        content += piece
        target.sendall(piece)
    target.shutdown(socket.SHUT_WR)


def record_dimse(space: AttackedSpace, folder: Path) -> None:
    """Write an echo, stores and finds."""
    with (
        recording(space.dimse, CORPUS / "dimse" / "echo.bin") as port,
        scu.associate(Peer("127.0.0.1", port), [(scu.VERIFICATION, None)]) as association,
    ):
        association.send_c_echo()
    for name in _SYNTAXES:
        with recording(space.dimse, CORPUS / "dimse" / f"store-{name}.bin") as port:
            scu.store(Peer("127.0.0.1", port), [file(folder, name)])
    for level, root in (("STUDY", scu.STUDY_ROOT_FIND), ("IMAGE", scu.PATIENT_ROOT_FIND)):
        with recording(space.dimse, CORPUS / "dimse" / f"find-{level.lower()}.bin") as port:
            _find(Peer("127.0.0.1", port), root, level)


def _find(peer: Peer, root: str, level: str) -> None:
    keys = Dataset()
    keys.SpecificCharacterSet = "ISO_IR 192"
    keys.QueryRetrieveLevel, keys.PatientName, keys.PatientID = level, "D*^J?ne", "FUZZ-1"
    keys.StudyDate, keys.StudyInstanceUID = "20260101-20261231", STUDY
    keys.ModalitiesInStudy, keys.ProcedureCodeSequence = "CT", Sequence([Dataset()])
    if level == "IMAGE":
        keys.SeriesInstanceUID, keys.SOPInstanceUID = SERIES, ""
    with scu.associate(peer, [(root, ExplicitVRLittleEndian)]) as association:
        list(association.send_c_find(keys, root))


def record_dicomweb(folder: Path) -> None:
    """Write requests of each kind."""
    instance = f"/dicomweb/studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}"
    studies = "/dicomweb/studies"
    uri = f"requestType=WADO&studyUID={STUDY}&seriesUID={SERIES}&objectUID={INSTANCE}"
    within = f"{studies}/{STUDY}/instances?StudyDate=20260101-&fuzzymatching=false&offset=0"
    gets = {
        "qido-studies": (f"{studies}?PatientName=D*&includefield=00081030&limit=5", _JSON),
        "qido-instances": (within, 'multipart/related; type="application/dicom+xml"'),
        "metadata": (f"{instance}/metadata", _JSON),
        "instance": (instance, 'multipart/related; type="application/dicom"; transfer-syntax=*'),
        "frames": (f"{instance}/frames/1", 'multipart/related; type="application/octet-stream"'),
        "rendered": (f"{instance}/rendered?window=40,400,linear&viewport=8,8", "image/jpeg"),
        "thumbnail": (f"{studies}/{STUDY}/thumbnail", "image/png"),
        "bulkdata": (f"{instance}/bulkdata/7FE00010", "application/octet-stream"),
        "wado-uri": (f"/dicomweb/wado?{uri}&contentType=image/png&rows=8&frameNumber=1", "*/*"),
        "page": ("/", "text/html"),
    }
    for name, (target, accept) in gets.items():
        _write("dicomweb", name, f"GET {target} HTTP/1.1", {"Accept": accept})
    part10 = file(folder, "explicit").read_bytes()
    _post_related("stow-part10", "application/dicom", part10)
    output = image()
    output.PixelData = None
    del output.PixelData
    content = output.to_json_dict()
    content["7FE00010"] = {"vr": "OW", "InlineBinary": base64.b64encode(bytes(32)).decode()}
    _post_related("stow-json", _JSON, json.dumps([content]).encode())
    _post_related("stow-xml", "application/dicom+xml", _xml())


def _attribute(tag: str, vr: str, content: str) -> str:
    return f'<DicomAttribute tag="{tag}" vr="{vr}">{content}</DicomAttribute>'


def _value(value: str) -> str:
    return f'<Value number="1">{value}</Value>'


def _xml() -> bytes:
    name = "<Alphabetic><FamilyName>Doe</FamilyName></Alphabetic>"
    item = f'<Item number="1">{_attribute("00080100", "SH", _value("1"))}</Item>'
    attributes = (
        _attribute("00080016", "UI", _value(CTImageStorage)),
        _attribute("00080018", "UI", _value(INSTANCE)),
        _attribute("00081032", "SQ", item),
        _attribute("00100010", "PN", f'<PersonName number="1">{name}</PersonName>'),
        _attribute("0020000D", "UI", _value(STUDY)),
        _attribute("0020000E", "UI", _value(SERIES)),
    )
    root = '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
    declaration = '<?xml version="1.0" encoding="UTF-8"?>'
    return f"{declaration}{root}{''.join(attributes)}</NativeDicomModel>".encode()


def _post_related(name: str, kind: str, content: bytes) -> None:
    body = f"--fuzz\r\nContent-Type: {kind}\r\n\r\n".encode() + content + b"\r\n--fuzz--\r\n"
    related = f'multipart/related; type="{kind}"; boundary=fuzz'
    headers = {"Accept": _JSON, "Content-Type": related}
    _write("dicomweb", name, "POST /dicomweb/studies HTTP/1.1", headers, body)


def record_catalogue() -> None:
    """Write an event in both modes of CloudEvents' HTTP binding, and queries."""
    structured = cloudevents.encode(
        event(
            study=_TOLD,
            series=f"{_TOLD}.1",
            instance=f"{_TOLD}.1.1",
            provider="provider",
            PatientName="Doe^Jane",
            PatientID="FUZZ-1",
            StudyDate="20260102",
        )
    )
    line = "POST /events HTTP/1.1"
    kind = {"Content-Type": "application/cloudevents+json"}
    _write("catalogue", "event-structured", line, kind, structured)
    attributes = json.loads(structured)
    data = json.dumps(attributes.pop("data")).encode()
    attributes.pop("datacontenttype", None)
    headers = {f"ce-{name}": str(value) for name, value in attributes.items()}
    _write("catalogue", "event-binary", line, headers | {"Content-Type": "application/json"}, data)
    keys = [
        {"group": "0010", "element": "0010", "vr": "PN", "value": "D*^J?ne"},
        {"group": "0008", "element": "0020", "vr": "DA", "value": "20260101-"},
        {"group": "0020", "element": "000D", "vr": "UI", "value": _TOLD},
    ]
    for scope, path in wire.PATHS.items():
        query = json.dumps({"scope": scope, "queryAttributes": keys}).encode()
        line = f"POST {path}?source=provider HTTP/1.1"
        _write(
            "catalogue", f"query-{scope.lower()}", line, {"Content-Type": "application/json"}, query
        )


def _write(service: str, name: str, line: str, headers: dict[str, str], body: bytes = b"") -> None:
    head = {"Host": "localhost", "Connection": "close", **headers}
    lines = [line, *(f"{name}: {value}" for name, value in head.items())]
    wire = "\r\n".join([*lines, "", ""]).encode() + body
    (CORPUS / service / f"{name}.http").write_bytes(wire)


async def record_nats(space: AttackedSpace, folder: Path) -> None:
    """Write the messages of a proxy for an echo, a store of each length and a find."""
    for name in ("echo", "store-inline", "find"):
        await _record_session(space, name, file(folder, "explicit"))
    (chunked,) = made_instances(folder / "chunked", 1, 3 * _PAYLOAD)
    await _record_session(space, "store-chunks", chunked.path)


async def _record_session(space: AttackedSpace, name: str, path: Path) -> None:
    received: list[Msg] = []

    async def hear(message: Msg) -> None:
        received.append(message)

    async with await nats.connect(space.nats.url) as client:
        await client.subscribe("DIMSE.v1.>", cb=hear)
        await client.flush()
        await asyncio.to_thread(_operation(space, name, path))
        await asyncio.sleep(0.3)
    messages = [_recorded(each) for each in received]
    (CORPUS / "nats" / f"{name}.jsonl").write_bytes(saved(messages))


def _operation(space: AttackedSpace, name: str, path: Path) -> Callable[[], object]:
    peer = space.bystander.peer
    if name == "find":
        return lambda: _find(peer, scu.STUDY_ROOT_FIND, "STUDY")
    if name == "echo":
        return space.bystander.echo
    return lambda: scu.store(peer, [path])


def _recorded(message: Msg) -> Message:
    body = _OPERATION.sub(rb"\g<1>" + OPERATION_ID, message.data)
    subject = message.subject if ".svc." in message.subject else ""
    headers = {k: v for k, v in (message.headers or {}).items() if k != "traceparent"}
    return Message(subject, headers, body)


def main() -> None:
    """Record everything."""
    for name in ("dimse", "dicomweb", "catalogue", "nats"):
        shutil.rmtree(CORPUS / name, ignore_errors=True)
        (CORPUS / name).mkdir(parents=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        record_dicomweb(folder)
        record_catalogue()
        with attacked_space(folder, {"max_payload": _PAYLOAD}) as space:
            record_dimse(space, folder)
            asyncio.run(record_nats(space, folder))


if __name__ == "__main__":
    main()
