"""The parsers of what comes from outside, each as a function of bytes for a fuzzer.

A parser may refuse its input by the exceptions named here; any other is a finding, and so is one
that takes seconds or gigabytes. Where bytes are read in pieces, a target reads them whole and cut
in two, and both results must be equal.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from dimse_ingestion.dicom import charsets, part10
from dimse_ingestion.dicom.dicom_json import from_json
from dimse_ingestion.dicom.elements import Element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.json_document import END, JsonDocument
from dimse_ingestion.dicom.native_model import from_xml
from dimse_ingestion.dicom.scanner import Scanner
from dimse_ingestion.dicomweb.http import header_values, multipart_reader
from dimse_ingestion.events import cloudevents
from dimse_ingestion.failures import Failure, LimitExceeded
from dimse_ingestion.outbox import records
from dimse_ingestion.proxy.commitment import action_information as action
from dimse_ingestion.proxy.commitment import record_file
from dimse_ingestion.queries import wire
from dimse_ingestion.transport.nats import headers
from dimse_ingestion.transport.protocol import codec, compression
from dimse_ingestion.upper_layer import associate_ac, command_set, proposals
from dimse_ingestion.upper_layer.pdata import Fragment, Pdu, PduReader
from dimse_ingestion.upper_layer.pdus import ProtocolError
from dimse_ingestion.upper_layer.requestor_negotiation import ProposedContext, conclude, propose

Target = Callable[[bytes], None]
_MAXIMUM_PDU_LENGTH = 16 * 1024
_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_PROPOSAL = propose(
    "ARCHIVE",
    "DICOM-INGEST",
    [ProposedContext("1.2.840.10008.5.1.4.1.1.2", _SYNTAXES[:2])] * 3,
    maximum_pdu_length=_MAXIMUM_PDU_LENGTH,
    outstanding=4,
)
OUTBOX_SALT = 0x5EA1
_DEFLATED = "1.2.840.10008.1.2.1.99"
_CHARACTER_SETS = ("", "ISO_IR 100", "ISO_IR 192", "\\ISO 2022 IR 87\\ISO 2022 IR 149", "GB18030")


def pdus(data: bytes) -> None:
    """PDUs of a peer (PS3.8 9.3)."""
    cut = data[0] if data else 0
    whole, parts = _read_pdus([data]), _read_pdus([data[:cut], data[cut:]])
    assert whole == parts, "the result depends on how the bytes are cut"


def _read_pdus(pieces: Iterable[bytes]) -> tuple[list[object], str]:
    reader = PduReader(_MAXIMUM_PDU_LENGTH)
    seen: list[object] = []
    try:
        for piece in pieces:
            for each in reader.feed(memoryview(piece)):
                _add_pdu(seen, each)
    except ProtocolError as error:
        return seen, str(error)
    return seen, ""


def _add_pdu(seen: list[object], item: Fragment | Pdu) -> None:
    """Add a PDU, or the bytes of a fragment, joined with those of the fragment before."""
    if isinstance(item, Pdu):
        seen.append(item)
        return
    key = (item.context_id, item.is_command)
    last = seen[-1] if seen else None
    if isinstance(last, list) and last[0] == key and not last[2]:
        seen[-1] = [key, last[1] + bytes(item.content), item.last]
    else:
        seen.append([key, bytes(item.content), item.last])


def association(data: bytes) -> None:
    """The content of an A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    with suppress(ProtocolError):
        proposals.decode(data)


def association_answer(data: bytes) -> None:
    """The content of an A-ASSOCIATE-AC to our request (PS3.8 9.3.3)."""
    with suppress(ProtocolError):
        conclude(_PROPOSAL, associate_ac.decode_accept(data))


def command(data: bytes) -> None:
    """A command set (PS3.7 6.3)."""
    with suppress(ProtocolError):
        command_set.decode(data)


def data_set(data: bytes) -> None:
    """A data set in one of the native transfer syntaxes, which the first byte chooses."""
    if not data:
        return
    syntax, content = _SYNTAXES[data[0] % len(_SYNTAXES)], data[2:]
    cut = data[1] if len(data) > 1 else 0
    whole, parts = _scan(syntax, [content]), _scan(syntax, [content[:cut], content[cut:]])
    assert whole == parts, "the result depends on how the bytes are cut"


def deflated_data_set(data: bytes) -> None:
    """A data set in Deflated Explicit VR Little Endian."""
    _scan(_DEFLATED, [data])


def _scan(syntax: str, pieces: Iterable[bytes]) -> tuple[list[Element], str]:
    scanner = Scanner(syntax)
    try:
        for piece in pieces:
            scanner.feed(piece)
        return scanner.finish(), ""
    except DimseFailure as failure:
        return [], f"{failure.status:04X}"


def action_information(data: bytes) -> None:
    """The Action Information of a storage commitment request, in one of its transfer syntaxes."""
    if data:
        syntax = _SYNTAXES[data[0] % 2]
        with suppress(DimseFailure, LimitExceeded):
            asyncio.run(action.parse(data[1:], syntax))


