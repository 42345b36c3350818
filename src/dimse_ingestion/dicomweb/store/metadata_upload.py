"""A STOW-RS request whose instances come as metadata and bulk data (PS3.18 section 8.7.3.2).

DICOM JSON has all instances in one part, XML each in one; the other parts are the values that they
name by BulkDataURI. All are spooled, and when the last has come each instance is stored for itself.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from dimse_ingestion.dicom.dicom_json import BulkElement, from_json
from dimse_ingestion.dicom.elements import BulkReference, Element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.json_document import END, DataSetTooLarge, InvalidJson, JsonDocument
from dimse_ingestion.dicom.native_model import InvalidXml, from_xml
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicomweb.http.header_values import media_type
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.dicomweb.store.bulk_data_upload import BulkDataUpload, SpooledPart
from dimse_ingestion.dicomweb.store.composed_instance import BulkValue, ComposedInstance
from dimse_ingestion.dicomweb.store.metadata_worker import Lease, MetadataWorker
from dimse_ingestion.dicomweb.store.pipeline import StorePipeline

JSON, XML = "application/dicom+json", "application/dicom+xml"
METADATA = frozenset({JSON, XML})
LONGEST_METADATA = 32 * 2**20
_READ_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one request: bytes and parts."""

    body: int
    parts: int


class MetadataUpload:
    """Takes the parts of one request, and has `storing` store what they make when all are there.

    As many bytes of bulk data as a body may have may be named in all: a part named often would be
    stored as often. As many instances may come as a request may have parts.
    """

    def __init__(
        self, bulk: BulkDataUpload, storing: StorePipeline, limits: Limits, worker: MetadataWorker
    ) -> None:
        self._bulk = bulk
        self._limits = limits
        self._left = limits.body
        self._storing = storing
        self._worker = worker
        self._lengths: dict[str, int] = {}
        self._part: SpooledPart | None = None
        self._documents: list[SpooledPart] = []
        self.count = 0

    def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins."""
        self.count += 1
        self._part = self._bulk.begin(headers)
        if media_type(self._part.content_type)[0] in METADATA:
            self._documents.append(self._part)

    async def write(self, content: bytes) -> None:
        """Some of its bytes; raises Problem 413 where metadata is too long to be read."""
        if self._part is None:
            return
        await self._bulk.write(self._part, content)
        is_metadata = bool(self._documents) and self._documents[-1] is self._part
        if is_metadata and self._part.length > LONGEST_METADATA:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The metadata has more than {LONGEST_METADATA} bytes: send long values as bulk "
                "data, or the instances in several requests.",
            )

    async def end(self) -> None:
        """The part is whole."""
        self._part = None

    async def finish(self) -> None:
        """All parts are there: store their instances. Raises Problem 400, DimseFailure A700."""
        if self.count and not self._documents:
            raise Problem(HTTPStatus.BAD_REQUEST, f"No part of the request is {JSON} or {XML}.")
        await self._bulk.sealed()
        for document in self._documents:
            lease = await self._worker.lease(document.length)
            try:
                await self._store_document(document, lease)
            finally:
                lease.release()
        if not self._storing.count:
            raise Problem(
                HTTPStatus.BAD_REQUEST, "The metadata has no instance: send data sets in it."
            )

    async def _store_document(self, document: SpooledPart, lease: Lease) -> None:
        is_xml = media_type(document.content_type)[0] == XML
        reading = self._xml_instances(document) if is_xml else self._json_instances(document)
        while (found := await self._worker.run(lambda: _next_instance(reading))) is not None:
            self._check_count()
            if isinstance(found, DimseFailure):
                self._storing.refuse(found)
                await asyncio.sleep(0)
                continue
            found.at_close(lease.share())
            try:
                await self._storing.add(found)
            except BaseException:
                found.close()
                raise

    def _check_count(self) -> None:
        if self._storing.count >= self._limits.parts:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The metadata has more than {self._limits.parts} instances "
                "(DICOMWEB_MAXIMUM_PARTS): send the rest in another request.",
            )

    def _json_instances(self, document: SpooledPart) -> Iterator[ComposedInstance | DimseFailure]:
        """Read the instances of a JSON document one by one; in the worker's thread."""
        content = JsonDocument(self._content(document))
        while (data_set := content.next()) is not END:
            yield self._instance(partial(from_json, data_set))

    def _xml_instances(self, document: SpooledPart) -> Iterator[ComposedInstance | DimseFailure]:
        """Read the instance of an XML document; in the worker's thread."""
        yield self._instance(partial(from_xml, self._content(document)))

    def _instance(
        self, read: Callable[[BulkElement], list[Element]]
    ) -> ComposedInstance | DimseFailure:
        values: list[BulkValue] = []
        try:
            elements = read(self._values_into(values))
        except InvalidXml:
            raise
        except ValueError as mistake:
            return DimseFailure(Status.CANNOT_UNDERSTAND, str(mistake))
        return ComposedInstance(elements, values, self._bulk, self._worker)

    def _content(self, part: SpooledPart) -> bytes:
        return b"".join(self._bulk.read(part.stretch, _READ_AT_ONCE))

    def _values_into(self, values: list[BulkValue]) -> BulkElement:
        """Makes elements whose references count in `values`."""

        def referring(tag: str, vr: str, address: str) -> Element:
            if vr == "SQ":
                raise ValueError(f"{tag} is a sequence: it can't be bulk data.")
            try:
                parts = self._bulk.at(address)
            except ValueError:
                raise ValueError(f"BulkDataURI of {tag} is no address.") from None
            if address not in self._lengths:
                self._lengths[address] = sum(each.length for each in parts)
            length = self._lengths[address]
            self._left -= length + len(parts)
            if self._left < 0:
                raise Problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    "The metadata names more bulk data than a request may have "
                    "(DICOMWEB_MAXIMUM_BODY): send it in several requests.",
                )
            values.append(BulkValue(tag, parts))
            return Element(tag[:4], tag[4:], vr, bulk=BulkReference(len(values) - 1, length))

        return referring


def _next_instance(
    reading: Iterator[ComposedInstance | DimseFailure],
) -> ComposedInstance | DimseFailure | None:
    """Return the next instance or why it can't be one, None behind the last; raises Problem."""
    try:
        return next(reading, None)
    except InvalidXml as mistake:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The metadata is not {XML}: {mistake}") from None
    except InvalidJson:
        sentence = f"The metadata is not {JSON}: send an array of data sets in UTF-8."
        raise Problem(HTTPStatus.BAD_REQUEST, sentence) from None
    except DataSetTooLarge as too_much:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(too_much)) from None
