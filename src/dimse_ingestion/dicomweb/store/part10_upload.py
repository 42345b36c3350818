"""One Part-10 file of a STOW-RS request: spooled and parsed while it arrives.

The data set goes to the spool, which digests it. The first elements are read on the way, because
UIDs, transfer syntax, length and digest must be known before the instance can be stored. A part
that is refused is read to its end all the same, so that the parts after it can be stored.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

from dimse_ingestion.dicom import part10, uids
from dimse_ingestion.dicom.elements import SOP_CLASS_UID, SOP_INSTANCE_UID, Element, by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.limits import ParserLimits
from dimse_ingestion.dicom.scanner import Scanner
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.operations.event_builder import Instance
from dimse_ingestion.spooling.spooled import SpooledDataSet

_STUDY_INSTANCE_UID = 0x0020000D
_SERIES_INSTANCE_UID = 0x0020000E
_PATIENT_TAGS = (0x00100020, 0x00100010)  # Patient ID, Patient's Name
_UID_TAGS = (SOP_CLASS_UID, SOP_INSTANCE_UID, _STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID)
_BEGINNING = 144  # preamble, prefix and the group length of group 2 (PS3.10 section 7.1)
_LONGEST_HEAD = 64 * 1024
_READ_AT_ONCE = 64 * 1024
_CHUNK = 512 * 1024
_LIMITS = ParserLimits(sequence=0, retained=4 * 2**20)  # no sequence names an instance


@dataclass(frozen=True, slots=True)
class InstanceIdentity:
    """The UIDs of an instance's data set, and its patient; empty where an element is missing."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    series_instance_uid: str = ""
    patient_id: str = field(default="", repr=False)
    patient_name: str = field(default="", repr=False)


def identity_of(elements: Iterable[Element]) -> InstanceIdentity:
    """Return the UIDs and the patient in the elements of a data set."""
    values = by_tag(elements)
    texts = (uids.strip_padding(values[tag].value) if tag in values else "" for tag in _UID_TAGS)
    patient = (values[tag].value.strip(" \0") if tag in values else "" for tag in _PATIENT_TAGS)
    ascii_texts = (text.encode("ascii", "replace").decode() for text in texts)
    return InstanceIdentity(*ascii_texts, *patient)


def check_identity(identity: InstanceIdentity) -> None:
    """Raise DimseFailure A900 when the SOP Class UID or the SOP Instance UID is missing."""
    if not identity.sop_class_uid or not identity.sop_instance_uid:
        raise DimseFailure(
            Status.DOES_NOT_MATCH_SOP_CLASS,
            "SOP Class UID (0008,0016) or SOP Instance UID (0008,0018) is missing.",
        )


class Part10Upload:
    """Reads one part: write all of it, then seal it. Owns `spooled`; `close` releases it."""

    has_omissions = False

    def __init__(self, spooled: SpooledDataSet) -> None:
        self.identity = InstanceIdentity()
        self._spooled = spooled
        self._head = bytearray()
        self._scanner: Scanner | None = None
        self._transfer_syntax_uid = ""
        self._identified = False
        self._failure: DimseFailure | None = None

    @property
    def size(self) -> int:
        """Bytes of the data set that have come."""
        return self._spooled.size

    async def write(self, content: bytes) -> None:
        """Take the next bytes; a failure is raised later, by `seal`."""
        if self._failure is not None:
            return
        try:
            data_set = content if self._transfer_syntax_uid else self._after_head(content)
            await self._identify(data_set)
            waiting = self._spooled.write(data_set)
        except DimseFailure as failure:
            self._failure = failure
            return
        if waiting is not None:
            await waiting

    async def seal(self) -> Instance:
        """Return the description of the instance for `operations.store`.

        Raises DimseFailure C000 if the part is not a Part-10 file, A900 if UIDs are missing; and
        Unavailable if the spool is full.
        """
        if self._failure is not None:
            raise self._failure
        if self._scanner is None:
            raise _not_understood("it ends within its file meta information")
        if not self._identified:
            self._scanner.finish()
            self._learn(self._scanner)
        whole = await self._spooled.seal()
        check_identity(self.identity)
        return Instance(
            sop_class_uid=self.identity.sop_class_uid,
            sop_instance_uid=self.identity.sop_instance_uid,
            transfer_syntax_uid=self._transfer_syntax_uid,
            size=whole.size,
            sha256=whole.sha256,
        )

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the data set; call `seal` first."""
        for offset in range(0, self._spooled.size, _CHUNK):
            yield self._spooled.read(offset, _CHUNK)

    def close(self) -> None:
        """Release the space in the spool."""
        self._spooled.close()

    def _after_head(self, content: bytes) -> bytes:
        """Collect preamble and group 2; return the bytes of the data set in `content`."""
        self._head += content
        if len(self._head) < _BEGINNING:
            return b""
        try:
            length = part10.file_meta_end(bytes(self._head[:_LONGEST_HEAD]))
        except DimseFailure:
            raise _not_understood("it has no preamble and group length (PS3.10 7.1)") from None
        if length is None and len(self._head) >= _LONGEST_HEAD:
            raise _not_understood(f"its file meta information has over {_LONGEST_HEAD} bytes")
        if length is None:
            return b""
        self._transfer_syntax_uid = part10.transfer_syntax_uid(bytes(self._head[:length]))
        self._scanner = Scanner(self._transfer_syntax_uid, _LIMITS)
        data_set = bytes(self._head[length:])
        self._head.clear()
        return data_set

    async def _identify(self, data_set: bytes) -> None:
        """Scan until all UIDs of the instance have been read."""
        if self._identified or self._scanner is None:
            return
        for start in range(0, len(data_set), _READ_AT_ONCE):
            for _ in self._scanner.feed_in_slices(
                memoryview(data_set)[start : start + _READ_AT_ONCE]
            ):
                await asyncio.sleep(0)
            read = self._scanner.elements
            if read and read[-1].tag > _SERIES_INSTANCE_UID:
                self._learn(self._scanner)
                return

    def _learn(self, scanner: Scanner) -> None:
        self.identity = identity_of(scanner.elements)
        self._identified = True


def _not_understood(reason: str) -> DimseFailure:
    return DimseFailure(Status.CANNOT_UNDERSTAND, f"The part is no DICOM file: {reason}.")
