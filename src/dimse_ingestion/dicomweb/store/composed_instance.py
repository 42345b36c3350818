"""An instance composed of metadata and bulk data, ready for `operations.store`.

A data set longer than a chunk is composed twice from the same parts, once to compute the digest and
once to store it, so that it is never in memory as a whole. It is encoded in explicit VR little
endian, or in the transfer syntax of its compressed pixel data.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass

from dimse_ingestion.dicom.composer import compose, has_omitted_elements
from dimse_ingestion.dicom.elements import BulkReference, Element, by_tag
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.frames import PIXEL_DATA
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dimse_ingestion.dicomweb.store.bulk_data_syntaxes import BEGINNING, holds_all_frames, syntax_of
from dimse_ingestion.dicomweb.store.bulk_data_upload import BulkDataUpload, SpooledPart
from dimse_ingestion.dicomweb.store.metadata_worker import MetadataWorker
from dimse_ingestion.dicomweb.store.part10_upload import check_identity, identity_of
from dimse_ingestion.operations.event_builder import Instance

_NUMBER_OF_FRAMES = 0x00280008
_CHUNK = 512 * 1024


@dataclass(frozen=True, slots=True)
class BulkValue:
    """A value that metadata gives by BulkDataURI: the tag, and the parts with that URL."""

    tag: str
    parts: Sequence[SpooledPart]


class ComposedInstance:
    """An instance made of `elements`; their bulk references are indexes of `values` in `bulk`.

    `has_omissions` is true when some elements are not stored.
    """

    def __init__(
        self,
        elements: list[Element],
        values: Sequence[BulkValue],
        bulk: BulkDataUpload,
        worker: MetadataWorker,
    ) -> None:
        self.identity = identity_of(elements)
        self._elements = elements
        self._values = values
        self._bulk = bulk
        self._worker = worker
        self._encapsulated = False
        self._encoded: bytes | None = None
        self._at_close: list[Callable[[], None]] = []
        self.has_omissions = has_omitted_elements(elements)

    @property
    def size(self) -> int:
        """Return the bytes of its bulk data."""
        return sum(part.length for value in self._values for part in value.parts)

    async def seal(self) -> Instance:
        """Return the description of the instance for `operations.store`.

        Raises DimseFailure: A900 if UIDs are missing, C122 if the transfer syntax of compressed
        pixel data is unclear, C000 if bulk data is missing or a value does not fit its VR.
        """
        check_identity(self.identity)
        self._check_values()
        syntax = self._syntax()
        self._encapsulated = bool(syntax)
        try:
            size, sha256 = await self._worker.run(self._digest)
        except ValueError:
            raise _not_understood("A value of the metadata does not fit its VR.") from None
        return Instance(
            sop_class_uid=self.identity.sop_class_uid,
            sop_instance_uid=self.identity.sop_instance_uid,
            transfer_syntax_uid=syntax or EXPLICIT_VR_LITTLE_ENDIAN,
            size=size,
            sha256=sha256,
        )

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the data set; call `seal` first."""
        if self._encoded is not None:
            yield self._encoded
            return
        composing = self._composed()
        while chunk := await self._worker.run(lambda: next(composing, b"")):
            yield chunk

    def at_close(self, release: Callable[[], None]) -> None:
        """Call `release` when the instance has been stored or refused."""
        self._at_close.append(release)

    def close(self) -> None:
        """Release its memory; the parts belong to the request."""
        self._encoded = None
        while self._at_close:
            self._at_close.pop()()

    def _composed(self) -> Iterator[bytes]:
        """Yield the data set in chunks; short pieces are joined."""
        joined = bytearray()
        for piece in compose(self._elements, self._references, encapsulated=self._encapsulated):
            for part in [piece] if isinstance(piece, bytes) else self._bulk.read(piece, _CHUNK):
                joined += part
                if len(joined) >= _CHUNK:
                    yield bytes(joined)
                    joined.clear()
        if joined:
            yield bytes(joined)

    def _digest(self) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        chunk = b""
        for chunk in self._composed():
            size += len(chunk)
            digest.update(chunk)
        if size == len(chunk):  # keep a short one, so that it is not composed again
            self._encoded = chunk
        return size, digest.hexdigest()

    def _references(self, bulk: BulkReference) -> list[BulkReference]:
        return [part.reference for part in self._values[bulk.offset].parts]

    def _check_values(self) -> None:
        for value in self._values:
            if not value.parts:
                raise _not_understood(
                    f"No part of the request has the Content-Location of {value.tag}'s BulkDataURI."
                )

    def _syntax(self) -> str:
        """Return the transfer syntax of compressed pixel data; empty when there is none."""
        elements = by_tag(self._elements)
        pixel_data = elements.get(PIXEL_DATA)
        if pixel_data is None or pixel_data.bulk is None:
            return ""
        parts = self._values[pixel_data.bulk.offset].parts
        syntaxes = {syntax_of(each.content_type, self._beginning(each)) for each in parts}
        syntax = syntaxes.pop()
        if syntax is None or syntaxes:
            raise DimseFailure(
                Status.TRANSFER_SYNTAX_NOT_SUPPORTED,
                "The media type of the pixel data gives no transfer syntax: add "
                "transfer-syntax=UID to its part, or send application/octet-stream when it is "
                "uncompressed.",
            )
        if syntax and not holds_all_frames(syntax):
            _check_frames(elements, len(parts))
        return syntax

    def _beginning(self, part: SpooledPart) -> bytes:
        return self._bulk.spooled.read(part.offset, min(part.length, BEGINNING))


def _check_frames(elements: dict[int, Element], parts: int) -> None:
    text = elements[_NUMBER_OF_FRAMES].value.strip() if _NUMBER_OF_FRAMES in elements else ""
    frames = int(text) if text.isdecimal() else 1
    if parts != max(frames, 1):
        raise _not_understood(
            f"Number of Frames is {frames}, and {parts} parts have the pixel data's "
            "Content-Location: send each compressed frame as a part."
        )


def _not_understood(sentence: str) -> DimseFailure:
    return DimseFailure(Status.CANNOT_UNDERSTAND, sentence)