def commitment_journal(data: bytes) -> None:
    """A file of the storage commitment journal."""
    with suppress(record_file.Damaged):
        record_file.decode(data, "a")


def outbox_segment(data: bytes) -> None:
    """A segment of the proxy's spool: what is found must cover all its bytes, but for zeros."""
    position = 0
    for found in records.scan(data, OUTBOX_SALT):
        assert found.start == position, "bytes are left out, or read twice"
        assert found.start < found.end <= len(data), "a range is empty or beyond the end"
        position = found.end
    assert not data[position:].strip(b"\0"), "bytes at the end are left out"


def outbox_marks(data: bytes) -> None:
    """The marks of a segment of the proxy's spool."""
    for offset in records.decode_marks(data, OUTBOX_SALT):
        assert records.encode_mark(offset, OUTBOX_SALT) in data, "a mark that is not there"


def part10_header(data: bytes) -> None:
    """The head of a Part-10 file (PS3.10 7.1)."""
    with suppress(DimseFailure, ValueError):
        part10.data_set_offset(data)
    with suppress(DimseFailure, ValueError):
        part10.transfer_syntax_uid(data)


def text(data: bytes) -> None:
    """A text value in one of several character sets, decoded and encoded again."""
    if not data:
        return
    term = _CHARACTER_SETS[data[0] % len(_CHARACTER_SETS)]
    for vr in ("PN", "LO", "UT"):
        decoded = charsets.decode(data[1:], vr, charsets.codecs(term))
        if charsets.can_encode(decoded, vr, term):
            charsets.encode(decoded, vr, term)


def transport(data: bytes) -> None:
    """A message of the transport: the block of its headers, then its body."""
    block, _, body = data.partition(b"\r\n\r\n")
    with suppress(codec.MalformedMessage):
        codec.decode(headers.decode(block), body)


def compressed_piece(data: bytes) -> None:
    """A piece of a data set as a Zstandard frame, of the size that its first three bytes tell."""
    size = int.from_bytes(data[:3], "big") % codec.MAXIMUM_INLINE
    with suppress(compression.DamagedFrame):
        content = compression.decompress(compression.CompressedPiece(data[3:], size))
        assert len(content) == size, "the size is not the announced one"


def multipart(data: bytes) -> None:
    """A multipart body whose boundary is `b`."""
    cut = data[0] if data else 0
    whole, parts = _read_multipart([data]), _read_multipart([data[:cut], data[cut:]])
    assert whole == parts, "the result depends on how the bytes are cut"


def _read_multipart(pieces: Iterable[bytes]) -> tuple[list[object], str]:
    reader = multipart_reader.MultipartReader("b")
    seen: list[object] = []
    try:
        for piece in pieces:
            for event in reader.feed(piece):
                last = seen[-1] if seen else None
                if isinstance(event, multipart_reader.PartContent) and isinstance(last, bytes):
                    seen[-1] = last + event.content
                elif isinstance(event, multipart_reader.PartContent):
                    seen.append(bytes(event.content))
                else:
                    seen.append(event)
        reader.finish()
    except multipart_reader.MalformedMultipart as error:
        return seen, str(error)
    return seen, ""


def media_type(data: bytes) -> None:
    """A Content-Type."""
    with suppress(ValueError):
        header_values.media_type(data.decode("latin-1"))


def dicom_json(data: bytes) -> None:
    """Data sets of the DICOM JSON Model (PS3.18 annex F)."""
    with suppress(ValueError):
        document = JsonDocument(data)
        while (found := document.next()) is not END:
            with suppress(ValueError):
                from_json(found, _bulk)


def native_model(data: bytes) -> None:
    """A data set of the Native DICOM Model (PS3.19 annex A.1)."""
    with suppress(ValueError):
        from_xml(data, _bulk)


def _bulk(tag: str, vr: str, _: str) -> Element:
    return Element(tag[:4], tag[4:], vr)


def event(data: bytes) -> None:
    """An event of the catalogue in structured mode."""
    with suppress(ValueError):
        cloudevents.decode({"content-type": cloudevents.CONTENT_TYPE}, data)


def query(data: bytes) -> None:
    """A query of the catalogue."""
    with suppress(Failure, ValueError):
        wire.decode_query("/query/studies", data)
    with suppress(Failure, ValueError):
        wire.decode_names(data)


def answer(data: bytes) -> None:
    """The answer of the catalogue, line by line."""
    for reader in (wire.match_reader(), wire.object_reader()):
        with suppress(Failure, ValueError):
            for match in reader.feed(data):
                list(match if isinstance(match, list) else match.elements)
            reader.finish()


TARGETS: Mapping[str, Target] = {
    each.__name__: each
    for each in (
        *(
            pdus,
            association,
            association_answer,
            command,
            data_set,
            deflated_data_set,
            part10_header,
            text,
        ),
        *(
            transport,
            compressed_piece,
            multipart,
            media_type,
            dicom_json,
            native_model,
            event,
            query,
            answer,
        ),
        *(action_information, commitment_journal, outbox_segment, outbox_marks),
    )
}
