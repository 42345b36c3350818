"""A STOW-RS request whose instances come as metadata and bulk data (PS3.18 section 8.7.3.2).

DICOM JSON has all instances in one part, XML each in one; the other parts are the values that they
name by BulkDataURI. All are spooled, and when the last has come each instance is stored for itself.
"""

import re
from collections.abc import Iterator, Mapping
from json import JSONDecoder

from dimse_ingestion.dicom.dicom_json import Bulk, from_json
from dimse_ingestion.dicom.elements import BulkReference, Element
from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.native_model import NoXml, from_xml
from dimse_ingestion.dicom.status import Status
from dimse_ingestion.dicomweb.bulk_parts import BulkParts, KeptPart
from dimse_ingestion.dicomweb.composed import BulkValue, Composed
from dimse_ingestion.dicomweb.header_values import media_type
from dimse_ingestion.dicomweb.problems import Problem
from dimse_ingestion.dicomweb.storing_parts import StoringParts

JSON, XML = "application/dicom+json", "application/dicom+xml"
METADATA = frozenset({JSON, XML})
_LONGEST_METADATA = 32 * 2**20
_READ_AT_ONCE = 1 << 20
_BAD_REQUEST, _TOO_LARGE = 400, 413
_BETWEEN = re.compile(r"[\s,]*")


class MetadataParts:
    """Takes the parts of one request, and has `storing` store what they make when all are there.

    `most` bytes of bulk data may be named in all: a part named often would be stored as often.
    """

    def __init__(self, bulk: BulkParts, storing: StoringParts, most: int) -> None:
        self._bulk = bulk
        self._left = most
        self._storing = storing
        self._part: KeptPart | None = None
        self._documents: list[KeptPart] = []
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
        if is_metadata and self._part.length > _LONGEST_METADATA:
            raise Problem(
                _TOO_LARGE,
                f"The metadata has more than {_LONGEST_METADATA} bytes: send long values as bulk "
                "data, or the instances in several requests.",
            )

    async def end(self) -> None:
        """The part is whole."""
        self._part = None

    async def finish(self) -> None:
        """All parts are there: store their instances. Raises Problem 400, DimseFailure A700."""
        if self.count and not self._documents:
            raise Problem(_BAD_REQUEST, f"No part of the request is {JSON} or {XML}.")
        await self._bulk.sealed()
        for document in self._documents:
            content = self._content(document)
            is_xml = media_type(document.content_type)[0] == XML
            for told in [content] if is_xml else _data_sets(content):
                await self._store(told)
        if not self._storing.count:
            raise Problem(_BAD_REQUEST, "The metadata has no instance: send data sets in it.")

    def _content(self, part: KeptPart) -> bytes:
        return b"".join(self._bulk.read(part.stretch, _READ_AT_ONCE))

    async def _store(self, told: object) -> None:
        """An instance: a document of XML, or what a JSON object says. Raises Problem 400."""
        values: list[BulkValue] = []
        try:
            elements = _elements(told, self._values_into(values))
        except NoXml as mistake:
            raise Problem(_BAD_REQUEST, f"The metadata is not {XML}: {mistake}") from None
        except ValueError as mistake:
            self._storing.refuse(DimseFailure(Status.CANNOT_UNDERSTAND, str(mistake)))
            return
        await self._storing.add(Composed(elements, values, self._bulk))

    def _values_into(self, values: list[BulkValue]) -> Bulk:
        """Makes elements whose references count in `values`."""

        def referring(tag: str, vr: str, address: str) -> Element:
            if vr == "SQ":
                raise ValueError(f"{tag} is a sequence: it can't be bulk data.")
            try:
                parts = self._bulk.at(address)
            except ValueError:
                raise ValueError(f"BulkDataURI of {tag} is no address.") from None
            length = sum(each.length for each in parts)
            self._left -= length
            if self._left < 0:
                raise Problem(
                    _TOO_LARGE,
                    "The metadata names more bulk data than a request may have "
                    "(DICOMWEB_MAXIMUM_BODY): send it in several requests.",
                )
            values.append(BulkValue(tag, parts))
            return Element(tag[:4], tag[4:], vr, bulk=BulkReference(len(values) - 1, length))

        return referring


def _elements(told: object, bulk: Bulk) -> list[Element]:
    return from_xml(told, bulk) if isinstance(told, bytes) else from_json(told, bulk)


def _data_sets(document: bytes) -> Iterator[object]:
    """The objects of a JSON array, or the only one, read one by one; raises Problem 400."""
    decoder = JSONDecoder(parse_constant=_no_constant)
    try:
        text = document.decode("utf-8-sig")
        place = _end_of_blank(text, 0)
        if text[place : place + 1] != "[":
            yield decoder.raw_decode(text, place)[0]
            return
        place += 1
        while text[(place := _end_of_blank(text, place)) : place + 1] != "]":
            data_set, place = decoder.raw_decode(text, place)
            yield data_set
    except (ValueError, RecursionError):  # also of a number that has too many digits
        sentence = f"The metadata is not {JSON}: send an array of data sets in UTF-8."
        raise Problem(_BAD_REQUEST, sentence) from None


def _end_of_blank(text: str, place: int) -> int:
    found = _BETWEEN.match(text, place)
    return found.end() if found else place


def _no_constant(_: str) -> object:
    """NaN and Infinity, which JSON has not."""
    raise ValueError
