"""The parts of one request whose instances come as metadata and bulk data, kept on disk together.

Nothing can be stored before all parts are there, because bulk data may come after what names it.
So they stand one after another in one spooled file, known by their addresses: Content-Location or
Content-ID (RFC 2557). What metadata says is `metadata_parts`' matter.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urljoin

from dimse_ingestion.dicom.elements import BulkReference
from dimse_ingestion.dicomweb.http.problems import Problem
from dimse_ingestion.spooling.spooled import SpooledDataSet


@dataclass(slots=True)
class SpooledPart:
    """One part: its Content-Type, and where it stands, in bytes of the file."""

    content_type: str
    offset: int
    length: int = 0

    @property
    def stretch(self) -> BulkReference:
        """Where it stands."""
        return BulkReference(self.offset, self.length)


@dataclass(slots=True)
class BulkDataUpload:
    """Takes over `spooled`, which `close` lets go of; addresses may be relative to `base`."""

    spooled: SpooledDataSet
    base: str
    _by_address: dict[str, list[SpooledPart]] = field(default_factory=dict)

    def begin(self, headers: Mapping[str, str]) -> SpooledPart:
        """A part that follows the ones before; raises Problem 400 for one at no address."""
        part = SpooledPart(headers.get("content-type", ""), self.spooled.size)
        for address in self._addresses(headers):
            self._by_address.setdefault(address, []).append(part)
        return part

    async def write(self, part: SpooledPart, content: bytes) -> None:
        """Some of the last part's bytes."""
        part.length += len(content)
        waiting = self.spooled.write(content)
        if waiting is not None:
            await waiting

    async def sealed(self) -> None:
        """All parts are whole. Raises DimseFailure A700 when there was no room for them."""
        await self.spooled.seal()

    def at(self, address: str) -> list[SpooledPart]:
        """The parts at a BulkDataURI, in order; none where it names none of the request.

        Raises ValueError for what is no address.
        """
        return self._by_address.get(urljoin(self.base, address), [])

    def read(self, stretch: BulkReference, longest: int) -> Iterator[bytes]:
        """The bytes there, so many at once; once sealed."""
        for passed in range(0, stretch.length, longest):
            wanted = min(longest, stretch.length - passed)
            yield self.spooled.read(stretch.offset + passed, wanted)

    def close(self) -> None:
        """Let go of the file."""
        self.spooled.close()

    def _addresses(self, headers: Mapping[str, str]) -> Iterator[str]:
        if location := headers.get("content-location", ""):
            try:
                yield urljoin(self.base, location)
            except ValueError:
                raise Problem(
                    HTTPStatus.BAD_REQUEST, "A part's Content-Location is no address."
                ) from None
        if name := headers.get("content-id", "").strip("<>"):
            yield f"cid:{name}"
