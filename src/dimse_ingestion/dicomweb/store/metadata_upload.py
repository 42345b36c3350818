"""A STOW-RS request that has metadata and bulk data (PS3.18 section 8.7.3.2).

A part of DICOM JSON has all instances, a part of XML has one; the other parts are the values that
the metadata refers to by BulkDataURI. All parts are spooled. When the last one has arrived, the
instances are composed and stored one by one.
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
class RequestLimits:
    """Limits of one request: bytes of its body and number of its parts."""

    body: int
    parts: int


class MetadataUpload:
    """Takes the parts of one request and stores their instances when all have arrived.

    The values that metadata refers to have at most `limits.body` bytes in total, because a part is
    stored as often as it is referred to. There are at most `limits.parts` instances.
    """

    def __init__(
        self,
        bulk: BulkDataUpload,
        pipeline: StorePipeline,
        limits: RequestLimits,
        worker: MetadataWorker,
    ) -> None:
        self._bulk = bulk
        self._limits = limits
        self._left = limits.body
        self._pipeline = pipeline
        self._worker = worker
        self._lengths: dict[str, int] = {}
        self._part: SpooledPart | None = None
        self._documents: list[SpooledPart] = []
        self.count = 0

    def begin(self, headers: Mapping[str, str]) -> None:
        """Begin a part that has these headers."""
        self.count += 1
        self._part = self._bulk.begin(headers)
        if media_type(self._part.content_type)[0] in METADATA:
            self._documents.append(self._part)

    async def write(self, content: bytes) -> None:
        """Take the next bytes of the part; raises Problem 413 when metadata is too long."""
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
        """End the part: all its bytes have arrived."""
        self._part = None

    async def finish(self) -> None:
        """Store the instances of all parts; raises Problem 400, Unavailable."""
        if self.count and not self._documents:
            raise Problem(HTTPStatus.BAD_REQUEST, f"No part of the request is {JSON} or {XML}.")
        await self._bulk.seal()
        for document in self._documents:
            lease = await self._worker.lease(document.length)
            try:
                await self._store_document(document, lease)
            finally:
                lease.release()
        if not self._pipeline.count:
            raise Problem(
                HTTPStatus.BAD_REQUEST, "The metadata has no instance: send data sets in it."
            )

    async def _store_document(self, document: SpooledPart, lease: Lease) -> None:
        is_xml = media_type(document.content_type)[0] == XML
        reading = self._xml_instances(document) if is_xml else self._json_instances(document)
        while (instance := await self._worker.run(lambda: _next_instance(reading))) is not None:
            self._check_count()
            if isinstance(instance, DimseFailure):
                self._pipeline.refuse(instance)
                await asyncio.sleep(0)
                continue
            instance.at_close(lease.share())
            try:
                await self._pipeline.add(instance)
            except BaseException:
                instance.close()
                raise

    def _check_count(self) -> None:
        if self._pipeline.count >= self._limits.parts:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The metadata has more than {self._limits.parts} instances "
                "(DICOMWEB_MAXIMUM_PARTS): send the rest in another request.",
            )

    def _json_instances(self, document: SpooledPart) -> Iterator[ComposedInstance | DimseFailure]:
        """Yield the instances of a JSON document; runs in the worker's thread."""
        content = JsonDocument(self._content(document))
        while (data_set := content.next()) is not END:
            yield self._instance(partial(from_json, data_set))

    def _xml_instances(self, document: SpooledPart) -> Iterator[ComposedInstance | DimseFailure]:
        """Yield the instance of an XML document; runs in the worker's thread."""
        yield self._instance(partial(from_xml, self._content(document)))

    def _instance(
        self, read: Callable[[BulkElement], list[Element]]
    ) -> ComposedInstance | DimseFailure:
        values: list[BulkValue] = []
        try:
            elements = read(self._values_into(values))
        except InvalidXml:
            raise
        except ValueError as error:
            return DimseFailure(Status.CANNOT_UNDERSTAND, str(error))
        return ComposedInstance(elements, values, self._bulk, self._worker)

    def _content(self, part: SpooledPart) -> bytes:
        return b"".join(self._bulk.read(part.reference, _READ_AT_ONCE))

    def _values_into(self, values: list[BulkValue]) -> BulkElement:
        """Return the factory of elements with bulk data; it appends their parts to `values`."""

        def bulk_element(tag: str, vr: str, url: str) -> Element:
            if vr == "SQ":
                raise ValueError(f"{tag} is a sequence: it can't be bulk data.")
            try:
                parts = self._bulk.at(url)
            except ValueError:
                raise ValueError(f"The BulkDataURI of {tag} is not a URL.") from None
            if url not in self._lengths:
                self._lengths[url] = sum(each.length for each in parts)
            length = self._lengths[url]
            self._left -= length + len(parts)
            if self._left < 0:
                raise Problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    "The metadata refers to more bulk data than a request may have "
                    "(DICOMWEB_MAXIMUM_BODY): send it in several requests.",
                )
            values.append(BulkValue(tag, parts))
            return Element(tag[:4], tag[4:], vr, bulk=BulkReference(len(values) - 1, length))

        return bulk_element


def _next_instance(
    reading: Iterator[ComposedInstance | DimseFailure],
) -> ComposedInstance | DimseFailure | None:
    """Return the next instance or its failure, None after the last one; raises Problem."""
    try:
        return next(reading, None)
    except InvalidXml as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The metadata is not {XML}: {error}") from None
    except InvalidJson:
        sentence = f"The metadata is not {JSON}: send an array of data sets in UTF-8."
        raise Problem(HTTPStatus.BAD_REQUEST, sentence) from None
    except DataSetTooLarge as too_much:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(too_much)) from None
