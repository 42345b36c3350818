"""One instance that came as metadata and bulk data, as `operations.storing` takes one.

A data set longer than a chunk is composed twice from the same parts, to be digested and to be
stored, so that it never stands anywhere in whole. Explicit VR little endian, or the compressed
pixels' own syntax.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass

from dimse_ingestion.dicom.composing import compose, has_omitted_elements
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
    """A value that its metadata told by address: the element, and the parts found there."""

    tag: str
    parts: Sequence[SpooledPart]


class ComposedInstance:
    """An instance of `elements`; their bulk references count in `values`, which stand in `bulk`.

    `left_out` says whether some of them are not stored.
    """

    def __init__(
        self,
        elements: list[Element],
        values: Sequence[BulkValue],
        bulk: BulkDataUpload,
        worker: MetadataWorker,
    ) -> None:
        self.named = identity_of(elements)
        self._elements = elements
        self._values = values
        self._bulk = bulk
        self._worker = worker
        self._encapsulated = False
        self._held: bytes | None = None
        self._at_close: list[Callable[[], None]] = []
        self.left_out = has_omitted_elements(elements)

    @property
    def size(self) -> int:
        """Bytes of its bulk data."""
        return sum(part.length for value in self._values for part in value.parts)

    async def sealed(self) -> Instance:
        """The instance as it is announced.

        Raises DimseFailure: A900 where UIDs are missing, C122 for compressed pixels of which no
        transfer syntax is clear, C000 where bulk data is missing or a value is none of its VR.
        """
        check_identity(self.named)
        self._check_values()
        syntax = self._syntax()
        self._encapsulated = bool(syntax)
        try:
            size, sha256 = await self._worker.run(self._digested)
        except ValueError:
            raise _not_understood("A value of the metadata is none of its VR.") from None
        return Instance(
            sop_class_uid=self.named.sop_class_uid,
            sop_instance_uid=self.named.sop_instance_uid,
            transfer_syntax_uid=syntax or EXPLICIT_VR_LITTLE_ENDIAN,
            size=size,
            sha256=sha256,
        )

    async def chunks(self) -> AsyncIterator[bytes]:
        """The data set, once sealed."""
        if self._held is not None:
            yield self._held
            return
        composing = self._composed()
        while chunk := await self._worker.run(lambda: next(composing, b"")):
            yield chunk

    def at_close(self, release: Callable[[], None]) -> None:
        """Have something released when the instance is stored or refused."""
        self._at_close.append(release)

    def close(self) -> None:
        """Release what was given for it; the parts are the request's."""
        self._held = None
        while self._at_close:
            self._at_close.pop()()

    def _composed(self) -> Iterator[bytes]:
        """The data set in pieces, short ones joined."""
        joined = bytearray()
        for piece in compose(self._elements, self._stretches, encapsulated=self._encapsulated):
            for part in [piece] if isinstance(piece, bytes) else self._bulk.read(piece, _CHUNK):
                joined += part
                if len(joined) >= _CHUNK:
                    yield bytes(joined)
                    joined.clear()
        if joined:
            yield bytes(joined)

    def _digested(self) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        chunk = b""
        for chunk in self._composed():
            size += len(chunk)
            digest.update(chunk)
        if size == len(chunk):  # a short one is not composed again to be stored
            self._held = chunk
        return size, digest.hexdigest()

    def _stretches(self, bulk: BulkReference) -> list[BulkReference]:
        return [part.stretch for part in self._values[bulk.offset].parts]

    def _check_values(self) -> None:
        for value in self._values:
            if not value.parts:
                raise _not_understood(
                    f"No part of the request has the Content-Location of {value.tag}'s BulkDataURI."
                )

    def _syntax(self) -> str:
        """Of compressed pixel data; empty when there is none."""
        found = by_tag(self._elements)
        pixel_data = found.get(PIXEL_DATA)
        if pixel_data is None or pixel_data.bulk is None:
            return ""
        parts = self._values[pixel_data.bulk.offset].parts
        syntaxes = {syntax_of(each.content_type, self._beginning(each)) for each in parts}
        syntax = syntaxes.pop()
        if syntax is None or syntaxes:
            raise DimseFailure(
                Status.TRANSFER_SYNTAX_NOT_SUPPORTED,
                "The media type of the pixel data tells no transfer syntax: give its part "
                "transfer-syntax=UID, or application/octet-stream when it is uncompressed.",
            )
        if syntax and not holds_all_frames(syntax):
            _check_frames(found, len(parts))
        return syntax

    def _beginning(self, part: SpooledPart) -> bytes:
        return self._bulk.spooled.read(part.offset, min(part.length, BEGINNING))


def _check_frames(found: dict[int, Element], parts: int) -> None:
    told = found[_NUMBER_OF_FRAMES].value.strip() if _NUMBER_OF_FRAMES in found else ""
    frames = int(told) if told.isdecimal() else 1
    if parts != max(frames, 1):
        raise _not_understood(
            f"Number of Frames is {frames}, and {parts} parts have the pixel data's "
            "Content-Location: send each compressed frame as a part."
        )


def _not_understood(sentence: str) -> DimseFailure:
    return DimseFailure(Status.CANNOT_UNDERSTAND, sentence)
